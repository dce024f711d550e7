"""What model.json says of how much an answer is worth: the temperature, and thresholds by modalities. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from data_contracts.refs import Frozen

Finite = Annotated[float, Field(allow_inf_nan=False)]
Chance = Annotated[float, Field(gt=0, lt=1)]


class Thresholds(Frozen):
    """Of rows with one set of modalities; None where there were too few validation rows for it."""

    rows: int
    """Validation rows that have them, the other modalities hidden."""
    prediction_set: Finite | None = None
    """The probability from which on a class belongs to the set; of a number how far it may be off on either side."""
    answer: Finite | None = None
    """An answer is given where its probability is greater; 1: never."""
    energy: Finite | None = None
    """A row whose energy score is below is flagged."""


class Uncertainty(Frozen):
    """Of the first label column; what is off, or did not help, is None."""

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    conformal_alpha: Chance | None = None
    max_risk: Chance | None = None
    ood_false_positive_rate: Chance | None = None
    thresholds: dict[str, Thresholds] = Field(default_factory=dict)
    """By what a row has of what the model reads, `image+audio`: with less to go by, probabilities and energies are others."""
