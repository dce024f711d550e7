"""What can be checked of an encoder's files and its network's name without torch."""

from __future__ import annotations

import difflib
import functools
import json
import re
from importlib.util import find_spec
from pathlib import Path

from tasks.encoder_ids import EncoderId
from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.pretrained.locate import TIMM, Place
from tasks.packages import missing_package

_HEAD_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000  # what safetensors itself accepts
_BUILDER = re.compile(r"^@register_model\(\)(?:\n@.*)*\ndef (\w+)\(", re.MULTILINE)


def require_intact(encoder: str, place: Place) -> None:
    """Raises UsageError where a file of weights is cut short or is no safetensors file."""
    for path in place.weights:
        promised = _promised_bytes(path)
        held = path.stat().st_size
        if promised is None:
            raise UsageError(f"encoder {encoder}: {path} is no safetensors file; fetch or copy it again")
        if held != promised:
            raise UsageError(
                f"encoder {encoder}: {path} holds {held} bytes, its header says {promised}; fetch or copy it again"
            )


def require_package(encoder: str, place: Place) -> None:
    """Raises EnvironmentFailed where the network of a folder is of a package that is not installed."""
    if place.root.is_dir() and place.model_type == TIMM and find_spec("timm") is None:
        raise EnvironmentFailed(f"encoder {encoder}: {missing_package(ModuleNotFoundError(name='timm'))}")


def _promised_bytes(path: Path) -> int | None:
    """The size that a header states (https://huggingface.co/docs/safetensors); None where there is none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_HEAD_BYTES), "little")
        if not 0 < length <= min(_MAX_HEADER_BYTES, path.stat().st_size):
            return None
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            return None
    return _HEAD_BYTES + length + max(ends, default=0)


def require_network(encoder: str, parsed: EncoderId) -> None:
    """Raises UsageError where torchvision has no network of that name, with the nearest names."""
    known = torchvision_networks()
    if known and parsed.name not in known:
        near = ", ".join(difflib.get_close_matches(parsed.name, known, n=3))
        hint = f"; near are {near}" if near else ""
        raise UsageError(f"encoder {encoder}: torchvision has no network {parsed.name!r}{hint}")


@functools.cache
def torchvision_networks() -> frozenset[str]:
    """Names of torchvision's networks, read from its source, as importing it takes seconds; empty where it is not found."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return frozenset()
    models = Path(spec.origin).parent / "models"
    sources = [*models.glob("*.py"), *models.glob("video/*.py")]  # classifiers of pictures and of clips
    return frozenset(name for path in sources for name in _BUILDER.findall(path.read_text(encoding="utf-8")))
