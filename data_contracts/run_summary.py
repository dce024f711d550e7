"""summary.json: what a run came to, as scripts read it (docs/debugging.md). Written for failed runs too."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from data_contracts.encoder_choice import EncoderChoice
from data_contracts.recognition import Recognition
from data_contracts.refs import Compared, Decision, DriftTest, Frozen, Metrics, RuleResult, Split
from data_contracts.training_history import ComparedStart, TrainRowChanges

Finding = Literal[
    "passed",
    "not trainable",
    "drift",
    "no drift",
    "findings",
    "no findings",
    "better",
    "defaults stay",
    "differences",
    "no differences",
    "compressed",
    "nothing passed",
    "helps",
    "hurts",
    "no difference shown",
]
"""What a run found that decides on no model: `check`, `monitor` and the studies."""
NO_SPLITS: dict[Split, int] = {"train": 0, "val": 0, "test": 0}
STAGES = ("ingest", "validate", "extract", "train", "evaluate", "publish", "total")


class PreflightCheck(Frozen):
    """One thing that was looked at before anything was read."""

    name: str
    outcome: Literal["ok", "warn", "fail"]
    detail: str
    exit_code: int = 0
    """Of a failure: 2 for what the user wrote, 4 for what the machine lacks."""


class SummaryPart(BaseModel):
    """The settings that the summary and its parts share: immutable; a key of another release is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True)


class ModelSummary(SummaryPart):
    """The release, the champion where nothing changed, else the candidate."""

    name: str | None = None
    version: str | None = None
    alias: str | None = None
    sha256: str | None = None


class RowsSummary(SummaryPart):
    """`in == used + quarantined + duplicates + unlabelled + sealed`."""

    rows_in: int = Field(default=0, alias="in")
    used: int = 0
    quarantined: int = 0
    duplicates: int = 0
    unlabelled: int = Field(default=0, exclude_if=lambda rows: rows == 0)
    """Of a val or test split that has no labels; not in the JSON of a run without."""
    sealed: int = Field(default=0, exclude_if=lambda rows: rows == 0)
    """Kept for later by split.sealed; not in the JSON of a run without."""

    def counts(self) -> dict[str, int]:
        """By the names that the summary has for them: in, used, quarantined, duplicates; unlabelled and sealed if any."""
        return self.model_dump(by_alias=True)

    def set_aside(self) -> dict[str, int]:
        """unlabelled and sealed, of which most runs have none: those that there are."""
        found = {"unlabelled": self.unlabelled, "sealed": self.sealed}
        return {name: count for name, count in found.items() if count}


class WorkSummary(SummaryPart):
    """Samples per input, and per input that is averaged over mirror images besides (`image, test-time flip`)."""

    computed: dict[str, int] = Field(default_factory=dict)
    reused: dict[str, int] = Field(default_factory=dict)


class BaselineSummary(SummaryPart):
    """A linear baseline's figures on the test rows."""

    accuracy: float | None = None
    macro_f1: float | None = None
    ahead: float | None = None
    """The model's accuracy minus its."""
    c: float
    rows: int
    notes: tuple[str, ...] = ()


class CorruptedSummary(SummaryPart):
    """Figures on test rows whose media are corrupted; severity 0: as they are."""

    severity: int
    rows: int
    metrics: Metrics
    intervals: dict[str, tuple[float, float] | None]
    """Of every figure that is defined; None: too few rows for one."""


class InferenceSummary(SummaryPart):
    """What an answer cost on this machine at that moment, from decoded media on; of a run that evaluated its model anew."""

    row_ms: float
    """Median of one row, warm."""
    batch_ms: float
    """Median of `batch_rows` together."""
    batch_rows: int
    threads: int
    """Of the network."""
    device: str
    parameters: int
    """Those of frozen encoders included."""
    frozen_parameters: int
    size_bytes: int
    """The weights of model and frozen encoders."""
    energy_j: float | None = None
    """Of one row in a batch; None where it cannot be read."""
    energy_source: str = ""
    """What was read, or why nothing was."""


