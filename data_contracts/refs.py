"""The refs that stages hand to each other: small, frozen, JSON-able. Never a frame, a tensor, a model or a bare path.

`RawRef -> CleanRef -> ValidatedRef -> {modality: FeatureRef} -> CheckpointRef -> EvalReport -> Verdict -> ReleaseRef`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.baselines import ClassicalBaselines, LinearBaseline
from data_contracts.corrections import CorrectionsRef
from data_contracts.recognition import Recognition
from data_contracts.slices import SliceRegressions
from data_contracts.uncertainty import UncertaintyFigures

Modality = Literal["image", "text", "audio", "video", "tabular"]
"""What can be decoded and encoded: each has its object in tasks.modality_specs."""
IN_CELLS: frozenset[Modality] = frozenset({"text", "tabular"})
"""Those that a manifest may hold in its cells as they are, not in files."""
ALWAYS: tuple[Modality, ...] = ("image", "text", "audio", "video")
"""Modalities that every table has columns for; one that was added later has them where it is read."""
INPUT_NAME = rf"^({'|'.join(get_args(Modality))})(_[2-8])?$"
InputName = Annotated[str, Field(pattern=INPUT_NAME)]
"""The name of one input of a sample: its kind, and `image_2`, `image_3` ... for further columns of one kind."""
Split = Literal["train", "val", "test"]
Decision = Literal["promote", "reject", "inconclusive", "needs-approval", "unchanged"]
RuleOutcome = Literal["pass", "fail", "inconclusive", "needs-approval"]
"""Of one line of the gate's table."""
ColumnType = Literal["numeric", "categorical"]
"""Of a column that is one of several in an input."""
ProblemName = str
"""The name of a problem in tasks.problems.registry, which refuses one that it does not have."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""The pattern of a model's name in the registry: it becomes a folder name, a tag and a part of addresses."""
Metrics = dict[str, float | None]
"""Metric name to value; None where it is not defined (AUROC of a class that never occurs)."""


class Frozen(BaseModel):
    """The settings that every ref shares: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Ref(Frozen):
    """Points to one artifact of the store."""

    uri: str
    """Posix path below the store's root."""
    sha256: Sha256
    """Digest of the content; two refs with the same digest are interchangeable."""
    rows: int
    parents: tuple[Sha256, ...] = ()
    """Digests of the refs this one was made from."""


COUNTED_APART = ("duplicate", "unlabelled", "sealed")
"""Reasons of quarantine.parquet that are no fault of a row: RowCounts has a number for each."""


class RowCounts(Frozen):
    """`rows_in == used + quarantined + duplicates + unlabelled + sealed`, always."""

    rows_in: int
    used: int
    quarantined: int
    duplicates: int
    unlabelled: int = Field(default=0, exclude_if=lambda rows: rows == 0)
    """Of a val or test split that has no labels at all."""
    sealed: int = Field(default=0, exclude_if=lambda rows: rows == 0)
    """Kept for later by split.sealed."""


class Target(Frozen):
    """One label column: what is to be predicted."""

    name: str
    problem: ProblemName = "multiclass"
    labels: tuple[str, ...] = ()
    """Sorted; their positions are the outputs' positions. Empty for numbers."""
    mean: float = 0.0
    """Of the numbers of the train rows, once training has seen them: the network learns (number - mean) / std."""
    std: float = 1.0


class RawRef(Ref):
    """The manifest as read: a table of rows whose media are named and digested, but not decoded."""

    source: str
    """What the user named, for messages."""
    modalities: tuple[InputName, ...]
    columns: dict[InputName, str] = {}
    """Input to its column in the manifest, or to its columns, for people."""
    column_types: dict[str, ColumnType] = {}
    """Of every column that is one of several in an input."""
    notes: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    """The label columns, not yet with their labels."""
    recognition: Recognition = Recognition()
    """What was recognised as what, for people and for `check --write-profile`."""
    earlier: ChampionRef | None = Field(default=None, exclude_if=lambda earlier: earlier is None)
    """The published model whose groups keep their split, under split.by = stratified-group."""
    corrections: CorrectionsRef | None = Field(default=None, exclude_if=lambda corrections: corrections is None)


class CleanRef(Ref):
    """samples.parquet and quarantine.parquet: every row used, quarantined with a reason, or dropped as a duplicate."""

    counts: RowCounts
    splits: dict[Split, int]
    labels: tuple[str, ...]
    """Sorted, of the first label column; their positions are the class indices everywhere downstream."""
    targets: tuple[Target, ...] = ()
    """Every label column, the first one first; empty: one multiclass column with `labels`."""
    modalities: tuple[InputName, ...]
    media: dict[InputName, str]
    """Modality to the fingerprint under which its canonical media are stored."""
    columns: dict[InputName, str] = {}
    """As the raw table's."""
    column_types: dict[str, ColumnType] = {}
    """As the raw table's."""
    corrections: CorrectionsRef | None = Field(default=None, exclude_if=lambda corrections: corrections is None)
    notes: tuple[str, ...] = ()

    @property
    def label_targets(self) -> tuple[Target, ...]:
        """The label columns, also where only `labels` tell of them."""
        return self.targets or (Target(name="label", labels=self.labels),)


