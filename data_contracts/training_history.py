"""history.json: what training records of its epochs, for reports, logs and MLflow. `CheckpointRef.uri` is its folder."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from data_contracts.refs import Frozen, Sha256

HISTORY = "history.json"


class Epoch(BaseModel):
    """One epoch. Besides what is named here it has the validation metric of the first label column: `val_accuracy`."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, float | None] = Field(init=False)

    epoch: int
    """From 1, over all stages."""
    stage: str | None = None
    train_loss: float
    val_loss: float
    learning_rate: float | None = None
    """At the epoch's end."""
    grad_norm: float | None = None
    """Mean over the epoch, before clipping."""
    seconds: float = 0.0


class Throughput(Frozen):
    """Speed and memory; None for what could not be known."""

    device: str | None = None
    devices: int = 1
    samples: int = 0
    train_s: float = 0.0
    """Of the training steps."""
    gpu_s: float | None = None
    """The same over all GPUs."""
    samples_per_s: float | None = None
    """Training rows over all processes."""
    peak_memory_mb: float | None = None
    """Of one process."""
    data_wait_share: float | None = None
    """Share of train_s in which a step waited for its batch."""
    flops_per_sample: float | None = None
    """Of forward and backward pass."""
    mfu: float | None = None
    """Share of the GPUs' peak FLOP/s."""
    notes: tuple[str, ...] = ()
    """That memory ran out and batches were halved, say."""


class TrainRowChanges(Frozen):
    """How the train rows differ from those that a model was trained on."""

    before: int
    """Rows that it was trained on."""
    added: int = 0
    removed: int = 0
    altered: int = 0
    """Of the same id, with another label, weight or content."""

    @property
    def share(self) -> float:
        """Of the rows before."""
        return (self.added + self.removed + self.altered) / max(self.before, 1)

    def __str__(self) -> str:
        counts = f"{self.added:,} added, {self.removed:,} removed, {self.altered:,} altered"
        return f"{100 * self.share:.1f} % of the champion's {self.before:,} train rows changed ({counts})"


class StartChoice(Frozen):
    """What a run decided on the start of its training, under train.continue_from."""

    why: str = ""
    """Why it trained from scratch, a clause; empty where the champion's weights were tried."""
    changes: TrainRowChanges | None = None
    """auto: since the champion was trained; None where it was no matter."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person is told that the training's own history does not say."""
        return (f"trained from scratch: {self.why}",) if self.why else ()


class ComparedStart(Frozen):
    """A training under train.continue_from = auto; all are compared on the same validation rows."""

    start: Literal["scratch", "champion"]
    """What its weights began as."""
    epochs: int
    """Of all its heads."""
    val_loss: float
    """The lowest, by which starts are chosen."""
    figures: dict[str, float] = Field(default_factory=dict)
    """Of the same epoch: `val_accuracy`."""
    seconds: float
    chosen: bool


class WarmStartRecord(Frozen):
    """What was taken over from the champion under train.continue_from."""

    champion: Sha256 | None = None
    """Of its model; None where there was none to continue from."""
    changes: TrainRowChanges | None = None
    """auto: since the champion was trained."""
    compared: tuple[ComparedStart, ...] = ()
    """auto: the trainings that one was chosen from; (): that from the champion's weights failed."""
    rows: dict[str, int] = Field(default_factory=dict)
    """new, old and replayed training rows."""
    taken: int = 0
    """Tensors that are the champion's."""
    partly: tuple[str, ...] = ()
    """Tensors of which some outputs are."""
    fresh: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_continued(self) -> bool:
        """Whether the model has the champion's weights behind it."""
        if self.changes is None:
            return self.champion is not None
        return any(one.chosen and one.start == "champion" for one in self.compared)


class ThresholdTuning(Frozen):
    """Macro F1 on the validation rows, with the decision tuned on them and without."""

    macro_f1: float
    tuned_macro_f1: float
    left_out_macro_f1: float
    """On rows that the decision was not tuned on."""
    used: bool
    """Whether the model decides so."""


class TemperatureScaling(Frozen):
    """Mean negative log-likelihood of the validation rows, with the logits divided by a temperature and without."""

    temperature: float
    nll: float
    scaled_nll: float
    left_out_nll: float | None = None
    """On rows that it was not fitted to; None: too few to divide."""
    used: bool
    """Whether the model divides by it."""


class TestTimeFlip(Frozen):
    """What the mean over a picture and its mirror image does on the validation rows; None where it was not compared."""

    __test__ = False  # pytest collects what is called so

    rows: int = 0
    used: bool
    """Whether the model answers so: each picture then passes through its encoder twice."""
    why: str | None = None
    """Why it was not tried, a clause."""
    metric: str | None = None
    score: float | None = None
    flipped_score: float | None = None
    loss: float | None = None
    """Mean over the rows, of the first label column's probabilities under the temperature that the model would have."""
    flipped_loss: float | None = None
    standard_error: float | None = None
    """Of the difference of the losses, paired by row; None: too few to know."""


class OutOfMemory(Frozen):
    """Where memory ran out, once, and batches were halved from then on."""

    epoch: int
    step: int


class TrainedHead(Frozen):
    """One of the heads that were trained on the same frozen features, under train.heads = auto."""

    settings: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """What it had otherwise than the config; {}: as it is configured."""
    epochs: int
    best_epoch: int
    val_loss: float
    """The lowest, by which heads are chosen."""
    figures: dict[str, float] = Field(default_factory=dict)
    """Of the same epoch: `val_accuracy`."""
    seconds: float
    chosen: bool


class TrainingHistory(Frozen):
    """All that training recorded."""

    epochs: tuple[Epoch, ...] = ()
    best_epoch: int = 0
    """0: none."""
    parameters: int | None = None
    figures: Throughput = Throughput()
    oom_split: OutOfMemory | None = None
    heads: tuple[TrainedHead, ...] = ()
    """The heads that were chosen from, the configured one first; (): one was trained. `epochs` are those of the chosen one."""
    start: WarmStartRecord | None = None
    """None where training did not start from a champion."""
    members: tuple[Sha256, ...] = ()
    """Of a blend the models whose answers it blends, by their weights; `epochs` and `heads` are those of the first. (): it is
    one network."""
    reached: dict[str, float] = Field(default_factory=dict)
    """Of a blend, on the validation rows: `val_accuracy`. Of one network its epochs say it."""
    thresholds: ThresholdTuning | None = None
    """None where it does not ask to tune them."""
    temperature: TemperatureScaling | None = None
    """None where it does not ask for one, or the first label column holds numbers."""
    test_time_flip: TestTimeFlip | None = None
    """None where it does not ask to choose, or no picture is read."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of how the training went."""
        return (*self.figures.notes, *(self.start.notes if self.start else ()))
