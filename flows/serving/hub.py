"""Releases on Hugging Face's hub: `hf:ID` or `hf:ID@REVISION`, downloaded once into the cache of huggingface_hub."""

from __future__ import annotations

from pathlib import Path

from tasks.errors import EnvironmentFailed, UsageError
from tasks.escaping import one_line
from tasks.modeling.release import RELEASE, SUFFIXES
from tasks.modeling.signing import SIGNATURE

PREFIX = "hf:"


def fetch_release(model: str) -> Path:
    """The folder of a release that the hub or its local cache (`HF_HOME`) has; of its files only those that a release holds.

    Whoever names one asks for the network, unless HF_HUB_OFFLINE=1. Raises UsageError where there is none, EnvironmentFailed
    where the hub does not answer.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    name, _, revision = model.removeprefix(PREFIX).partition("@")
    try:
        patterns = [*(f"*{ending}" for ending in SUFFIXES), SIGNATURE]
        folder = snapshot_download(name, revision=revision or None, allow_patterns=patterns)
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise UsageError(
            f"model {model}: the hub has no {name!r} that may be read ({one_line(str(error), 150)})"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise EnvironmentFailed(
            f"model {model}: neither in the cache nor on a hub that answers ({one_line(str(error), 150)}); see HF_HOME and "
            "HF_ENDPOINT",
            transient=True,
        ) from None
    if not (Path(folder) / RELEASE).is_file():
        raise UsageError(
            f"model {model}: is no release of crossmodal (it has no {RELEASE}); make one with crossmodal models export"
        )
    return Path(folder)
