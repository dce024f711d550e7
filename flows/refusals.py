"""How a flow ends that refused its input: by a state that says why, in one sentence, and without a traceback in its log."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Failed

from flows.run_failed import RunFailed
from tasks.errors import CrossmodalError
from tasks.redaction import redact_error

P = ParamSpec("P")
R = TypeVar("R")

REFUSALS = (CrossmodalError, RunFailed)
"""What is no bug: its message says what is wrong and what to do. Every other exception keeps its traceback."""


def ends_refused(run: Callable[P, State[R]]) -> Callable[P, State[R]]:
    """The function of a flow, whose refusals end in a failed state, and whose other errors hold no credential."""

    @functools.wraps(run)
    def call(*args: P.args, **kwargs: P.kwargs) -> State[R]:
        """What `run` returns, or the state of its refusal."""
        try:
            return run(*args, **kwargs)
        except REFUSALS as error:
            return refused(error)
        except Exception as error:  # noqa: BLE001 (raised again)
            raise redact_error(error)  # noqa: B904

    # Prefect looks for the types of parameters beside the function that it is given, which is here.
    call.__signature__ = inspect.signature(run, eval_str=True)  # type: ignore[attr-defined]
    return call


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