class ValidatedRef(Ref):
    """Samples that met their contract. Only the validate stage makes one."""

    clean: CleanRef
    docs: str
    """Store path of the Data Docs folder (index.html)."""
    warnings: tuple[str, ...] = ()


class FeatureRef(Ref):
    """Features of one modality, one row per distinct canonical medium."""

    modality: InputName
    encoder: str
    fingerprint: Sha256
    """Of the encoder and of everything that changes its output."""
    parts: tuple[str, ...]
    """Store paths of the Parquet files that together hold the rows."""
    dtype: Literal["uint8", "int16", "int32", "float32"]
    computed: int
    """Samples whose feature was computed in this run."""
    reused: int
    is_flip_averaged: bool = Field(default=False, exclude_if=lambda flips: not flips)
    """Whether each is the mean of a picture's embedding and its mirror image's."""
    test_time: FeatureRef | None = Field(default=None, exclude_if=lambda ref: ref is None)
    """The same media so averaged, of the rows of some splits: what a model that was trained without reads where it answers by
    both."""


def features_by_title(features: Mapping[InputName, FeatureRef]) -> dict[str, FeatureRef]:
    """Each input's, by its name, and those that are averaged beside it as `image, test-time flip`."""
    averaged = {name: ref.test_time for name, ref in features.items()}
    beside = {f"{name}, test-time flip": ref for name, ref in averaged.items() if ref is not None}
    return {**features, **beside}


class CheckpointRef(Ref):
    """A trained model: model.safetensors, model.json, history.json."""

    model_sha256: Sha256
    """Of model.safetensors, which holds no time and no path."""
    train_key: Sha256
    base_key: Sha256 | None = None
    """Of all that training saw but the model it started from; the train_key itself where it started from nothing."""
    modalities: tuple[InputName, ...]
    labels: tuple[str, ...]
    """Of the first label column; empty for numbers."""
    outputs: int | None = None
    """Of all label columns together; None: one for each label."""
    best_epoch: int
    epochs: int


class ChampionRef(Ref):
    """The model in production, copied from the registry into the store: model.safetensors and model.json at `uri`.

    Beside them lies rows.safetensors, which records the rows it was trained and evaluated on.
    """

    name: str
    version: str
    model_sha256: Sha256
    train_key: Sha256 | None = None
    base_key: Sha256 | None = None
    """As its checkpoint's."""
    anchor: str | None = None
    """The version that was the best so far when this one was published; None: itself."""
    card_sha256: Sha256 | None = None
    """Of the model.json that was published; None: not known."""
    signed_by: Sha256 | None = None
    """Of the public key of its signature; None: it has none."""


class PreparedChampion(Frozen):
    """The champion, with the samples and features as its own settings make them."""

    champion: ChampionRef
    valid: ValidatedRef
    features: dict[InputName, FeatureRef]
    anchor: PreparedChampion | None = None
    """The best champion so far, where that is another one."""


class Compared(Frozen):
    """Candidate and champion on some of the test rows."""

    rows: int
    candidate: Metrics
    champion: Metrics
    differences: dict[str, tuple[float, float, float]]
    """Metric to candidate minus champion: value, low, high (paired bootstrap)."""


class Pairing(Frozen):
    """Candidate and another model on the same test rows."""

    version: str
    model_sha256: Sha256
    rows: int
    clusters: int | None = None
    """Of those rows; None: each stands for itself."""
    seen: int = 0
    """Test rows that were left out: that model was trained on them, or on others of their group, and the candidate was not."""
    metrics: Metrics
    """Of that model."""
    differences: dict[str, tuple[float, float, float]]
    """Metric to candidate minus that model: value, low, high (paired bootstrap, gate.confidence)."""
    differing: int | None = None
    """Rows, or clusters with such rows, that one of the two answers better."""
    effective_rows: dict[str, float] = {}
    """Metric to the number of rows, each by itself and of equal weight, that these rows are worth."""


