"""Brings an encoder's weights to this machine: the only thing in crossmodal that goes to the network for them.

torchvision publishes its weights as pickles. They are read here and nowhere else, by torch's reader that makes nothing but
tensors, after the digest in their name has been checked; what is kept, and read ever after, is safetensors.
"""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import NamedTuple

from data_contracts.refs import Modality
from tasks.drafts import draft
from tasks.encoder_ids import EncoderId, parse_encoder
from tasks.errors import EnvironmentFailed, UsageError
from tasks.generator_ids import PIPELINES, parse_generator
from tasks.modalities import MODALITIES
from tasks.modeling.pretrained.locate import Place, cached_weights, locate_encoder, locate_pipeline

ALLOW_PATTERNS = ("*.json", "*.txt", "*.jinja", "*.safetensors")
"""Of a model on the hub: never code, never pickle."""
IGNORE_PATTERNS = ("onnx/*", "openvino/*", "*/*.safetensors", "*.fp16.safetensors")
PIPELINE_PATTERNS = ("model_index.json", "*/*.json", "*/*.txt", "*/*.safetensors")
"""Of a pipeline of diffusers, whose parts have a folder each."""
PIPELINE_IGNORED = ("onnx/*", "openvino/*", "*.fp16.safetensors", "*.non_ema.safetensors")


class Fetched(NamedTuple):
    """What lies on this machine now."""

    path: Path
    size_bytes: int


def fetch_encoder(encoder: str) -> Fetched:
    """The encoder's files are on this machine; what was there already is not fetched again.

    Raises UsageError for an id that names nothing to fetch, EnvironmentFailed where the network does not give it.
    """
    is_pipeline = encoder.startswith("diffusers:")
    try:
        parsed = parse_generator(encoder).parsed if is_pipeline else parse_encoder(encoder, _reader(encoder))
    except ValueError as error:
        raise UsageError(f"encoder {encoder!r}: {error}") from None
    if not parsed.is_pretrained or parsed.names_file or Path(parsed.name).expanduser().is_dir():
        raise UsageError(f"encoder {encoder!r}: there is nothing to fetch for it")
    if is_pipeline:
        _fetch_snapshot(encoder, parsed, PIPELINE_PATTERNS, PIPELINE_IGNORED)
        place: Place | None = locate_pipeline(encoder, parsed, PIPELINES)
    else:
        if parsed.family == "hf":
            _fetch_snapshot(encoder, parsed, ALLOW_PATTERNS, IGNORE_PATTERNS)
        else:
            _fetch_weights(encoder, parsed)
        place = locate_encoder(_reader(encoder), encoder)
    assert place is not None  # it is pretrained
    files = (*place.weights, *place.beside)
    return Fetched(place.root, sum(path.stat().st_size for path in files))


def _reader(encoder: str) -> Modality:
    """A modality that has encoders of the id's family; which one makes no difference to what is fetched."""
    family = encoder.partition(":")[0]
    return next((name for name, spec in MODALITIES.items() if family in spec.families), "image")


def _fetch_weights(encoder: str, parsed: EncoderId) -> None:
    from safetensors.torch import save_file

    from tasks.modeling.pretrained.torchvision_models import weights_entry

    entry = weights_entry(encoder, parsed)
    target = cached_weights(parsed.name, parsed.version)
    if target.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with draft(target.parent, target.name) as scratch:
        scratch.mkdir()
        try:
            state = entry.get_state_dict(model_dir=str(scratch), check_hash=True, weights_only=True, map_location="cpu")
        except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
            raise _not_fetched(encoder, error) from None
        converted = scratch / target.name
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, converted, {"weights": str(entry)})
        converted.rename(target)


def _fetch_snapshot(encoder: str, parsed: EncoderId, allowed: tuple[str, ...], ignored: tuple[str, ...]) -> None:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        snapshot_download(
            parsed.name,
            revision=parsed.version,
            allow_patterns=list(allowed),
            ignore_patterns=list(ignored),
        )
    except HFValidationError:
        raise UsageError(f"encoder {encoder}: {parsed.name!r} is neither a folder nor the id of a model") from None
    except (OSError, httpx.HTTPError) as error:
        raise _not_fetched(encoder, error) from None


def _not_fetched(encoder: str, error: Exception) -> EnvironmentFailed:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return EnvironmentFailed(
        f"encoder {encoder}: could not be fetched ({reason}); check the network and the name", True
    )
