"""explanations.json: what a model's answers rest on, by input, by part of an input, and by the rows that it learned from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data_contracts.refs import Frozen, InputName, Ref

REPORT = "explanations.json"
PartName = Literal["answers", "shapley", "embeddings", "attributions", "swaps"]
"""What is computed by itself, chunk by chunk."""
Method = Literal["integrated gradients", "Grad-CAM", "occlusion"]
Form = Literal["picture", "spectrogram", "words", "frames", "columns"]
"""How an attribution is shown."""
Interval = tuple[float, float]


class ExplanationPartRef(Ref):
    """One chunk of a part; `rows` are those that it is about. part.json lies at `uri`."""

    part: PartName
    number: int


class ExplanationRef(Ref):
    """What a model's answers to `rows` rows rest on. explanations.json lies at `uri`."""

    reason: str
    counts: dict[str, int]


class PartValue(Frozen):
    """What a word, a frame or a column adds."""

    name: str
    value: float


class Attribution(Frozen):
    """What the parts of one input add to what is explained; positive: for it."""

    input: InputName
    form: Form
    method: Method
    of: Literal["log-odds", "value"]
    """What the values add up to: the log-odds of the explained class or label, or the predicted value."""
    values: tuple[PartValue, ...] = ()
    """Of words, frames or columns, in their order."""
    map: tuple[tuple[float, ...], ...] = ()
    """Sums in cells. Of a picture from top to bottom; of a spectrogram from the lowest frequency up, each line over time."""
    difference: float | None = None
    """`of` with the input as it is, minus with what stands for its absence; the values sum to it. None: they need not."""
    seconds: float | None = None
    """Of a sound, from its beginning, that the map covers."""
    gap: float | None = None
    """How far the sum is from the difference, as a share of it."""


class Neighbour(Frozen):
    """A training row that the model sees as alike."""

    id: str
    label: str
    similarity: float
    """Cosine of the fused vectors, -1 to 1."""


class RowSwap(Frozen):
    """A row answered with one input of another row."""

    input: InputName
    donor: str
    """Id of the row that the input is of."""
    donor_label: str
    answer: str
    flipped: bool


class RowShapley(Frozen):
    """Exact Shapley values of a row's inputs; they sum to `value - base`."""

    id: str
    output: str
    """The class, label or column whose output is explained."""
    value: float
    """Of the output: a probability, or the number in its unit."""
    base: float
    """The same with every input missing."""
    shapley: dict[InputName, float]
    toward_truth: dict[InputName, float] | None = None
    """The same of how right the answer is: the probability of the true label (of several labels the mean of each one's true
    state, of a number minus the absolute error). None where the true label is not known."""


class Explanation(Frozen):
    """What one answer rests on, as a server tells it."""

    output: str
    """The class, label or column whose output is explained."""
    value: float
    """Of the output: a probability, or the number in its unit."""
    base: float
    """The same with every input missing."""
    shapley: dict[InputName, float]
    """Exact Shapley values of the inputs; they sum to `value - base`."""
    shares: dict[InputName, float]
    """Of the sum of their absolute values."""
    attributions: tuple[Attribution, ...]
    """What the parts of each input add."""


class RowExplanation(Frozen):
    """All that is reported of one row."""

    id: str
    row: int
    """1-based, in the manifest; of several tables, in its own."""
    table: str | None = None
    group: str | None = None
    label: str
    """As the manifest has it; empty where it has none."""
    answer: str
    wrong: bool
    loss: float | None = None
    shapley: RowShapley
    attributions: tuple[Attribution, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    swaps: tuple[RowSwap, ...] = ()


class InputFigures(Frozen):
    """How much answers rest on one input, over the rows that have it."""

    input: InputName
    rows: int
    importance: float
    """Mean absolute Shapley value."""
    importance_interval: Interval | None
    share: float
    """Of the sum of all inputs' importance."""
    share_interval: Interval | None
    toward_truth: float | None
    """Mean Shapley value toward the true label."""
    toward_truth_interval: Interval | None
    by_label: dict[str, float] = Field(default_factory=dict)
    """Mean absolute Shapley value on rows of each true label."""


class SwapFigures(Frozen):
    """What becomes of answers when one input is another row's."""

    input: InputName
    rows: int
    swaps: int
    flip_rate: float | None
    """Share of swaps with a row of another label that change the answer; None for numbers."""
    flip_interval: Interval | None
    follows_rate: float | None
    """Share that change it to the other row's label."""
    change: float
    """Mean absolute change of the explained output."""


class RowAnswer(Frozen):
    """What the model answers to a row, and how far that is from the truth."""

    id: str
    answer: str
    wrong: bool
    loss: float | None
    """None where the true label is not known."""


class RowCurves(Frozen):
    """One row's deletion and insertion, of one input: what is explained at each of SHARES."""

    input: InputName
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    random_deletion: tuple[float, ...]
    random_insertion: tuple[float, ...]


class RowAttributions(Frozen):
    """What the parts of a row's inputs add, and its curves where they were tried."""

    id: str
    attributions: tuple[Attribution, ...]
    curves: tuple[RowCurves, ...] = ()


class DrawnSwap(Frozen):
    """One swap, with what it changes."""

    id: str
    donor: str
    donor_label: str
    input: InputName
    answer: str
    flipped: bool
    follows: bool
    """The answer is the other row's label."""
    change: float
    """Of the output that is explained of the row."""


class FidelityCurve(Frozen):
    """What is explained while an input's parts are taken away (deletion) or put back (insertion), the strongest first."""

    input: InputName
    rows: int
    shares: tuple[float, ...]
    """Of the parts, 0 to 1."""
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    random_deletion: tuple[float, ...]
    random_insertion: tuple[float, ...]
    deletion_gain: float
    """Area between the curves of a random order and of this one; above 0: what is strongest matters more than by chance."""
    deletion_interval: Interval | None
    insertion_gain: float
    insertion_interval: Interval | None


class ExplanationReport(Frozen):
    """What a model's answers rest on."""

    model: str
    version: str
    split: str
    rows: int
    """Whose Shapley values are in the figures."""
    output: str
    """What is explained, in a sentence."""
    is_numeric: bool
    groups: int | None = None
    """Groups by which intervals draw rows; None: rows by themselves."""
    dominant: InputName | None = None
    """The input with the largest share, where its lead over the second is no chance."""
    inputs: tuple[InputFigures, ...]
    swaps: tuple[SwapFigures, ...] = ()
    fidelity: tuple[FidelityCurve, ...] = ()
    largest_gap: float | None = None
    """Of all attributions whose values sum to a difference."""
    mistakes: tuple[str, ...] = ()
    """Ids of the wrong answers with the largest loss, the worst first."""
    wrong: int = 0
    """Rows answered wrongly, of `answered`."""
    answered: int = 0
    explained: tuple[RowExplanation, ...]
    """Those that the page shows."""
    values: tuple[RowShapley, ...]
    """Of every row."""
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """What there is of each kind."""
        return {
            "rows": self.rows,
            "rows explained in detail": len(self.explained),
            "wrong answers": self.wrong,
        }
