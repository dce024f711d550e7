"""The command line. Heavy libraries are loaded by the command that needs them, after its arguments are known to be right."""

from __future__ import annotations

import bdb
import functools
import importlib.metadata
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, cast

import typer
from typer import Context
from typer.exceptions import Abort, TyperException
from typer.main import get_command

from flows import console
from flows.commands.automations import automations_app
from flows.commands.backup import backup, restore
from flows.commands.deploy import deploy
from flows.commands.login import login
from flows.commands.models import models_app
from flows.commands.profile import profile_app
from flows.commands.run_stage import rerun_stage
from flows.commands.runs import runs_app
from flows.commands.schedule import schedule_app
from flows.commands.watching import monitor, watch
from flows.environment import (
    new_run_id,
    refresh_from_environment,
    store_from_environment,
    tracking_uri_from_environment,
    use_prefect,
)
from flows.execute import RunFailed, execute
from flows.pipeline import Stages
from flows.plan import plan_retrain
from flows.preflight import Check, failure, preflight, warnings
from flows.prepare import check_manifest
from flows.refresh import require_stages
from flows.request import (
    MODES,
    Request,
    check_mode,
    default_tracking_uri,
    make_request,
    named_profile,
    resolve_config,
)
from flows.score import predict_manifest
from flows.summary import empty_summary
from tasks.errors import CrossmodalError, EnvironmentFailed, UsageError
from tasks.store import Store

app = typer.Typer(
    name="crossmodal",
    help="Retrains classifiers that see, hear and read: checks the data, trains, proves, publishes.",
    pretty_exceptions_enable=False,
)

