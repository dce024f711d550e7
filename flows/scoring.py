"""The rows of data that a model has not scored yet: what `crossmodal score` runs and flows/score.py wraps."""

from __future__ import annotations

from pathlib import Path

from data_contracts.run_summary import RowsSummary, RunSummary, ScoredVersion
from flows.execute import attempt
from flows.predictions import find_model
from flows.request import Request
from flows.run_failed import RunFailed
from flows.run_state import RunState
from flows.summary import summarise, write_summary
from flows.version_scoring import score_version
from tasks.errors import UsageError
from tasks.publish.approval import CHALLENGER
from tasks.publish.registry import fetch_champion

PART_ROWS = 5_000
"""Rows of a part, and in memory at a time."""
SCORES = "scores"
"""The folder of scores in the store, where none is named."""


def score_manifest(
    request: Request, model: str | None, out: str | None, challenger: bool = True, part_rows: int = PART_ROWS
) -> RunSummary:
    """Every row of the data that the model version has not scored is scored, and a part of `out`; the run's summary.

    Without an alias in `model`, the challenger scores them, too, where there is one. Rows that cannot be read are listed
    beside the parts, and tried again the next time. Raises UsageError, and RunFailed where no row can be scored.
    """
    champion = find_model(request, model)
    refs = [champion]
    if challenger and "@" not in (model or ""):
        other = fetch_champion(champion.name, CHALLENGER, request.store, request.tracking_uri, request.verify_key)
        refs += [other] if other is not None and other.version != champion.version else []
    folder = check_folder(Path(out) if out else request.store.root / SCORES, request.config.data.path)
    run_state = RunState(champion=champion)
    done: list[ScoredVersion] = []

    def score() -> None:
        """The parts are written; `done` holds what was done for each version."""
        for number, ref in enumerate(refs):
            done.append(score_version(request, ref, folder, part_rows, (number, len(refs)), run_state))

    error = attempt(score, run_state)
    run_state.warnings = list(dict.fromkeys(run_state.warnings))
    summary = summarise(request, run_state, "score", str(error) if error else None, out=str(folder))
    summary = summary.model_copy(update={"scored": tuple(done), "rows": _rows_of(done)})
    write_summary(request, run_state, summary)
    if error is not None:
        raise RunFailed(error, summary) from error
    return summary


def check_folder(folder: Path, data: str) -> Path:
    """The folder for scores, when it is not among the data. Raises UsageError."""
    folder = folder.expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {str(folder)!r}: is a file; scores go into a folder")
    if Path(data).is_dir() and folder.resolve().is_relative_to(Path(data).resolve()):
        raise UsageError(
            f"--out {str(folder)!r}: lies in the folder of the data, whose rows it would be the next time; choose another "
            f"place, for example --out {Path(data).resolve().parent / SCORES}"
        )
    return folder


def _rows_of(done: list[ScoredVersion]) -> RowsSummary:
    """The rows of the data, by what became of them with the first version."""
    first = done[0] if done else ScoredVersion()
    return RowsSummary(rows_in=first.rows, used=first.rows - first.refused, quarantined=first.refused)
