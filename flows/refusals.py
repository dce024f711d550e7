"""How a flow ends that refused its input: by a state that says why, in one sentence, and without a traceback in its log."""

from __future__ import annotations

import logging
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Failed

from flows.execute import RunFailed
from tasks.errors import CrossmodalError

REFUSALS = (CrossmodalError, RunFailed)
"""What is no bug: its message says what is wrong and what to do. Every other exception keeps its traceback."""


def refused(error: CrossmodalError | RunFailed) -> State[Any]:
    """The state of a failed run. Who calls the flow in a process of their own gets the error raised, as ever.

    Prefect's engine raises it, too, and would log it as unexpected, with its traceback.
    """
    logging.getLogger("prefect.flow_runs").addFilter(_is_unexpected)
    if not isinstance(error, RunFailed):  # whose end was logged with the run's other lines
        get_run_logger().error("%s", error)
    return Failed(message=str(error), data=error)


def _is_unexpected(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], REFUSALS))
