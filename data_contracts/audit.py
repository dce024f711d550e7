"""The refs that the parts of an audit hand to each other, and audit.json: what it found, as its report shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data_contracts.refs import Frozen, InputName, Ref, Split

REPORT = "audit.json"
Kind = Literal["label error", "near duplicates disagree", "inputs disagree", "outlier"]
"""What may be odd about a row, the most certain to matter first."""
KINDS: tuple[Kind, ...] = ("label error", "near duplicates disagree", "inputs disagree", "outlier")


class ViewRef(Ref):
    """Rows as an audit's linear models see them by one of their inputs: a vector each, made without their labels."""

    input: InputName
    width: int


class FoldRef(Ref):
    """What a model of the other folds says of a fold's rows, and of rows without a label; `rows` are those of the fold."""

    input: InputName
    fold: int
    c: float | None
    """Inverse strength of the regularisation, chosen within the other folds; None: they hold too little to fit anything."""


class Opinion(Frozen):
    """What the rows of the other folds say of a row by one view."""

    label: str
    probability: float
    """Of that label."""
    given: float
    """Of the label that the row has."""


class RowFinding(Frozen):
    """A row that somebody should look at."""

    id: str
    row: int
    """1-based, in the manifest; of several tables, in its own."""
    table: str | None = None
    split: Split
    group: str | None = None
    label: str
    suggested: str | None
    """Another label that it more likely has; None: none is suggested."""
    kinds: tuple[Kind, ...]
    why: str
    margin: float
    """Probability of the label that it has, minus that of the most likely other one: -1 to 1."""
    fused: Opinion
    views: dict[InputName, Opinion] = Field(default_factory=dict)
    """By each input that it has."""
    outlyingness: float | None = None
    """Its distance to its nearest neighbours, in typical distances; of the input in which it is most unusual."""
    near: tuple[str, ...] = ()
    """Ids of near duplicates that have another label."""


class ViewFigures(Frozen):
    """How well models of the other folds predict the label from one view."""

    view: str
    rows: int
    accuracy: float
    log_loss: float


class ClassFigures(Frozen):
    """How trustworthy the labels of a class look."""

    label: str
    rows: int
    errors: int
    """Rows with this label that likely have another one."""
    noise: float
    """Estimated share of its rows that have another true label (confident learning)."""
    accuracy: float
    """Out of fold, by all inputs together."""


class Confusion(Frozen):
    """Rows with one label that likely have another one."""

    label: str
    suggested: str
    rows: int


class Conflict(Frozen):
    """Samples that nearly repeat each other and have different labels."""

    ids: tuple[str, ...]
    labels: tuple[str, ...]


class Shortcut(Frozen):
    """How well something beside the content tells the label: brightness, the source folder."""

    name: str
    rows: int
    effect: float
    """Balanced accuracy out of fold, 0 at chance, 1 where it tells every label."""
    p: float
    """Of so much by chance, from permuted labels, after Holm's correction."""
    found: bool
    says: str
    """What goes with what, or why it is not counted."""


class GroupFigures(Frozen):
    """Rows of one kind, of which more are answered wrongly than of the others."""

    name: str
    rows: int
    error: float
    rest: float
    p: float
    """After Holm's correction over all groups."""


class ToLabel(Frozen):
    """A row without a label from which a model would learn most."""

    id: str
    row: int
    table: str | None = None
    margin: float
    """Between the two most likely labels: the less, the more its label would tell."""
    candidates: tuple[str, ...]
    disagreement: float
    """Between the models of the folds, in nats (BALD); where the margin is small and this is, too, the row is ambiguous."""


class AuditReport(Frozen):
    """What an audit found."""

    rows: int
    classes: int
    left_out: dict[str, int] = Field(default_factory=dict)
    """Classes with too few rows to be evaluated, to their rows."""
    folds: int
    noise: float
    """Estimated share of wrong labels (confident learning)."""
    views: tuple[ViewFigures, ...]
    by_class: tuple[ClassFigures, ...]
    confusions: tuple[Confusion, ...]
    conflicts: tuple[Conflict, ...]
    shortcuts: tuple[Shortcut, ...]
    groups: tuple[GroupFigures, ...]
    unlabelled: int = 0
    """Rows without a label that could be read."""
    to_label: tuple[ToLabel, ...] = ()
    findings: tuple[RowFinding, ...]
    """All of them, those to look at first first."""
    listed: tuple[str, ...]
    """Ids of those that the table shows."""
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Kind of finding to how many there are."""
        found: dict[str, int] = {kind: sum(kind in row.kinds for row in self.findings) for kind in KINDS}
        return found | {
            "shortcut": sum(each.found for each in self.shortcuts),
            "underperforming group": len(self.groups),
            "row to label": len(self.to_label),
        }
