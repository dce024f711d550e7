"""Unchanged runs that MLflow is told of later: by the next run that needs MLflow, or when its server starts.

To import MLflow takes longer than all else that an unchanged run does. Until then what is to be logged lies in the folder of
the run.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from data_contracts.refs import EvalReport, Frozen
from tasks.store import Store, canonical_json, replace_file

UNLOGGED = "unlogged.json"
"""In the folder of a run that MLflow does not know yet."""


class UnloggedRun(Frozen):
    """What MLflow is to know of a run that repeats another."""

    name: str
    """The model's."""
    run: str
    report: EvalReport | None
    tags: dict[str, str]
    seconds: float


def keep_unlogged(run: UnloggedRun, folder: Path) -> None:
    """The run is logged by the next `tasks/publish/tracking.py:log_unlogged`."""
    replace_file(folder / UNLOGGED, canonical_json(run.model_dump(mode="json")).encode())


def unlogged_runs(store: Store) -> Iterator[tuple[Path, UnloggedRun]]:
    """The runs of a store that were kept for later, each with its file, to be removed once MLflow knows it."""
    for path in sorted((store.root / "runs").glob(f"*/{UNLOGGED}")):
        with contextlib.suppress(OSError, ValueError, ValidationError):  # gone meanwhile, or of another release
            yield path, UnloggedRun.model_validate(json.loads(path.read_text(encoding="utf-8")))
