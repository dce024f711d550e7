"""What a model says of a row, or why it says nothing."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from data_contracts.explanations import Explanation
from data_contracts.refs import Frozen, InputName
from tasks.errors import DataError

_SHOWN = 5


class Prediction(Frozen):
    """The answer to one row."""

    label: str
    """A class, labels joined by `|` (`[]`: none), or a number as text; of the first label column."""
    probability: float | None
    """Of the answer; None for a number."""
    probabilities: dict[str, float]
    """All outputs of the model by name; of a column of numbers the number."""
    targets: dict[str, str] = Field(default_factory=dict)
    """The answers in further label columns."""
    prediction_set: tuple[str, ...] | None = None
    """Labels that hold the true one with a chance of 1 - train.conformal_alpha, the most probable first. This and what follows
    is None where the model was not asked for it, or has too few validation rows with these modalities: docs/uncertainty.md."""
    prediction_interval: tuple[float, float] | None = None
    """Of a number, the same."""
    abstained: bool | None = None
    """Whether the answer is too unsure for train.max_risk."""
    out_of_distribution: bool | None = None
    """Whether the row is unlike the validation rows, by its energy score."""
    explanation: Explanation | None = Field(default=None, exclude_if=lambda explanation: explanation is None)
    """What the answer rests on, where the request asks for it."""
    modalities: tuple[InputName, ...]
    """What the row has of what the model reads."""
    model: str
    version: str
    """In the registry; of a model in a folder that is no release the first 12 digits of its weights' sha256."""


class Refusal(Frozen):
    """Why a row has no answer."""

    row: int
    """Its place among the rows, from 0."""
    input: str | None
    """The input that cannot be used; None: the row as a whole."""
    reason: str
    """As in quarantine.csv: unreadable-image, file-too-large, no-modality."""
    detail: str

    def __str__(self) -> str:
        place = f"row {self.row}" if self.input is None else f"row {self.row}, {self.input}"
        return f"{place}: {self.reason} ({self.detail})"


class RowsRefused(DataError):
    """Some rows cannot be answered; nothing is predicted. `refusals` says of each which input it is, and why."""

    def __init__(self, refusals: Sequence[Refusal], rows: int) -> None:
        self.refusals = tuple(refusals)
        shown = "; ".join(map(str, self.refusals[:_SHOWN]))
        more = f"; and {len(self.refusals) - _SHOWN} more" if len(self.refusals) > _SHOWN else ""
        refused = len({refusal.row for refusal in self.refusals})
        super().__init__(f"{refused} of {rows} rows cannot be predicted: {shown}{more}")
