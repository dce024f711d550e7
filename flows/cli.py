"""The command line. Heavy libraries are loaded by the command that needs them, after its arguments are known to be right."""

from __future__ import annotations

import bdb
import functools
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer import Context
from typer.exceptions import Abort, TyperException
from typer.main import get_command

from data_contracts.run_summary import RunSummary
from flows import console
from flows.commands import COMMANDS, GROUPS
from flows.run_failed import RunFailed
from flows.threads import let_threads_sleep
from tasks.drafts import full_disk, is_full_disk
from tasks.errors import CrossmodalError, UsageError
from tasks.packages import missing_package
from tasks.redaction import redact, redact_output


def _show_version(value: bool) -> None:
    if value:
        console.say(f"crossmodal {importlib.metadata.version('crossmodal')}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Retrains classifiers that see, hear and read: checks the data, trains, proves, publishes."""


def make_app(only: str | None = None) -> typer.Typer:
    """The command line with all commands; with that one alone where there is one of that name."""
    known = {*COMMANDS, *GROUPS}
    named = {only} if only in known else known
    app = typer.Typer(
        name="crossmodal",
        help="Retrains classifiers that see, hear and read: checks the data, trains, proves, publishes.",
        pretty_exceptions_enable=False,
    )
    app.callback()(options)
    for name, place in COMMANDS.items():
        if name in named:
            app.command(name)(_load(place))
    for name, place in GROUPS.items():
        if name in named:
            app.add_typer(_load(place), name=name)
    return app


def _load(place: str) -> Any:
    """What `module:name` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"flows.commands.{module}"), name)


def main(arguments: list[str] | None = None) -> None:
    """The console script. Every error ends as one line and an exit status; `--debug` shows the traceback."""
    redact_output()
    let_threads_sleep()
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    command = without_types_of_flags(get_command(make_app(arguments[0])))
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
    with console.notices_shown():
        try:
            return command(args=arguments, prog_name="crossmodal", standalone_mode=False)
        except Abort as stop:
            if isinstance(stop.__cause__, EOFError):  # of what a library read: typer takes it for Ctrl-C
                raise stop.__cause__ from None
            raise


def without_types_of_flags(command: Any) -> Any:
    """The command, whose help shows a flag as what it is typed as: `--json`, not `--json <bool>`, which is refused."""
    for parameter in (*command.params, command.get_help_option(Context(command))):
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    for inner in getattr(command, "commands", {}).values():
        without_types_of_flags(inner)
    return command


def run(command: Callable[[], Any], as_json: bool, debug: bool) -> int:
    """The exit status of a command, its error printed as one line; with `debug` after the traceback.

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
        return _fail(*_describe_error(error), as_json)
    if code == 130:  # what typer makes of Ctrl-C
        return _ended()
    return code if isinstance(code, int) else 0


def _ended(how: str = "interrupted", code: int = 130) -> int:
    console.print_error(f"{how}; what was finished is kept, and the same command resumes from there")
    return code


def _describe_error(error: Exception) -> tuple[str, int, RunSummary]:
    """An error as its message, exit status and summary. One that is not ours is a bug, and reported as one."""
    if isinstance(error, RunFailed):
        return str(error.error), error.error.exit_code, error.summary
    if isinstance(error, CrossmodalError):
        return str(error), error.exit_code, RunSummary()
    if isinstance(error, TyperException):
        place = getattr(getattr(error, "ctx", None), "command_path", "crossmodal")
        return redact(f"{error.format_message().rstrip('.')}; see {place} --help"), 2, RunSummary()
    known = missing_package(error) if isinstance(error, ModuleNotFoundError) else None
    if is_full_disk(error):
        known = full_disk(error)
    if known is not None:
        return str(known), known.exit_code, RunSummary()
    text = f"internal error: {type(error).__name__}: {error}; run again with --debug and report it"
    return redact(text), 4, RunSummary()


def _fail(text: str, code: int, summary: RunSummary, as_json: bool) -> int:
    console.print_error(text)
    if as_json:
        console.print_json(summary.model_copy(update={"verdict": None, "reason": text, "error": text}).as_json())
    return code
