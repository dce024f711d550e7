"""Figures on parts of the test rows: the classes and slices on which a candidate may be worse, and slices.json, which an
evaluation leaves beside its report. A slice is what one column of the manifest, or several, or a built-in measure, has one
value in."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

SLICES = "slices.json"
"""Of an evaluation, in its folder."""
Bounds = tuple[float, float]
"""The ends of an interval."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SliceRegression(_Part):
    """A part of the test rows on which the candidate may be worse than the champion."""

    by: Literal["class", "modalities", "slice"]
    value: str
    """The class or label, the modalities that are present in the rows, or `speaker=ann`."""
    rows: int
    change: float
    """Mean over its rows: of answers that are right, of a label set the labels that are, of numbers the smaller error."""
    p: float
    """How likely so great a loss is by chance, one-sided; corrected for the number of parts that were tested (Holm)."""
    lost: bool = False
    """The champion answered some of the class's rows rightly, the candidate none."""


class SliceRegressions(_Part):
    """The parts that were tested."""

    parts: tuple[SliceRegression, ...]
    """The most certain losses, at most ten."""
    tested: int
    too_small: int
    """Parts that have fewer rows than `min_rows`, and were not tested."""
    min_rows: int
    columns: tuple[str, ...] = ()
    """The slices of evaluate.slices that are among them."""


class ReferenceFigures(_Part):
    """What some rows' figures are held against: the champion's on the same rows, or the model's own under other inputs."""

    rows: int
    """Those that both answered."""
    clusters: int | None = None
    metrics: dict[str, float | None]
    changes: dict[str, float]
    """Metric to the candidate's figure on those rows minus this one."""
    intervals: dict[float, dict[str, Bounds]] = {}
    """Confidence to the paired intervals of the changes; only those that a rule of the gate asks for."""
    p: float | None = None
    """How likely so great a loss is by chance, corrected for the number of slices of the report (Holm); None: not tested."""


class PartFigures(_Part):
    """Figures on some of the test rows, or on all of them under other inputs."""

    rows: int
    clusters: int | None = None
    """None: each row is one of its own."""
    metrics: dict[str, float | None]
    intervals: dict[float, dict[str, Bounds]] = {}
    """Confidence to metric to interval; a metric without one has too few rows for it."""
    reference: ReferenceFigures | None = None


class SliceFigures(PartFigures):
    """The test rows with one value."""

    slice: str
    """`speaker`, `device+lighting`, `text.size`."""
    value: str
    """`ann`, `phone+dark`; of numbers that are cut into quartiles `q1` to `q4`."""
    shown: str
    """The value for people, with the ends of a quartile: `q1 (12 and less)`."""

    @property
    def name(self) -> str:
        """As a rule of the gate names it."""
        return f"{self.slice}={self.value}"


class SliceBy(_Part):
    """How the test rows are divided."""

    name: str
    unit: str = ""
    """Of what is measured; nothing for columns."""
    edges: tuple[float, ...] = ()
    """Quartiles of the train rows, where numbers are cut by them."""
    others: int = 0
    """Rarer values that are one slice together."""


class RobustnessCurve(_Part):
    """Figures on test rows of which the media of one kind are corrupted in one way."""

    corruption: str
    """`image/noise`."""
    levels: tuple[PartFigures, ...]
    """By severity, of the same rows: as they are, then 1 to 5."""


class SuspectedSlice(_Part):
    """A leaf of a tree that was grown on half of the test rows to find where errors are frequent, tested on the other half."""

    conditions: tuple[str, ...]
    """All hold in its rows."""
    rows: int
    """Of the half that it is tested on, as all that follows."""
    error: float
    """Mean over its rows: the share answered wrongly, of label sets the labels that are wrong, of numbers the error."""
    rest: float
    """The same over the other rows."""
    p: float
    """How likely so much more error is by chance, one-sided; corrected for the number of leaves (Holm)."""


class SliceReport(_Part):
    """slices.json."""

    champion: str | None = None
    """The version that the slices' references are of."""
    whole: PartFigures
    """All test rows."""
    by: tuple[SliceBy, ...]
    slices: tuple[SliceFigures, ...]
    inputs: dict[str, PartFigures] = {}
    """Modalities of a rule to the figures on all test rows where only they are given, beside those with all of them."""
    robustness: tuple[RobustnessCurve, ...] = ()
    """Of evaluate.robustness."""
    suspected: tuple[SuspectedSlice, ...] = ()
    """The greatest surplus of errors first; exploratory, no rule decides by them."""
