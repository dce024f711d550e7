"""The refs that the parts of a translation hand to each other, and translation.json: whether a generated input helps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data_contracts.refs import Frozen, InputName, Metrics, Ref, Sha256, Split

REPORT = "translation.json"
GENERATED = "generated"
"""The column of samples and predictions that names a row's generated inputs; null where all that it has is real."""
Difference = tuple[float, float, float]
"""Value, low, high."""


class Recall(Frozen):
    """How often what belongs to a query is among the k nearest, in the space that two inputs share; on test rows."""

    query: InputName
    answer: InputName
    k: int
    value: float
    interval: tuple[float, float]
    chance: float
    """The same of an order by lot."""
    queries: int
    gallery: int
    """Distinct media that are searched."""


class PairRef(Ref):
    """Two heads that bring the features of two inputs into one space; `rows` are the training pairs that they were fitted to.

    heads.safetensors and nearest.json lie at `uri`: digest of a source medium to that of the nearest real target medium.
    """

    source: InputName
    target: InputName
    embed_dim: int
    epochs: int
    recalls: tuple[Recall, ...]
    same_label: float | None
    """Of test rows with one label, those whose retrieved medium comes from a training row of the same label."""


class TranslationRef(Ref):
    """What a translation came to; `rows` have the source. translation.json lies at `uri`."""

    reason: str
    counts: dict[str, int]


class ArmPlan(Frozen):
    """The inputs that one of the compared models is given."""

    name: str
    inputs: tuple[InputName, ...]
    uses: Literal["real", "generated", "filled"]
    """What stands in the target's column, where it is among the inputs."""


class ArmFigures(Frozen):
    """One of the compared models on the test rows."""

    plan: ArmPlan
    rows: int
    metrics: Metrics
    intervals: dict[str, tuple[float, float]]
    generated: int
    """Test rows of which it reads a generated cell."""
    model_sha256: Sha256


class ArmPairing(Frozen):
    """Two of the models on the test rows that both answered."""

    ours: str
    theirs: str
    rows: int
    differences: dict[str, Difference]
    """Metric to ours minus theirs (paired bootstrap, 95 %)."""


class ShownRow(Frozen):
    """A test row as the report shows it."""

    id: str
    label: str
    split: Split
    source: Sha256
    generated: Sha256
    answers: dict[str, str]
    """Model to what it answers."""


class TranslationReport(Frozen):
    """All figures of the report."""

    source: InputName
    target: InputName
    generator: str
    fingerprint: Sha256
    """Of the generator: with the digest of a source medium, the key of what is made from it."""
    media: str
    """Fingerprint of the canonical form of what is made."""
    mode: Literal["add", "fill"]
    rows: int
    """That have the source."""
    without_source: int
    """Rows that take no part."""
    generated: dict[Split, int]
    """Rows with a generated cell."""
    nothing: int
    """Rows for whose source nothing came out."""
    computed: int
    """Distinct media that this run generated; the others lay in the store."""
    reused: int
    distinct: int
    """Different outputs."""
    most_frequent: tuple[tuple[str, int], ...] = ()
    """Of texts: the ones that most rows have, and how many."""
    metric: str
    arms: tuple[ArmFigures, ...]
    pairings: tuple[ArmPairing, ...]
    """The first says whether the generated input helps."""
    pair: PairRef | None = None
    shown: tuple[ShownRow, ...] = Field(default=())
    notes: tuple[str, ...] = ()