class ExtractedOn(SummaryPart):
    """Where features were computed under extract.engine = ray."""

    engine: Literal["ray"] = "ray"
    address: str
    shards: dict[str, int]
    """Node to the shards that were finished on it."""
    retried: int = 0
    """Shards that were begun anew, as the process that computed them was gone."""


class ScoredVersion(SummaryPart):
    """What `score` did for one model version: `rows == known + repeated + scored + refused`."""

    version: str = ""
    sha256: str = ""
    rows: int = 0
    """Of the data."""
    known: int = 0
    """Scored before."""
    repeated: int = 0
    """A row of the data before has the same id and content."""
    scored: int = 0
    copied: int = 0
    """Of those: the answer is that to another row of the same content."""
    refused: int = 0
    parts: int = 0
    folder: str = ""
    """Of the parts."""


class TuneSummary(SummaryPart):
    """What a search over settings came to, in short; all of it is in tune.json beside the report."""

    study: str = ""
    metric: str = ""
    """On the validation rows."""
    defaults: float | None = None
    best: float | None = None
    trial: int | None = None
    """The best one's number."""
    settings: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """The best one's."""
    before: dict[str, bool | int | float | str | None] = Field(default_factory=dict)
    """The same as the profile has them."""
    trials: dict[str, int] = Field(default_factory=dict)
    """complete, pruned, failed, running."""
    test_difference: dict[str, tuple[float, float, float]] = Field(default_factory=dict)
    """Best minus defaults on the same test rows: value, low, high."""
    stopped: str | None = None
    """The budget that ended the run before all trials were done."""
    profile: str | None = None
    """Where the best settings were saved."""


class ComparedSummary(SummaryPart):
    """A variant in short."""

    name: str
    mean: float
    """Of the metric, over seeds."""
    difference: tuple[float, float, float] | None = None
    """Variant minus reference: value, low, high; None: the reference."""
    p_holm: float | None = None
    conclusion: str | None = None
    train_s: float | None = None
    parameters: int | None = None


class CompareSummary(SummaryPart):
    """What a comparison of variants came to, in short; all of it is in compare.json beside the report."""

    metric: str = ""
    reference: str = ""
    seeds: int = 0
    test_rows: int = 0
    variants: tuple[ComparedSummary, ...] = ()
    """The reference first, then the best."""
    not_run: tuple[str, ...] = ()
    """Variants that apply, and were not asked for."""


class CompressedSummary(SummaryPart):
    """What one way to compress a model came to; None: it is not possible."""

    decision: Decision | None = None
    reason: str = ""
    size_bytes: int | None = None
    smaller: float | None = None
    """Times smaller than the original."""
    row_ms: float | None = None
    row_faster: float | None = None
    """Times faster than the original, measured in turns."""
    batch_faster: float | None = None
    difference: tuple[float, float, float] | None = None
    """Of the gate's metric on the same test rows, compressed minus original: value, low, high."""


class CompressSummary(SummaryPart):
    """What the ways to compress a model came to, in short; all of it is in compress.json beside the report."""

    metric: str = ""
    size_bytes: int = 0
    """Of the original."""
    methods: dict[str, CompressedSummary] = Field(default_factory=dict)
    published: str | None = None
    """The version that was published, or waits for approval."""


class WarmStartSummary(SummaryPart):
    """What train.continue_from came to."""

    version: str | None = None
    """Of the champion whose weights were tried; None: none was."""
    kept: Literal["champion", "scratch"]
    """What the model's weights began as."""
    why: str | None = None
    """Why no champion was tried."""
    changed: float | None = None
    """Of the champion's train rows, the share that is another by now; None: it was no matter."""
    changes: TrainRowChanges | None = None
    compared: tuple[ComparedStart, ...] = ()
    """On the same validation rows."""


_IF_KNOWN: Any = Field(default=None, exclude_if=lambda value: value is None)


