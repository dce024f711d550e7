"""What the report shows of training: stages, curves, speed, tuned thresholds, and what was taken over from the champion.

What a run did not record is not shown.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from typing import TypedDict

from data_contracts.encoder_choice import ComparedEncoders, EncoderChoice
from data_contracts.refs import Modality
from data_contracts.training_history import (
    Epoch,
    ThresholdTuning,
    Throughput,
    TrainedHead,
    TrainingHistory,
    WarmStartRecord,
)
from tasks.encoder_choice import compared_kinds, is_blend, name_encoders
from tasks.encoder_ids import AUTO
from tasks.modeling.card import ModelCard
from tasks.problems.registry import get_metric, problem_of, validation_keys
from tasks.reporting.charts import CurveChart, curve_chart

LARGEST_OFFSETS = 20
# Field of Throughput, what it is called, how it is written.
FIGURES = (
    ("samples_per_s", "Samples per second", "{:,.0f}"),
    ("gpu_s", "GPU-seconds", "{:,.0f}"),
    ("peak_memory_mb", "Peak memory of the device", "{:,.0f} MB"),
    ("mfu", "Model FLOPs utilisation", "{:.1%}"),
    ("data_wait_share", "Share of the time spent waiting for data", "{:.1%}"),
)
VALIDATION = {key: get_metric(key.removeprefix("val_")) for key in validation_keys()}
REACHED = {
    key: (f"Its {metric.phrase}", "share" if metric.unit == "share" else "number") for key, metric in VALIDATION.items()
}
"""What the best epoch of a stage is described by, the one of them that its problem has: its heading and its unit."""
CHARTS = (
    ("Loss", (("train_loss", "train loss", "blue"), ("val_loss", "validation loss", "orange"))),
    *(
        (f"Validation {metric.phrase}", ((key, f"validation {metric.phrase}", "green"),))
        for key, metric in VALIDATION.items()
    ),
    ("Learning rate", (("learning_rate", "at the epoch's end", "blue"),)),
    ("Gradient norm", (("grad_norm", "mean of the epoch, before clipping", "blue"),)),
)


class TrainingStage(TypedDict):
    """Consecutive epochs of one stage: head, then fine-tuning."""

    name: str
    first: int
    last: int
    seconds: float
    val_loss: float
    """The best it reached."""
    reached: tuple[str, str, float] | None
    """Heading, unit and value of the validation figure at that epoch."""


class TrainingCurves(TypedDict):
    """The charts over epochs, with the epochs at which a stage begins."""

    charts: list[tuple[str, CurveChart]]
    best: int
    epochs: int
    parameters: int | None
    stages: list[TrainingStage]
    begins: list[int]


class TrainedHeads(TypedDict):
    """The heads that one was chosen from."""

    rows: list[tuple[TrainedHead, list[str]]]
    """With what it has otherwise than others, `fusion.dropout = 0.5`; the lowest validation loss first."""
    common: list[str]
    """What all have otherwise than the config."""
    reached: list[tuple[str, str, str]]
    """(key, name, unit) of the validation figure; empty where none was recorded."""


class ComparedStarts(TypedDict):
    """What training from the champion's weights reached, and from scratch."""

    record: WarmStartRecord
    reached: list[tuple[str, str, str]]
    """As of heads."""


class EncoderRow(TypedDict):
    """A model with some of the encoders that one was chosen from."""

    name: str
    compared: ComparedEncoders


class TriedEncoders(TypedDict):
    """The encoders that the validation rows chose from, the lowest validation loss first."""

    asked: list[str]
    """The settings that left them open."""
    rows: list[EncoderRow]
    reached: list[tuple[str, str, str]]
    """As of heads."""
    blended: str
    """What the blend of the others is called; empty where there is none."""
    by_modality: list[tuple[Modality, dict[str, float]]]
    """Encoder to the validation loss with this modality only, where several modalities are open."""


class TunedThresholds(TypedDict):
    """What tuning the decision did, and the offsets or thresholds, the largest first."""

    tuning: ThresholdTuning
    sets: bool
    """Whether they are thresholds of labels, and not offsets of classes."""
    offsets: list[tuple[str, float]]
    left_out: int


