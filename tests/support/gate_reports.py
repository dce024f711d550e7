"""Evaluations as the gate reads them, with the figures that a test is about."""

from __future__ import annotations

from typing import Any

from data_contracts.refs import EvalReport
from tasks.store import digest_json

SHA = digest_json("x")


def make_report(value: float | None = 0.9, **changes: Any) -> EvalReport:
    fields: dict[str, Any] = {
        "uri": "evaluations/k", "sha256": digest_json(repr((value, changes))), "rows": 500, "model_sha256": SHA,
        "metrics": {"test": {"accuracy": value, "macro_f1": value}},
        "intervals": {"accuracy": (value - 0.03, value + 0.03)} if value is not None else {},
        "by_modalities": {}, "majority_share": 0.2,
    }  # fmt: skip
    return EvalReport(**(fields | changes))


def against(value: float | None, difference: float, low: float, high: float, **changes: Any) -> EvalReport:
    champion: dict[str, Any] = {
        "champion_sha256": digest_json("champion"),
        "champion_version": "3",
        "champion_metrics": {"macro_f1": 0.9 - difference},
        "differences": {"macro_f1": (difference, low, high)},
    }
    return make_report(value, **(champion | changes))


def errors(mae: float, interval: tuple[float, float] | None, **changes: Any) -> EvalReport:
    """A model of numbers; always answering the mean is off by 1."""
    figures: dict[str, Any] = {
        "metrics": {"test": {"mae": mae, "rmse": mae, "r2": 0.5}}, "intervals": {"mae": interval} if interval else {},
        "problem": "regression", "majority_share": None, "baselines": {"mae": 1.0, "rmse": 1.0},
    }  # fmt: skip
    return make_report(**(figures | changes))
