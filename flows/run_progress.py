"""How far a run is, for the Prefect UI: one progress artifact for the whole run, and the log's lines in the run's log."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import cast
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from data_contracts.run_summary import RunSummary
from flows.artifacts import leave_artifacts
from flows.execute import execute
from flows.request import Mode, Request
from flows.run_failed import RunFailed
from flows.run_state import RunState
from flows.stages import Stages
from tasks.escaping import markdown_text
from tasks.progress import Level, LineListener, Listener, listening, listening_to_lines

_LOG = logging.getLogger("prefect.crossmodal")
_EVERY_S = 2.0  # each update is a request to the server
_ENOUGH_S = 5.0  # a rate measured over less tells little of the time left
# The usual share of a run's time that each kind of step takes; a step that never comes (no new media) is passed over.
SHARES = {
    "scan": 3,
    "decode": 15,
    "compare": 5,
    "validate": 7,
    "extract": 20,
    "train": 35,
    "evaluate": 9,
    "publish": 5,
    "report": 1,
}

AUDIT_SHARES = {
    "scan": 4,
    "decode": 20,
    "compare": 6,
    "validate": 10,
    "extract": 20,
    "view": 15,
    "fold": 15,
    "audit": 10,
}
EXPLAIN_SHARES = {"scan": 4, "decode": 16, "compare": 4, "validate": 8, "extract": 18, "part": 45, "explain": 5}
SCORE_SHARES = {"scan": 5, "score": 95}
"""The same of scoring, whose other steps come again with every part."""
TRANSLATE_SHARES = {"scan": 3, "decode": 10, "compare": 3, "pair": 4, "generate": 30, "arms": 50}
"""The same of a translation, whose other steps come again with every model."""
TUNE_SHARES = {"scan": 3, "decode": 8, "compare": 2, "validate": 3, "extract": 14, "tune": 65, "evaluate": 5}
"""The same of a search over settings, whose trainings come again with every trial."""
COMPARE_SHARES = {"scan": 3, "decode": 8, "compare": 2, "validate": 3, "extract": 14, "fit": 68, "evaluate": 2}
"""The same of a comparison of variants, whose trainings come again with every fit."""

COMPRESS_SHARES = {
    "scan": 3,
    "decode": 8,
    "compare": 2,
    "validate": 3,
    "extract": 14,
    "evaluate": 10,
    "compress": 55,
    "publish": 5,
}
"""The same of compression, whose features and evaluations come again with every method."""


def overall_share(step: str, done: int, total: int, shares: Mapping[str, int] = SHARES) -> float:
    """Percent of the run that is behind it when `done` of `total` of a step are; an unknown step adds nothing."""
    kind = step.partition(" ")[0]
    before = 0
    for name, share in shares.items():
        if name == kind:
            return before + share * (done / total if total else 1.0)
        before += share
    return 0.0


def time_left(done: int, total: int, elapsed_s: float) -> str:
    """`about 2 min 10 s left` of a step at its rate so far; "" while that tells nothing."""
    if done <= 0 or done >= total or elapsed_s < _ENOUGH_S:
        return ""
    minutes, seconds = divmod(round(elapsed_s * (total - done) / done), 60)
    return f"about {minutes} min {seconds} s left" if minutes else f"about {seconds} s left"


def progress_artifact(shares: Mapping[str, int] = SHARES) -> Listener:
    """A listener that keeps one progress artifact for the run, updated at most every two seconds.

    It has no key: so it stands on the run's page, and not among the results on the page of all artifacts.
    """
    lock = threading.Lock()
    artifact: UUID | None = None
    reached, reported_at = 0.0, 0.0
    begun: dict[str, tuple[float, int]] = {}  # step to when it was first heard of, and how much was done then

    def listen(step: str, done: int, total: int, message: str) -> None:
        """The artifact shows how far the step is; an API that cannot be reached is logged, not raised."""
        try:
            update(step, done, total, message)
        except httpx.HTTPError as error:  # a bar that could not be drawn must not stop the work
            _LOG.warning("progress of %s not shown: %s", step, error)

    def update(step: str, done: int, total: int, message: str) -> None:
        """The same, at most every few seconds; never less than was shown before. Raises httpx.HTTPError."""
        nonlocal artifact, reached, reported_at
        with lock:
            now = time.monotonic()
            first = step not in begun
            since, at_first = begun.setdefault(step, (now, done))
            share = overall_share(step, done, total, shares)
            reached = max(reached, share)  # the champion's own samples are read after the candidate was trained
            if not first and now - reported_at < _EVERY_S and reached < 100:
                return
            reported_at = now
            left = time_left(done - at_first, total - at_first, now - since)
            text = markdown_text(", ".join(part for part in (f"{step}: {done} of {total}", message, left) if part))
            if artifact is None:
                artifact = cast(UUID, create_progress_artifact(reached, description=text))
            else:
                update_progress_artifact(artifact, reached, description=text)

    return listen


def forward_lines(logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> LineListener:
    """A listener that writes every line to the run's logger."""

    def listen(line: str, level: Level) -> None:
        """The line is in the run's log."""
        logger.log(logging.INFO if level == "info" else logging.WARNING, "%s", line)

    return listen


@contextlib.contextmanager
def shown_in_prefect(shares: Mapping[str, int] = SHARES) -> Iterator[None]:
    """The progress and the lines of the block's work are in the Prefect UI, on the page of the flow's run."""
    with listening(progress_artifact(shares)), listening_to_lines(forward_lines(get_run_logger())):
        yield


def execute_shown(request: Request, stages: Stages, mode: Mode = "full") -> RunSummary:
    """As `execute`; the run's progress, lines and artifacts are in the Prefect UI, those of a failed run too."""
    run_state = RunState()
    with shown_in_prefect():
        try:
            summary = execute(request, stages, run_state, mode)
        except RunFailed as failure:
            leave_artifacts(request, run_state, failure.summary)
            raise
    leave_artifacts(request, run_state, summary)
    return summary
