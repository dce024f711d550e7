"""compress.json: what smaller and faster versions of a model cost and are worth; in the run's folder, and in the store."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data_contracts.refs import CheckpointRef, Decision, Frozen, InputName, Metrics, Ref, Sha256

COMPRESS = "compress.json"
MethodName = Literal["float16", "int8", "int4", "onnx", "onnx-int8", "prune", "distill"]
Difference = tuple[float, float, float]
"""Value, low, high."""


class InputLoss(Frozen):
    """What leaving out an input costs on the validation rows, those left out before it gone already."""

    input: InputName
    difference: Difference | None
    """Of the gate's metric, without it minus with it; None: not defined on these rows."""
    rows: int
    left_out: bool


class TeacherRef(Ref):
    """What a model says of the train and validation rows, for another one to learn from: teacher.parquet lies at `uri`."""

    model_sha256: Sha256


class Distillation(Frozen):
    """What a training learns besides the labels, and how much of it; see the config's section compress."""

    teacher: TeacherRef
    temperature: float
    alpha: float
    """Share of the teacher's part of the loss; the labels have the rest."""
    features_weight: float


class CompressedRef(Ref):
    """A compressed model: model.safetensors, model.json and what goes with them, as a checkpoint has them, lie at `uri`."""

    checkpoint: CheckpointRef
    encoder_difference: dict[InputName, float] = Field(default_factory=dict)
    """Frozen encoder to 1 - the cosine of its vectors and the original's, the largest of some validation rows."""
    inputs: tuple[InputLoss, ...] = ()
    """Of `prune`: in the order in which they were tried."""


class Latency(Frozen):
    """Medians on this machine at this moment, from decoded media to answer, in turns with the original."""

    row_ms: float
    batch_ms: float
    original_row_ms: float
    original_batch_ms: float
    batch_rows: int

    @property
    def row_ratio(self) -> float:
        """How many times faster one row is than the original's."""
        return self.original_row_ms / self.row_ms

    @property
    def batch_ratio(self) -> float:
        """The same of a batch."""
        return self.original_batch_ms / self.batch_ms


class MethodResult(Frozen):
    """One line of the table."""

    method: MethodName
    says: str
    """What it does, for people."""
    state: Literal["measured", "not possible"]
    reason: str = ""
    """Why it is not possible, or the gate's reason."""
    size_bytes: int | None = None
    """Of all that a release of it needs: weights, card, tokenizers, encoders."""
    latency: Latency | None = None
    metrics: Metrics = Field(default_factory=dict)
    """On the test rows."""
    differences: dict[str, Difference] = Field(default_factory=dict)
    """Metric to the compressed model minus the original on the same test rows: value, low, high."""
    decision: Decision | None = None
    encoder_difference: dict[InputName, float] = Field(default_factory=dict)
    inputs: tuple[InputLoss, ...] = ()
    robustness: dict[str, tuple[float | None, float | None]] = Field(default_factory=dict)
    """Corruption to the gate's metric at its highest severity, original and compressed; where evaluate.robustness asks."""
    model_sha256: str | None = None


class CompressReport(Frozen):
    """What the methods came to."""

    run: str
    model: str
    version: str
    metric: str
    """The gate's."""
    margin: float
    confidence: float
    test_rows: int
    size_bytes: int
    """Of the original."""
    metrics: Metrics
    """Of the original, on the test rows."""
    results: tuple[MethodResult, ...]
    threads: int
    machine: str
    libraries: dict[str, str]
    published: str | None = None
    """The version that was published, or waits for approval."""
    notes: tuple[str, ...] = ()

    def smaller(self, result: MethodResult) -> float | None:
        """How many times smaller it is than the original."""
        return None if not result.size_bytes else self.size_bytes / result.size_bytes

    @property
    def passing(self) -> tuple[MethodResult, ...]:
        """Those that the gate passes."""
        return tuple(each for each in self.results if each.decision == "promote")


class CompressionRef(Ref):
    """The methods' figures, as they stood at the end of a run; `rows` are test rows. compress.json lies at `uri`."""
