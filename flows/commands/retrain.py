"""`crossmodal retrain` and `crossmodal plan`: the pipeline, and what of it there would be to do."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import Annotated, NotRequired, TypedDict, cast

import typer
from pydantic import JsonValue

from data_contracts.run_summary import PreflightCheck, RunSummary
from flows import console
from flows.commands.options import Debug, RunInput, StoreOption, SummaryJson, SummaryOptions, grouped
from flows.environment import use_prefect
from flows.plan import plan_retrain
from flows.plan_line import PlanLine
from flows.preflight import failure, preflight, warnings
from flows.refresh import require_stages
from flows.request import MODES, Mode, Request, check_mode
from flows.run_failed import RunFailed
from tasks.display_table import DisplayTable
from tasks.errors import EnvironmentFailed

Plain = Annotated[bool, typer.Option("--plain", help="Run in this process without Prefect: for pdb, and to compare.")]
Refresh = Annotated[
    list[str] | None,
    typer.Option(metavar="STAGE", help="Compute this stage although the store has its result; may be repeated."),
]
VerifyFiles = Annotated[
    bool, typer.Option("--verify", help="Read every file again, also where the file system says that it is unchanged.")
]
ModeOption = Annotated[
    str,
    typer.Option("--mode", metavar="|".join(MODES), help="The whole pipeline, only the plan, or only the champion."),
]
Corrections = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Labels to correct first: a corrections.csv of crossmodal audit (default: data.corrections).",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the lines of the run's log as well, on stderr.")]


class FlowParameters(TypedDict):
    """What the flow `retrain` is called with."""

    profile: str
    data: str
    mode: Mode
    overrides: list[str]


class PlanReport(TypedDict):
    """What there would be to do, and the checks before it."""

    plan: list[PlanLine]
    data: str
    preflight: NotRequired[list[dict[str, JsonValue]]]


@dataclass(frozen=True)
class RunOptions:
    """How a retrain runs."""

    plain: Plain = False
    refresh: Refresh = None
    verify: VerifyFiles = False
    corrections: Corrections = None
    mode: ModeOption = "full"
    verbose: Verbose = False


@grouped
def retrain(
    *, of: RunInput, store: StoreOption = None, as_json: SummaryJson = False, how: RunOptions, debug: Debug = False
) -> None:
    """Retrain a model, compare it with the champion, publish it if it passes.

    Exit status: 0 the run completed, whatever the verdict; 2 usage; 3 the data; 4 the environment; 130 Ctrl-C.
    """
    mode = check_mode(how.mode)
    of = verified(corrected(of, how.corrections), how.verify)
    request = of.request(store)
    request = replace(request, refresh=require_stages((*request.refresh, *(how.refresh or []))))
    checks = preflight(request)
    _require_ready(checks)
    for text in warnings(checks):
        console.print_warning(text)
    with console.progress_bars(how.verbose):
        if not how.plain:
            parameters = FlowParameters(
                profile=of.profile or "", data=of.data or "", mode=mode, overrides=of.overrides or []
            )
            found = _retrain_with_prefect(request, parameters, debug)
        elif mode == "plan only":
            found = PlanReport(plan=plan_retrain(request), data=request.config.data.path)
        else:
            from flows.execute import execute  # which load what a plan does not need
            from flows.stages import Stages

            found = execute(request, Stages(), mode=mode, checks=checks)
    if isinstance(found, RunSummary):
        console.print_outcome(found, request.store.root, as_json)
    else:
        _print_plan({**found, "preflight": _listed(checks)}, as_json)


def corrected(of: RunInput, corrections: str | None) -> RunInput:
    """The same input with the corrections of a file, where one is named."""
    if corrections is None:
        return of
    return replace(of, overrides=[*(of.overrides or []), f"data.corrections={json.dumps(corrections)}"])


def verified(of: RunInput, verify: bool) -> RunInput:
    """The same input, of which every file is read again where that is asked for."""
    return replace(of, overrides=[*(of.overrides or []), "runtime.verify_files=true"]) if verify else of


def _require_ready(checks: list[PreflightCheck]) -> None:
    """None of the checks that need no data failed. Raises RunFailed with the list in its summary."""
    error = failure(checks)
    if error is not None:
        raise RunFailed(error, RunSummary(preflight=tuple(checks))) from None


def _listed(checks: list[PreflightCheck]) -> list[dict[str, JsonValue]]:
    return [check.model_dump(mode="json") for check in checks]


def _retrain_with_prefect(request: Request, parameters: FlowParameters, debug: bool) -> RunSummary | PlanReport:
    """What the flow, called in this process, ends with: in the mode plan only a plan.

    Prefect's own log goes to its API; the terminal shows ours.
    """
    use_prefect(request.store.root)
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "DEBUG" if debug else "CRITICAL")
    from flows.flow_request import recorded_as
    from flows.retrain import retrain as retrain_flow

    if request.refresh:
        os.environ["CROSSMODAL_REFRESH"] = ",".join(request.refresh)  # the flow is called here, and reads it
    try:
        parameters["data"] = recorded_as(parameters["data"])
        parameters["overrides"] = [recorded_as(text) for text in parameters["overrides"]]
        found = cast(dict[str, JsonValue], retrain_flow(**parameters, store=str(request.store.root)))
        return cast(PlanReport, found) if "plan" in found else RunSummary.model_validate(found)
    except RuntimeError as error:
        if "API" not in str(error) and "server" not in str(error):
            raise
        where = os.environ.get("PREFECT_API_URL", "the temporary server")
        text = f"Prefect: {error}; check PREFECT_API_URL ({where}), or run with --plain"
        raise EnvironmentFailed(text) from error
    finally:
        os.environ.pop("CROSSMODAL_REFRESH", None)


@grouped
def plan(of: RunInput, corrections: Corrections = None, verify: VerifyFiles = False, *, common: SummaryOptions) -> None:
    """Check all that can be known without data, and say what a retrain would compute and what it would reuse.

    Exit status: 2 or 4 where a check failed; all that did are listed.
    """
    request = verified(corrected(of, corrections), verify).request(common.store, reading=True)
    checks = preflight(request)
    if not common.as_json:
        console.print_table(DisplayTable.of({"check": it.name, "": it.outcome, "what": it.detail} for it in checks))
        console.say("")
    _require_ready(checks)
    found = PlanReport(plan=plan_retrain(request), data=request.config.data.path, preflight=_listed(checks))
    _print_plan(found, common.as_json)


def _print_plan(plan: PlanReport, as_json: bool) -> None:
    if as_json:
        console.print_json(plan)
    else:
        console.say(f"data  {plan['data']}")
        console.print_table(DisplayTable.of(plan["plan"]))