def training_curves(history: TrainingHistory | None) -> TrainingCurves | None:
    """None where nothing was trained."""
    if history is None or not history.epochs:
        return None
    numbers = [epoch.model_dump(exclude={"stage"}) for epoch in history.epochs]
    charts = [(name, curve_chart(numbers, lines)) for name, lines in CHARTS]
    stages = training_stages(history.epochs)
    return {
        "charts": [(name, chart) for name, chart in charts if chart],
        "best": history.best_epoch,
        "epochs": len(history.epochs),
        "parameters": history.parameters,
        "stages": stages,
        "begins": [stage["first"] for stage in stages[1:]],
    }


def training_stages(epochs: Sequence[Epoch]) -> list[TrainingStage]:
    """One line per stage: its epochs, their time, and the best it reached; empty if unnamed."""
    named = [epoch for epoch in epochs if epoch.stage is not None]
    return [_stage(str(name), list(own)) for name, own in itertools.groupby(named, lambda epoch: epoch.stage)]


def _stage(name: str, epochs: list[Epoch]) -> TrainingStage:
    best = min(epochs, key=lambda epoch: epoch.val_loss)
    reached = ((*texts, value) for key, texts in REACHED.items() if (value := getattr(best, key, None)) is not None)
    return {
        "name": name,
        "first": epochs[0].epoch,
        "last": epochs[-1].epoch,
        "seconds": sum(epoch.seconds for epoch in epochs),
        "val_loss": best.val_loss,
        "reached": next(reached, None),
    }


def trained_heads(history: TrainingHistory | None) -> TrainedHeads | None:
    """None where only one was trained."""
    if history is None or not history.heads:
        return None
    known = [(key, *texts) for key, texts in REACHED.items() if all(key in head.figures for head in history.heads)]
    settings = [
        [f"{key} = {value if isinstance(value, str) else json.dumps(value)}" for key, value in head.settings.items()]
        for head in history.heads
    ]
    common = [text for text in settings[0] if all(text in own for own in settings)]
    rows = [
        (head, [text for text in own if text not in common]) for head, own in zip(history.heads, settings, strict=True)
    ]
    return {"rows": sorted(rows, key=lambda row: row[0].val_loss), "common": common, "reached": known[:1]}


def compared_starts(history: TrainingHistory | None) -> ComparedStarts | None:
    """None where the champion's weights were not tried under auto."""
    record = None if history is None else history.start
    if record is None or not record.compared:
        return None
    known = [(key, *texts) for key, texts in REACHED.items() if all(key in one.figures for one in record.compared)]
    return {"record": record, "reached": known[:1]}


def tried_encoders(choice: EncoderChoice | None) -> TriedEncoders | None:
    """None where the config named all encoders, or the rows have none of the modalities that it left open."""
    if choice is None or not choice.compared:
        return None
    kinds = compared_kinds(choice)
    trained = [one for one in choice.compared if one.epochs]
    known = [(key, *texts) for key, texts in REACHED.items() if all(key in one.figures for one in trained)]
    ordered = sorted(choice.compared, key=lambda one: math.inf if one.loss is None else one.loss)
    return {
        "asked": [f"encoders.{kind} = {AUTO}" for kind in kinds],
        "rows": [{"name": name_encoders(one.encoders, kinds), "compared": one} for one in ordered],
        "reached": known[:1],
        "blended": next((name_encoders(one.encoders, kinds) for one in choice.compared if is_blend(one.encoders)), ""),
        "by_modality": list(choice.modality_losses.items()),
    }


def training_figures(history: TrainingHistory | None) -> list[tuple[str, str]]:
    """(name, value) of every figure of speed that the run recorded."""
    figures = history.figures if history else Throughput()
    values = ((name, how, getattr(figures, key)) for key, name, how in FIGURES)
    return [(name, how.format(value)) for name, how, value in values if value is not None]


def tuned_thresholds(history: TrainingHistory | None, card: ModelCard | None) -> TunedThresholds | None:
    """None where it was not asked for."""
    if history is None or history.thresholds is None:
        return None
    sets = card is not None and problem_of(card.label_targets[0]).decision == "thresholds"
    offsets = (card.tuned if card else None) or ()
    labels = card.labels if card else ()
    rows = sorted(zip(labels, offsets, strict=bool(offsets)), key=lambda pair: -abs(pair[1]))
    return {
        "tuning": history.thresholds,
        "sets": sets,
        "offsets": rows[:LARGEST_OFFSETS],
        "left_out": max(len(rows) - LARGEST_OFFSETS, 0),
    }