class RunSummary(SummaryPart):
    """What a run came to; what it did not get to is None, empty or zero."""

    run: str | None = None
    """None: the command failed before there was a run."""
    flow: str | None = None
    data: str | None = None
    verdict: Decision | None = None
    reason: str | None = None
    model: ModelSummary | None = None
    rows: RowsSummary = RowsSummary()
    splits: dict[Split, int] = Field(default_factory=lambda: {**NO_SPLITS})
    metrics: dict[str, Metrics] = Field(default_factory=dict)
    """"test" to the figures; further label columns under their names; "labelled" of `predict`."""
    by_modalities: dict[str, Metrics] = Field(default_factory=dict)
    work: WorkSummary = WorkSummary()
    seconds: dict[str, float] = Field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    report: str | None = None
    """Path below the store."""

    # What only some runs have: not in the JSON of the others.
    intervals: dict[str, tuple[float, float] | None] | None = _IF_KNOWN
    """Of every figure of `metrics` that is defined, `column.metric` for further label columns; None: too few rows for one."""
    rules: tuple[RuleResult, ...] | None = _IF_KNOWN
    """The gate's table, of a run that came to it."""
    repeats: str | None = _IF_KNOWN
    """Of an unchanged run: the run whose evaluation and verdict are its own, and whose report has what its own leaves out."""
    extracted_on: ExtractedOn | None = _IF_KNOWN
    test_uses: float | None = _IF_KNOWN
    """How many verdicts on this model the test rows had decided before, on average."""
    read: Recognition | None = _IF_KNOWN
    """What was recognised in the data as what; of a run that came to read them."""
    inference: InferenceSummary | None = _IF_KNOWN
    """Measured, so another one in each run."""
    robustness: dict[str, tuple[CorruptedSummary, ...]] | None = _IF_KNOWN
    """`image/noise` to its figures by severity, where evaluate.robustness measured any."""
    forgetting: dict[Literal["old", "new"], Compared] | None = _IF_KNOWN
    encoder_choice: EncoderChoice | None = _IF_KNOWN
    """Under encoders.KIND = auto."""
    warm_start: WarmStartSummary | None = _IF_KNOWN
    """Under train.continue_from."""
    linear_baseline: BaselineSummary | None = _IF_KNOWN
    classical: dict[str, BaselineSummary] | None = _IF_KNOWN
    """`image` to what logistic regression on its classical features reaches; of several inputs, too, on all of them."""
    error: str | None = _IF_KNOWN
    finding: Finding | None = _IF_KNOWN
    labelled: int | None = _IF_KNOWN
    """Of `predict`: rows that have a label, which its metrics are about."""
    out: str | None = _IF_KNOWN
    notes: tuple[str, ...] | None = _IF_KNOWN
    """What is to be known about the data."""
    quarantine: str | None = _IF_KNOWN
    drift: bool | None = _IF_KNOWN
    """Of `monitor`, as the next three."""
    compared: int | None = _IF_KNOWN
    known: int | None = _IF_KNOWN
    tests: tuple[DriftTest, ...] | None = _IF_KNOWN
    found: dict[str, int] | None = _IF_KNOWN
    """Of `audit`: kind of finding to how many there are; audit.json beside the report has them. Of `translate`: media that were
    generated, found in the store, and of which nothing came."""
    scored: tuple[ScoredVersion, ...] | None = _IF_KNOWN
    """Of `score`."""
    tune: TuneSummary | None = _IF_KNOWN
    compare: CompareSummary | None = _IF_KNOWN
    compress: CompressSummary | None = _IF_KNOWN
    preflight: tuple[PreflightCheck, ...] | None = _IF_KNOWN
    """Of a command that failed in it."""

    def as_json(self) -> dict[str, JsonValue]:
        """The JSON value: keys as in DESIGN.md, NaN as None."""
        found: dict[str, JsonValue] = _without_nan(self.model_dump(mode="json", by_alias=True))
        return found


def _without_nan(value: Any) -> Any:
    """The same JSON value with every NaN and infinity as None: JSON has no such numbers."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
