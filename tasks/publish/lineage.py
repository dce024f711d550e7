"""Where a published version comes from: its data, its features, its code and its environment, by digest."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from data_contracts.refs import ChampionRef
from tasks.fingerprint import code_fingerprint
from tasks.modeling.card import ModelCard
from tasks.modeling.release import README, CodeOrigin, Lineage
from tasks.publish import versions
from tasks.publish.connection import connected
from tasks.store import Store, digest_json

_LIBRARIES = (
    *("crossmodal", "torch", "torchvision", "transformers", "tokenizers", "safetensors", "numpy", "scikit-learn"),
    *("timm", "scipy", "peft", "pillow", "simplejpeg", "soundfile", "soxr", "av", "pyarrow", "pydantic"),
)
"""Those that read media, or compute."""


def make_origin() -> str:
    """The code and the environment of this process, as the tag of a version that is published now."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return json.dumps({"code": code_fingerprint("train", "evaluate"), "environment": found})


class Origin(NamedTuple):
    """What a version was published with besides the model itself."""

    readme: bytes
    """The model card, as Markdown."""
    lineage: Lineage
    signature: bytes | None


def fetch_origin(champion: ChampionRef, card: ModelCard, store: Store, tracking_uri: str) -> Origin:
    """The model card that a version was published with, its lineage, and its signature where it has one.

    Raises EnvironmentFailed where the registry no longer has them.
    """
    with connected(store, tracking_uri) as client, store.scratch_dir() as scratch:
        found = client.get_model_version(champion.name, champion.version)
        readme = versions.download_file(client, found, README, scratch, store, tracking_uri)
        commit = client.get_run(found.run_id).data.tags.get("git_commit") if found.run_id else None
        origin = json.loads(found.tags.get(versions.ORIGIN, "{}"))
        lineage = Lineage(
            run=found.tags.get(versions.RUN),
            train_key=champion.train_key,
            dataset_sha256=found.tags.get(versions.DATA_SHA256),
            rows_sha256=found.tags.get(versions.ROWS_SHA256),
            features={name: form.fingerprint for name, form in card.features.items()},
            code=CodeOrigin(sha256=origin.get("code"), git_commit=commit),
            environment=origin.get("environment", {}),
            environment_sha256=digest_json(origin["environment"]) if "environment" in origin else None,
            compression=card.compression,
        )
        signature = found.tags.get(versions.SIGNATURE)
        return Origin(readme.read_bytes(), lineage, None if signature is None else signature.encode())
