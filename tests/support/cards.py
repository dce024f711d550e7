"""model.json of models that need no network: what every reader of a card relies on, and no more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.config import RunConfig

TINY = {"encoder": "tiny", "reads": "inputs"}


def card_of(labels: Sequence[str], modalities: Sequence[str] = ("image", "audio"), **changes: Any) -> dict[str, Any]:
    """A card of `tiny` encoders."""
    return {
        "format": 2,
        "labels": list(labels),
        "modalities": list(modalities),
        "encoders": dict.fromkeys(modalities, TINY),
        "config": RunConfig().subset("media", "extract", "encoders", "fusion"),
        **changes,
    }


def write_card(folder: Path, labels: Sequence[str], **changes: Any) -> None:
    """`card_of` as the folder's model.json."""
    (folder / "model.json").write_text(json.dumps(card_of(labels, **changes)))
