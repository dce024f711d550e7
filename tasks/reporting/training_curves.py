"""What the report shows of training: stages, curves, speed, tuned thresholds, and what was taken over from the champion.

All of it is read from history.json and model.json; what a run did not record is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.modeling.card import ModelCard
from tasks.problems.registry import get_metric, problem_of, validation_keys
from tasks.reporting.charts import curve_chart

LARGEST_OFFSETS = 20
# Key of history["figures"], what it is called, how it is written.
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
"""What the best epoch of a stage is told by, the one of them that its problem has: its heading and its unit."""
CHARTS = (
    ("Loss", (("train_loss", "train loss", "blue"), ("val_loss", "validation loss", "orange"))),
    *(
        (f"Validation {metric.phrase}", ((key, f"validation {metric.phrase}", "green"),))
        for key, metric in VALIDATION.items()
    ),
    ("Learning rate", (("learning_rate", "at the epoch's end", "blue"),)),
    ("Gradient norm", (("grad_norm", "mean of the epoch, before clipping", "blue"),)),
)


def training_curves(history: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The charts over epochs, with the epochs at which a stage begins; None where nothing was trained."""
    if not history or not history.get("epochs"):
        return None
    epochs = history["epochs"]
    charts = [(name, curve_chart(epochs, lines)) for name, lines in CHARTS]
    stages = training_stages(epochs)
    return {
        "charts": [(name, chart) for name, chart in charts if chart],
        "best": history.get("best_epoch"),
        "epochs": len(epochs),
        "parameters": history.get("parameters"),
        "stages": stages,
        "begins": [stage["first"] for stage in stages[1:]],
    }


def training_stages(epochs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line per stage (head, then fine-tuning): its epochs, their time, and the best it reached; empty if unnamed."""
    stages: list[dict[str, Any]] = []
    for epoch in epochs:
        name = epoch.get("stage")
        if name is None:
            continue
        if not stages or stages[-1]["name"] != name:
            stages.append({"name": name, "first": epoch["epoch"], "last": 0, "seconds": 0.0, "val_loss": None})
        stage = stages[-1]
        stage["last"] = epoch["epoch"]
        stage["seconds"] += epoch.get("seconds") or 0.0
        if stage["val_loss"] is None or epoch["val_loss"] < stage["val_loss"]:
            reached = next((key for key in REACHED if epoch.get(key) is not None), None)
            best = None if reached is None else (*REACHED[reached], epoch[reached])
            stage |= {"val_loss": epoch["val_loss"], "reached": best}
    return stages


def training_figures(history: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """(name, value) of every figure of speed that the run recorded."""
    given = (history or {}).get("figures") or {}
    return [(name, how.format(given[key])) for key, name, how in FIGURES if given.get(key) is not None]


def training_notes(history: Mapping[str, Any] | None) -> list[str]:
    """What a reader must know of how the training went: out-of-memory events, what was taken from the champion."""
    history = history or {}
    figures = history.get("figures") or {}
    start = history.get("start") or {}
    return [str(note) for note in (*(figures.get("notes") or ()), *(start.get("notes") or ()))]


def training_thresholds(history: Mapping[str, Any] | None, card: ModelCard | None) -> dict[str, Any] | None:
    """What tuning the decision did, and the offsets, largest first; None where it was not asked for."""
    record = (history or {}).get("thresholds")
    if not record:
        return None
    sets = card is not None and problem_of(card.label_targets[0]).decision == "thresholds"
    offsets = (card.tuned if card else None) or ()
    labels = card.labels if card else ()
    rows = sorted(zip(labels, offsets, strict=bool(offsets)), key=lambda pair: -abs(pair[1]))
    return {**record, "sets": sets, "offsets": rows[:LARGEST_OFFSETS], "left_out": max(len(rows) - LARGEST_OFFSETS, 0)}
