"""What an explanation is refused for before any work, by the model's card alone. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from data_contracts.refs import InputName
from tasks.errors import UsageError
from tasks.explain.shapley import MOST_INPUTS
from tasks.modeling.card import ModelCard
from tasks.problems.registry import problem_of


def require_few(card: ModelCard) -> None:
    """UsageError where the model reads too many inputs for all coalitions to be valued."""
    if len(card.modalities) > MOST_INPUTS:
        raise UsageError(
            f"explain: the model reads {len(card.modalities)} inputs, and exact Shapley values take 2^inputs answers a row; "
            f"{MOST_INPUTS} are the most"
        )


def require_inputs(card: ModelCard, inputs: Sequence[InputName] | None) -> None:
    """UsageError where the model does not read an input that is asked for."""
    unknown = [name for name in inputs or () if name not in card.modalities]
    if unknown or inputs == ():
        asked = ", ".join(unknown) or "none"
        raise UsageError(f"explain.inputs: the model does not read {asked}; it reads {', '.join(card.modalities)}")


def require_label(card: ModelCard, label: str | None) -> None:
    """UsageError where the model gives no probability of this label."""
    target = card.label_targets[0]
    if label is None:
        return
    if problem_of(target).is_numeric:
        raise UsageError(f"explain.label {label!r}: the model predicts numbers ({target.name}); leave the label out")
    if label not in target.labels:
        known = ", ".join(map(repr, target.labels[:10])) + (", …" if len(target.labels) > 10 else "")
        raise UsageError(f"explain.label {label!r}: not a label of the model, which knows {known}")
