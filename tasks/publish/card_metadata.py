"""The metadata block of a model card, as Hugging Face's hub reads it: https://huggingface.co/docs/hub/model-cards"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, EvalReport, ValidatedRef
from tasks.config import RunConfig
from tasks.encoder_ids import parse_encoder
from tasks.problems.registry import get_problem

_TYPES = {
    "macro_f1": "f1",
    "macro_precision": "precision",
    "macro_recall": "recall",
    "micro_f1": "f1",
    "auroc": "roc_auc",
}
"""Our metrics whose names in the `evaluate` library are others; the hub groups results by them."""


def write_metadata(checkpoint: CheckpointRef, report: EvalReport, valid: ValidatedRef, config: RunConfig) -> str:
    """YAML between two lines of `---`, dumped by a YAML library: no name that comes from data can break out of it."""
    import yaml

    kinds = sorted({modality_of(name) for name in checkpoint.modalities})
    numbers = get_problem(report.problem).is_numeric
    record: dict[str, object] = {
        "license": config.publish.license,
        "library_name": "crossmodal",
        "pipeline_tag": _pipeline(kinds, numbers),
        "tags": ["crossmodal", *(["multimodal"] if len(kinds) > 1 else []), *kinds, report.problem],
    }
    if base := _base_models(checkpoint, config):
        record["base_model"] = base
    record["metrics"] = list(dict.fromkeys(_type(name) for name in _finite(report)))
    record["model-index"] = [{"name": str(config.name), "results": [_result(kinds, numbers, report, valid, config)]}]
    return f"---\n{yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=120)}---"


def _pipeline(kinds: Sequence[str], numbers: bool) -> str:
    """The hub's task; it has none for several modalities."""
    if len(kinds) > 1 or (numbers and list(kinds) != ["tabular"]):
        return "other"
    return f"{kinds[0]}-{'regression' if numbers else 'classification'}"


def _base_models(checkpoint: CheckpointRef, config: RunConfig) -> list[str]:
    """The encoders that the hub has; folders have no name that others know."""
    encoders = {
        parse_encoder(config.encoders.of(modality_of(name)), modality_of(name)) for name in checkpoint.modalities
    }
    return sorted(encoder.name for encoder in encoders if encoder.family == "hf" and not encoder.names_folder)


def _result(
    kinds: Sequence[str], numbers: bool, report: EvalReport, valid: ValidatedRef, config: RunConfig
) -> Mapping[str, Any]:
    task = _pipeline(kinds, numbers)
    what = get_problem(report.problem).model_noun
    return {
        "task": {"type": task, "name": what},
        "dataset": {
            "name": str(config.name),
            "type": str(config.name),
            "split": "test",
            "revision": valid.sha256,
        },
        "metrics": [
            {"type": _type(name), "name": name, "value": round(value, 6)} for name, value in _finite(report).items()
        ],
    }


def _finite(report: EvalReport) -> dict[str, float]:
    figures = report.metrics.get("test", {})
    return {name: value for name, value in figures.items() if value is not None and math.isfinite(value)}


def _type(metric: str) -> str:
    return _TYPES.get(metric, metric)