class EvalReport(Ref):
    """Figures on the test rows; `rows` is their number. predictions.parquet and detail.json lie at `uri`."""

    model_sha256: Sha256
    metrics: dict[str, Metrics]
    """{"test": {"accuracy": ..., "macro_f1": ..., ...}}; with several label columns each further one under its name."""
    intervals: dict[str, tuple[float, float]]
    """Metric to its 95 % interval; `column.metric` for further label columns. A figure without one has too few rows for it."""
    seen: int = 0
    """Test rows left out, as a published model that is evaluated by itself was trained on them or on others of their group."""
    clusters: int | None = None
    """Of the test rows, by group and near duplicates, which intervals are resampled by; None: each row is one of its own."""
    known_rows: dict[str, int] = {}
    """Further label column to the number of test rows whose cell in it is filled: those that its figures are about."""
    by_modalities: dict[str, Metrics]
    """ "image+audio" to the figures of the same model when only those modalities are given, on all test rows."""
    majority_share: float | None
    """Share of the most frequent class: the accuracy of always answering it. None where there are no classes."""
    problem: ProblemName = "multiclass"
    """Of the first label column, which `metrics["test"]` and all figures that name no column are about."""
    problems: dict[str, ProblemName] = {}
    """Further label column to its problem."""
    baselines: dict[str, float] = {}
    """Metric to what one and the same answer to every row scores; `column.metric` for further label columns."""
    champion_sha256: Sha256 | None = None
    champion_version: str | None = None
    champion_metrics: Metrics | None = None
    """The champion re-scored on the same rows."""
    champion_rows: int | None = None
    """How many rows those are: its samples may lack some of the test rows, or it has seen them. None: all of them."""
    champion_clusters: int | None = None
    champion_seen: int = 0
    champion_differing: int | None = None
    champion_effective_rows: dict[str, float] = {}
    """As in Pairing."""
    slice_regressions: SliceRegressions | None = None
    """Against the champion, on the same rows."""
    anchor: Pairing | None = None
    """Against the best champion so far, where that is another one than the champion."""
    differences: dict[str, tuple[float, float, float]] = {}
    """Metric to candidate minus champion: value, low, high (paired bootstrap, gate.confidence)."""
    forgetting: dict[Literal["old", "new"], Compared] = {}
    """Test rows that were there when the champion was published, and rows that came since; empty unless both are there."""
    linear_baseline: LinearBaseline | None = None
    """Where every modality is read as a frozen encoder's embedding."""
    classical: ClassicalBaselines | None = None
    """Of problems with classes."""
    uncertainty: UncertaintyFigures | None = None


class RuleResult(Frozen):
    """One line of the gate's table."""

    rule: str
    metric: str
    value: float | None
    threshold: float | None
    baseline: str
    n: int
    outcome: RuleOutcome
    detail: str
    """With every figure that decided."""
    sentence: str = ""
    """The same for somebody who knows no statistics."""
    interval: tuple[float, float] | None = Field(default=None, exclude_if=lambda interval: interval is None)
    """Of the value where a rule is about it alone, else of the difference, at the confidence that decides."""
    clusters: int | None = Field(default=None, exclude_if=lambda clusters: clusters is None)
    """Of the n rows, where they come in clusters."""


class Verdict(Ref):
    """What the gate decided, and why; `rows` is the number of test rows it decided on."""

    decision: Decision
    reason: str
    rules: tuple[RuleResult, ...]
    model_sha256: Sha256
    anchor: str | None = None
    """The version within whose margin later candidates must stay, the best so far; None: this model."""


class ReleaseRef(Ref):
    """A model version in the registry."""

    name: str
    version: str
    alias: str | None
    model_sha256: Sha256


class StudyRef(Ref):
    """A search over settings, as it stood at the end of a run; `rows` is the number of validation rows. tune.json lies at
    `uri`; it was made from the checkpoints and evaluations of the best trial and of the settings as they were."""

    study: str
    """Its name in the storage where workers meet."""


class AuditRef(Ref):
    """What an audit found in a table's rows, with counts by kind; `rows` were looked at. audit.json lies at `uri`."""

    reason: str
    counts: dict[str, int]


class DriftTest(Frozen):
    """One two-sample test: the model's own rows against new ones."""

    name: str
    """What is compared: `image brightness`, `prediction`."""
    method: Literal["kolmogorov-smirnov", "chi-square", "energy distance"]
    p: float | None
    """None where one side has too few rows to be tested."""
    p_holm: float | None
    """Adjusted over all tests of the report."""
    effect: float
    """0: the same; 1: nothing in common."""
    min_effect: float
    """A smaller effect is no drift, however certain it is."""
    n_reference: int
    n_new: int
    before: str
    """The model's own rows in short: a median, the largest shares."""
    after: str
    drifted: bool


class MonitorReport(Ref):
    """New data against the profile of a published model; `rows` is the number of new rows. report.json lies at `uri`."""

    name: str
    version: str
    model_sha256: Sha256
    counts: RowCounts
    known: int
    """Usable rows left out because the model was trained or evaluated with them."""
    alpha: float
    tests: tuple[DriftTest, ...]
    """The most certain first."""
    drift: bool
    reason: str
