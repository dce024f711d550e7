"""compare.json: variants of a model, paired over seeds and test rows. It lies in the run's folder, and as a comparison in the
store, whose fits are artifacts of their own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data_contracts.refs import CheckpointRef, Frozen, Ref, Target

COMPARE, ANSWERS = "compare.json", "answers.parquet"
Value = bool | int | float | str
Method = Literal[
    "network", "recurrent", "naive-bayes", "hog-svm", "mfcc-svm", "embedding-svm", "embedding-logistic-regression"
]
Conclusion = Literal["better", "worse", "not after Holm", "no difference shown"]


class FitCost(Frozen):
    """What a fit took on the machine that did it; None for what is not known."""

    train_s: float | None = None
    """Wall time of training, over all processes that went on with it; reading and encoding, which variants share, are left
    out."""
    cpu_s: float | None = None
    """CPU time of the same; None where a killed process did a part of it, or another run all of it."""
    parameters: int | None = None
    """With those of frozen encoders."""
    trainable: int | None = None
    energy_j: float | None = None
    energy_source: str | None = None
    """What counted it, or why nothing did."""


class FitRef(Ref):
    """A fitted variant with its answers to the test rows, `rows` in number. answers.parquet lies at `uri`."""

    method: Method
    seed: int
    target: Target
    """The first label column."""
    tuned: tuple[float, ...] | None = None
    """What decides it besides the outputs, see ModelCard.tuned."""
    chosen: dict[str, Value] = Field(default_factory=dict)
    """What was chosen on the validation rows: C of an SVM, say."""
    checkpoint: CheckpointRef | None = None
    cost: FitCost = FitCost()
    notes: tuple[str, ...] = ()


class ComparisonRef(Ref):
    """A comparison as it stood at the end of a run; `rows` is the number of test rows. compare.json lies at `uri`."""

    reference: str


class PairedDifference(Frozen):
    """A variant minus the reference, on the same rows and from the same seeds, of which `by_seed` are the single values."""

    value: float
    low: float
    high: float
    p: float
    p_holm: float
    by_seed: tuple[float, ...]
    rows_se: float
    """Standard error by the rows, of the mean over seeds."""
    seeds_se: float
    """Standard error by the seeds."""
    differing: int
    """Rows, or clusters of rows, that the two answer differently."""

    @property
    def interval(self) -> tuple[float, float, float]:
        """Value, low, high."""
        return self.value, self.low, self.high


class VariantRecord(Frozen):
    """One variant with its figures."""

    name: str
    group: str
    says: str
    """What it is."""
    settings: dict[str, Value] = Field(default_factory=dict)
    """What it has otherwise than the profile."""
    method: Method
    scores: tuple[float, ...]
    """By seed; one alone where nothing is drawn at random."""
    mean: float
    spread: float | None = None
    """Standard deviation over seeds."""
    difference: PairedDifference | None = None
    """None: the reference itself."""
    conclusion: Conclusion | None = None
    rank: float
    """Average over the blocks of the ranking, 1 the best."""
    cost: FitCost
    """Mean over seeds."""
    chosen: dict[str, Value] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


class NotRun(Frozen):
    """A variant that was not asked for, or does not apply."""

    name: str
    group: str
    reason: str
    applies: bool
    """Whether `--variants` may name it."""


class PairTest(Frozen):
    """Two variants of the ranking, by Wilcoxon's signed-rank test over the blocks."""

    first: str
    second: str
    p: float
    p_holm: float


class Ranking(Frozen):
    """Variants by how wrongly they answer, averaged over seeds, in every block."""

    block: Literal["row", "cluster"]
    """What a block is: a test row, or a cluster of test rows that belong together."""
    blocks: int
    friedman_p: float | None
    """Of all variants being alike; None where it cannot be determined."""
    pairs: tuple[PairTest, ...] = ()
    alike: tuple[tuple[str, ...], ...] = ()
    """Largest sets of variants, neighbours by rank, of which no two differ significantly (Holm over all pairs)."""
    note: str | None = None


class CompareReport(Frozen):
    """What a comparison came to."""

    run: str
    model: str
    metric: str
    lower_is_better: bool
    reference: str
    seeds: tuple[int, ...]
    alpha: float
    epochs: int
    test_rows: int
    clusters: int | None = None
    """Of the test rows; None: each stands for itself."""
    variants: tuple[VariantRecord, ...]
    """The reference first, the others by their mean, the best first."""
    not_run: tuple[NotRun, ...] = ()
    ranking: Ranking
    finding: tuple[str, ...]
    """In plain words, one sentence each."""
    machine: str
    notes: tuple[str, ...] = ()