Profile = Annotated[str | None, typer.Option(help="A name (crossmodal profile list), or the path of a TOML file.")]
Data = Annotated[str | None, typer.Option(help="A manifest, a folder per class, or a folder of tables named by split.")]
Manifest = Annotated[str, typer.Argument(help="A manifest, a folder per class, or a folder of tables named by split.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated.")
]
StoreOption = Annotated[str | None, typer.Option("--store", help="Folder for everything a run writes [.crossmodal].")]
Json = Annotated[bool, typer.Option("--json", help="Print the run's summary as JSON on the last line of stdout.")]
Plain = Annotated[bool, typer.Option("--plain", help="Run in this process without Prefect: for pdb, and to compare.")]
Refresh = Annotated[
    list[str] | None,
    typer.Option(metavar="STAGE", help="Compute this stage although the store has its result; may be repeated."),
]
ModeOption = Annotated[
    str,
    typer.Option("--mode", metavar="|".join(MODES), help="The whole pipeline, only the plan, or only the champion."),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the lines of the run's log as well, on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        console.say(f"crossmodal {importlib.metadata.version('crossmodal')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Retrains classifiers that see, hear and read: checks the data, trains, proves, publishes."""


def _request(profile: str | None, data: str | None, overrides: list[str] | None, store: str | None) -> Request:
    place = store_from_environment(store)
    config = resolve_config(profile, data, overrides or [], place)
    request = make_request(config, place, tracking_uri_from_environment(), new_run_id())
    return replace(request, refresh=refresh_from_environment(), profile=named_profile(profile, data))


@app.command()
def retrain(
    *,
    profile: Profile = None,
    data: Data = None,
    overrides: Set = None,
    store: StoreOption = None,
    as_json: Json = False,
    plain: Plain = False,
    refresh: Refresh = None,
    mode: ModeOption = "full",
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Retrain a model, judge it against the champion, publish it if it passes.

    Exit status: 0 the run completed, whatever the verdict; 2 usage; 3 the data; 4 the environment; 130 Ctrl-C.
    """
    how = check_mode(mode)
    request = _request(profile, data, overrides, store)
    request = replace(request, refresh=require_stages((*request.refresh, *(refresh or []))))
    checks = _require_ready(request)
    for text in warnings(checks):
        console.print_warning(text)
    with console.progress_bars(verbose):
        if not plain:
            parameters = {"profile": profile or "", "data": data or "", "mode": how, "overrides": overrides or []}
            summary = _retrain_with_prefect(request, parameters, debug)
        elif how == "plan only":
            summary = {"plan": plan_retrain(request), "data": request.config.data.path}
        else:
            summary = execute(request, Stages(), mode=how)
    if "plan" in summary:
        _print_plan(summary | {"preflight": _listed(checks)}, as_json)
    else:
        console.print_outcome(summary, request.store.root, as_json)


def _require_ready(request: Request) -> list[Check]:
    """The checks that need no data, none of them failed. Raises RunFailed with the list in its summary."""
    checks = preflight(request)
    error = failure(checks)
    if error is not None:
        raise RunFailed(error, empty_summary() | {"preflight": _listed(checks)}) from None
    return checks


def _listed(checks: list[Check]) -> list[dict[str, Any]]:
    return [check.model_dump(mode="json") for check in checks]


def _retrain_with_prefect(request: Request, parameters: dict[str, Any], debug: bool) -> dict[str, Any]:
    """Calls the flow in this process. Prefect's own log goes to its API; the terminal shows ours."""
    use_prefect(request.store.root)
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "DEBUG" if debug else "CRITICAL")
    from flows.retrain import retrain as retrain_flow

    if request.refresh:
        os.environ["CROSSMODAL_REFRESH"] = ",".join(request.refresh)  # the flow is called here, and reads it
    try:
        return cast(dict[str, Any], retrain_flow(**parameters, store=str(request.store.root)))
    except RuntimeError as error:
        if "API" not in str(error) and "server" not in str(error):
            raise
        where = os.environ.get("PREFECT_API_URL", "the temporary server")
        text = f"Prefect: {error}; check PREFECT_API_URL ({where}), or run with --plain"
        raise EnvironmentFailed(text) from error
    finally:
        os.environ.pop("CROSSMODAL_REFRESH", None)


@app.command()
def plan(
    profile: Profile = None,
    data: Data = None,
    overrides: Set = None,
    store: StoreOption = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check all that can be known without data, and say what a retrain would compute and what it would reuse.

    Exit status: 2 or 4 where a check failed; all that did are listed.
    """
    request = _request(profile, data, overrides, store)
    checks = preflight(request)
    if not as_json:
        console.print_table([{"check": it.name, "": it.outcome, "what": it.detail} for it in checks])
        console.say("")
    _require_ready(request)
    plan = {"plan": plan_retrain(request), "data": request.config.data.path, "preflight": _listed(checks)}
    _print_plan(plan, as_json)


def _print_plan(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.print_json(plan)
    else:
        console.say(f"data  {plan['data']}")
        console.print_table(plan["plan"])


@app.command()
def check(
    manifest: Manifest,
    overrides: Set = None,
    store: StoreOption = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Read, clean and validate a manifest, without training: what would be used, what is refused and why."""
    request = _request(None, manifest, overrides, store)
    with console.progress_bars():
        summary, notes = check_manifest(request)
    console.print_check(summary, notes, request.store.root, as_json)


@app.command()
def fetch(
    encoder: Annotated[str, typer.Argument(help=r"torchvision:NAME\[@WEIGHTS] or hf:ID\[@REVISION].")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch a pretrained encoder from the network to this machine's cache; nothing else in crossmodal does.

    Only safetensors and text are kept. Exit status: 2 nothing of that name; 4 the network failed.
    """
    from tasks.modeling.pretrained.fetch import fetch_encoder

    fetched = fetch_encoder(encoder)
    if as_json:
        console.print_json({"encoder": encoder, "path": str(fetched.path), "bytes": fetched.size_bytes})
    else:
        console.say(f"{encoder}: {fetched.size_bytes / 1e6:.1f} MB at {fetched.path}")


@app.command()
def predict(
    manifest: Manifest,
    model: Annotated[
        str | None, typer.Option(help="NAME or NAME@ALIAS in the registry; may be left out if there is one.")
    ] = None,
    out: Annotated[str, typer.Option(help="Where the predictions go (Parquet).")] = "predictions.parquet",
    overrides: Set = None,
    store: StoreOption = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Predict the label of every sample of a manifest with a published model. Labels are not needed."""
    request = _request(None, manifest, overrides, store)
    with console.progress_bars():
        summary = predict_manifest(request, model, out)
    console.print_predictions(summary, as_json)


@app.command()
def up(
    prefect_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of Prefect's server and UI [4200, or the next free].")
    ] = None,
    mlflow_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of MLflow's UI [5000, or the next free].")
    ] = None,
    pages_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the start page and the reports [4300, or the next free]."),
    ] = None,
    postgres: Annotated[
        str | None,
        typer.Option(
            envvar="CROSSMODAL_POSTGRES",
            show_envvar=False,
            help="Address of a PostgreSQL database instead of SQLite in the store; better in CROSSMODAL_POSTGRES.",
        ),
    ] = None,
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Start Prefect's server with its UI, the deployments, a worker, MLflow's UI and a start page, until Ctrl-C.

    Only this user's own browser and programs get in: the link that it prints logs the browser in.
    """
    from flows.hosting.start import Ports, start

    place = Store(store_from_environment(store))
    place.prepare()
    announce = console.print_json_event if as_json else console.print_event
    tracking_uri = tracking_uri_from_environment()
    database_url = None
    if postgres is not None:
        from flows.hosting.postgres import parse_database, prepare_database

        database = parse_database(postgres)
        prepare_database(database)
        announce("PostgreSQL", database.shown)
        database_url = database.prefect_url
        tracking_uri = tracking_uri or database.mlflow_uri
    ports = Ports(prefect_port, mlflow_port, pages_port)
    start(place, tracking_uri or default_tracking_uri(place), ports, database_url, announce)


app.add_typer(profile_app, name="profile")
app.add_typer(models_app, name="models")
app.add_typer(runs_app, name="runs")
app.command("run-stage")(rerun_stage)
app.command()(login)
app.command()(deploy)
app.add_typer(schedule_app, name="schedule")
app.command()(watch)
app.command()(monitor)
app.add_typer(automations_app, name="automations")
app.command()(backup)
app.command()(restore)


def main(arguments: list[str] | None = None) -> None:
    """The console script. Every error ends as one line and an exit status; `--debug` shows the traceback."""
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    command = without_types_of_flags(get_command(app))
    call = functools.partial(_call, command, arguments)
    sys.exit(run(call, "--json" in arguments, "--debug" in arguments))


def _call(command: Any, arguments: list[str]) -> Any:
    """What the command returns. UsageError for an empty string: it would be taken for the current folder, or for nothing."""
    for position, argument in enumerate(arguments):
        if argument == "" or re.fullmatch(r"--[a-z-]+=", argument):
            place = argument or (arguments[position - 1] if position else "crossmodal")
            raise UsageError(
                f"after {place!r} stands an empty string; write a value, or leave it out (a shell variable unset?)"
            )
    return command(args=arguments, prog_name="crossmodal", standalone_mode=False)


def without_types_of_flags(command: Any) -> Any:
    """The command, whose help shows a flag as what it is typed as: `--json`, not `--json <bool>`, which is refused."""
    for parameter in (*command.params, command.get_help_option(Context(command))):
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    for inner in getattr(command, "commands", {}).values():
        without_types_of_flags(inner)
    return command


def run(command: Callable[[], Any], as_json: bool, debug: bool) -> int:
    """The exit status of a command, its error told as one line; with `debug` after the traceback.

    Under a debugger the error is raised, so that it can be looked at where it happened.
    """
    try:
        code = command()
    except (Abort, KeyboardInterrupt):
        return _ended()
    except SystemExit as stop:
        if stop.code == 143:  # what `up` makes of SIGTERM
            return _ended("terminated (SIGTERM)", 143)
        raise
    except bdb.BdbQuit:  # `q` in pdb, which ends by it
        raise
    except Exception as error:
        if debug and not isinstance(error, TyperException):
            if sys.gettrace() is not None:
                raise
            console.print_traceback(error)
        return _fail(*_told(error), as_json)
    if code == 130:  # what typer makes of Ctrl-C
        return _ended()
    return code if isinstance(code, int) else 0


def _ended(how: str = "interrupted", code: int = 130) -> int:
    console.print_error(f"{how}; what was finished is kept, and the same command goes on from there")
    return code


def _told(error: Exception) -> tuple[str, int, dict[str, Any]]:
    """An error as its message, exit status and summary. One that is not ours is a bug, and told as one."""
    if isinstance(error, RunFailed):
        return str(error.error), error.error.exit_code, error.summary
    if isinstance(error, CrossmodalError):
        return str(error), error.exit_code, empty_summary()
    if isinstance(error, TyperException):
        place = getattr(getattr(error, "ctx", None), "command_path", "crossmodal")
        return f"{error.format_message().rstrip('.')}; see {place} --help", 2, empty_summary()
    text = f"internal error: {type(error).__name__}: {error}; run again with --debug and report it"
    return text, 4, empty_summary()


def _fail(text: str, code: int, summary: dict[str, Any], as_json: bool) -> int:
    console.print_error(text)
    if as_json:
        console.print_json(summary | {"verdict": None, "reason": text, "error": text})
    return code
