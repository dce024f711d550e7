"""What the stages left for the pages of a run, read from the store; None where a run did not come to it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import cast

from data_contracts.data_profile import PROFILE, DataProfile
from data_contracts.eval_detail import DETAIL, EvalDetail
from data_contracts.refs import CheckpointRef, EvalReport, Ref, ValidatedRef
from data_contracts.slices import SLICES, SliceReport
from data_contracts.training_history import HISTORY, TrainingHistory
from tasks.errors import DataError, EnvironmentFailed
from tasks.modeling.card import ModelCard, read_card
from tasks.store import Store


def read_detail(report: EvalReport | None, store: Store) -> EvalDetail | None:
    """What the evaluation left beside its figures."""
    text = _read(report, DETAIL, store)
    return None if text is None else EvalDetail.model_validate_json(text)


def read_slices(report: EvalReport | None, store: Store) -> SliceReport | None:
    """Its figures by slice."""
    text = _read(report, SLICES, store)
    return None if text is None else SliceReport.model_validate_json(text)


def read_history(checkpoint: CheckpointRef | None, store: Store) -> TrainingHistory | None:
    """What training recorded of its epochs; None also for a checkpoint that was copied from the registry."""
    text = _read(checkpoint, HISTORY, store)
    return None if text is None else TrainingHistory.model_validate_json(text)


def read_profile(valid: ValidatedRef | None, store: Store) -> DataProfile | None:
    """What validate wrote of the data."""
    text = _read(valid, PROFILE, store)
    return None if text is None else cast(DataProfile, json.loads(text))


def read_model_card(checkpoint: CheckpointRef | None, store: Store) -> ModelCard | None:
    """The model's card; None also where it is damaged: that is the run's own error then, and its report is still written."""
    with suppress(DataError, EnvironmentFailed):
        return None if checkpoint is None else read_card(store.path(checkpoint.uri))
    return None


def _read(ref: Ref | None, name: str, store: Store) -> str | None:
    if ref is None or not (path := store.path(ref.uri) / name).is_file():
        return None
    return path.read_text(encoding="utf-8")
