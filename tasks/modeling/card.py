"""model.json: what a model's numbers mean. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data_contracts.refs import Target
from tasks.errors import DataError, EnvironmentFailed

CARD = "model.json"


def read_card(folder: Path) -> dict[str, Any]:
    """The content of model.json.

    Raises EnvironmentFailed where it cannot be read, DataError where it is damaged.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except OSError as error:
        raise EnvironmentFailed(f"model {folder / CARD}: cannot be read ({error.strerror}); train again") from None
    except ValueError as error:
        told = " ".join(str(error).split())[:300]
        raise DataError(f"model {folder / CARD}: damaged ({told}); train again") from None
    if not isinstance(card, dict):
        raise DataError(f"model {folder / CARD}: damaged (not an object); train again")
    return card


def read_targets(card: Mapping[str, Any]) -> tuple[Target, ...]:
    """The label columns that a card tells, in the order of the outputs; one multiclass column where it names only labels."""
    given: Iterable[Any] = card.get("targets") or [{"name": "label", "labels": card["labels"]}]
    return tuple(Target.model_validate(target) for target in given)
