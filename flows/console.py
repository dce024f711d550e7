"""What a person sees in a terminal: progress bars on stderr, the outcome on stdout, errors as one line."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from data_contracts.run_summary import ModelSummary, RunSummary, WorkSummary
from tasks.display_table import DisplayTable
from tasks.escaping import json_text, one_line, visible
from tasks.holdout_reuse import describe_uses
from tasks.progress import Listener, listening, listening_to_lines
from tasks.redaction import redact_json

if TYPE_CHECKING:
    from data_contracts.live_verdict import LiveVerdict
    from data_contracts.recognition import Recognition

_ERR = Console(stderr=True, highlight=False, soft_wrap=True)
_LINE_EVERY_S = 10.0
_ERROR_CHARS = 4000
_UNCUT = 100_000


@contextlib.contextmanager
def progress_bars(verbose: bool = False) -> Iterator[None]:
    """Shows the progress of the block's work: bars in a terminal, a line now and then elsewhere; `verbose`: its log, too."""
    with contextlib.ExitStack() as shown:
        shown.enter_context(_bars() if _ERR.is_terminal else listening(_lines()))
        if verbose:
            shown.enter_context(
                listening_to_lines(lambda line, level: None if level == "notice" else _print_line(_ERR, line))
            )
        yield


@contextlib.contextmanager
def notices_shown() -> Iterator[None]:
    """Shows what a person must see at once of what the block's work says: who holds a lock that it waits for."""
    with listening_to_lines(lambda line, level: _print_line(_ERR, line) if level == "notice" else None):
        yield


@contextlib.contextmanager
def warnings_shown() -> Iterator[None]:
    """Shows the warnings among the lines of the block's log."""
    with listening_to_lines(lambda line, level: print_warning(line) if level == "warning" else None):
        yield


@contextlib.contextmanager
def _bars() -> Iterator[None]:
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(
        *columns, TextColumn("{task.fields[message]}"), console=_ERR, redirect_stdout=sys.stdout.isatty()
    )  # into a file goes what is printed there
    known: dict[str, TaskID] = {}

    def listen(step: str, done: int, total: int, message: str) -> None:
        """The step's bar stands at `done` of `total`; a step that is heard of for the first time gets one."""
        if step not in known:
            known[step] = bars.add_task(step, total=total, message="")
        bars.update(known[step], completed=done, total=total, message=escape(one_line(message)))

    with bars, listening(listen):
        yield


def _lines() -> Listener:
    """A line when a step is done, and at most every ten seconds before that."""
    last = time.monotonic()

    def listen(step: str, done: int, total: int, message: str) -> None:
        """A line shows how far the step is, where it is done or ten seconds have passed since the last line."""
        nonlocal last
        if done == total or time.monotonic() - last >= _LINE_EVERY_S:
            last = time.monotonic()
            _print_line(_ERR, f"{step}: {done} of {total} {message}".rstrip())

    return listen


def print_outcome(summary: RunSummary, store: Path, as_json: bool) -> None:
    """The verdict, the test figures, the model, where the report is, and what to type next."""
    from tasks.reporting.run_tables import figures_table

    out = Console(stderr=as_json, highlight=False, soft_wrap=True)
    model = summary.model or ModelSummary()
    out.print(f"\nverdict  [bold]{summary.verdict}[/bold]")  # one of ours
    _print_line(out, f"reason   {summary.reason}")
    _print_rows(out, summary)
    for note in summary.notes or ():
        _print_line(out, f"note     {note}")
    if summary.metrics:
        out.print(_rich_table(figures_table(summary), "right"))
    if model.version is not None:
        _print_line(
            out,
            f"model    {model.name} version {model.version} ({model.alias}), sha256 {str(model.sha256)[:16]}…",
        )
    _print_line(out, f"work     {_work(summary.work)}")
    _print_line(out, f"time     {_seconds(summary.seconds)}")
    _print_line(out, f"report   {_shown(store / str(summary.report))}")
    if summary.rows.quarantined:
        _print_line(out, f"refused  {_shown(store / 'runs' / str(summary.run) / 'quarantine.csv')}")
    if model.version is not None:
        _print_line(out, f"next     {typed(f'predict MANIFEST --model {model.name}@{model.alias}', store)}")
        _print_line(out, f"         {typed('up', store)}")
    if as_json:
        print_json(summary.as_json())


def print_recognition(recognition: Recognition, as_json: bool) -> None:
    """What was recognised in a manifest as what, and why."""
    from tasks.reporting.run_tables import recognition_table

    out = Console(stderr=as_json, highlight=False, soft_wrap=True, width=_UNCUT)
    out.print(_rich_table(recognition_table(recognition), "left"))


def print_written(path: Path, as_json: bool) -> None:
    """Where a file now is."""
    _print_line(Console(stderr=as_json, highlight=False, soft_wrap=True), f"written  {_shown(path)}")


def print_check(summary: RunSummary, notes: list[str], store: Path, as_json: bool) -> None:
    """Rows, splits, and what a person should know before training."""
    out = Console(stderr=as_json, highlight=False, soft_wrap=True)
    _print_rows(out, summary)
    for note in notes:
        _print_line(out, f"note     {note}")
    _print_line(out, f"report   {_shown(store / str(summary.report))}")
    if summary.rows.quarantined or summary.rows.duplicates:
        _print_line(out, f"refused  {_shown(store / 'runs' / str(summary.run) / 'quarantine.csv')}")
    if as_json:
        print_json(summary.as_json())


def print_audit(summary: RunSummary, store: Path, as_json: bool) -> None:
    """What an audit found, where its report is, and what to do next."""
    out = Console(stderr=as_json, highlight=False, soft_wrap=True)
    _print_rows(out, summary)
    _print_line(out, f"found    {summary.reason}")
    for note in summary.notes or ():
        _print_line(out, f"note     {note}")
    folder = (store / str(summary.report)).parent
    _print_line(out, f"time     {_seconds(summary.seconds)}")
    _print_line(out, f"report   {_shown(folder / 'report.html')}")
    if summary.found and summary.found.get("label error"):
        _print_line(out, f"next     look through {_shown(folder / 'corrections.csv')}, then")
        again = typed(f"retrain --corrections {_shown(folder / 'corrections.csv')}", store)
        _print_line(out, f"         {again}")
    if as_json:
        print_json(summary.as_json())


def print_explanation(summary: RunSummary, store: Path, as_json: bool) -> None:
    """What a model's answers rest on, and where its report is."""
    out = Console(stderr=as_json, highlight=False, soft_wrap=True)
    model = summary.model or ModelSummary()
    _print_line(out, f"model    {model.name} version {model.version}")
    _print_line(out, f"found    {summary.reason}")
    for note in summary.notes or ():
        _print_line(out, f"note     {note}")
    _print_line(out, f"time     {_seconds(summary.seconds)}")
    _print_line(out, f"report   {_shown(store / str(summary.report))}")
    if as_json:
        print_json(summary.as_json())


def print_predictions(summary: RunSummary, store: Path, as_json: bool) -> None:
    """How many rows were predicted, with which model, and where the predictions are."""
    out = Console(stderr=as_json, highlight=False, soft_wrap=True)
    rows, model = summary.rows, summary.model or ModelSummary()
    _print_line(out, f"{rows.used} of {rows.rows_in} rows predicted with {model.name} version {model.version}")
    if rows.quarantined:
        _print_line(out, f"refused  {rows.quarantined} rows: {summary.quarantine or 'each has its reason in its line'}")
    for name, value in summary.metrics.get("labelled", {}).items():
        _print_line(out, f"{name:<8} {_figure(value, name)} on the {summary.labelled} rows that have a label")
    if summary.report is not None:
        _print_line(out, f"report   {_shown(store / summary.report)}")
    _print_written(out, summary, as_json)


def print_scores(summary: RunSummary, as_json: bool) -> None:
    """What became of the rows with each model version, and where the scores are."""
    from tasks.reporting.run_tables import scores_table

    out = Console(stderr=as_json, highlight=False, soft_wrap=True, width=_UNCUT)
    out.print(_rich_table(scores_table(summary.scored or ()), "left"))
    _print_written(out, summary, as_json)


def _print_written(out: Console, summary: RunSummary, as_json: bool) -> None:
    """The notes, where the answers are, and the summary where it is asked for."""
    for text in summary.notes or ():
        _print_line(out, f"note     {text}")
    _print_line(out, f"written  {summary.out}")
    if as_json:
        print_json(summary.as_json())


def print_live_verdict(verdict: LiveVerdict, store: Path, as_json: bool) -> None:
    """What labels that came later say of a challenger, and what to type next."""
    from tasks.reporting.run_tables import rules_table

    out = Console(stderr=as_json, highlight=False, soft_wrap=True, width=_UNCUT)
    _print_line(out, f"verdict  {verdict.decision}")
    _print_line(out, f"reason   {verdict.reason}")
    clusters = "" if verdict.clusters is None else f", {verdict.clusters:,} clusters"
    _print_line(out, f"rows     {verdict.rows:,} of {verdict.labels:,} labelled ids{clusters}")
    out.print(_rich_table(rules_table(verdict.rules), "left"))
    for note in (*verdict.notes, *filter(None, [describe_uses(verdict.test_uses)])):
        _print_line(out, f"note     {note}")
    name = f"{verdict.model} version {verdict.version}"
    if verdict.promoted:
        _print_line(out, f"promoted {name} is champion")
    elif verdict.decision == "promote":
        promote = typed(f"models promote {verdict.model} {verdict.version} --reason ...", store)
        _print_line(out, f"next     {promote}")
    if as_json:
        print_json(verdict.as_json())


def print_table(table: DisplayTable, empty: str = "none yet; publish a model with crossmodal retrain") -> None:
    """The table on stdout; the line `empty` where it has no rows."""
    # As wide as its rows are: a terminal wraps a longer line, a pipe has no width, and nothing is cut.
    out = Console(highlight=False, soft_wrap=True, width=_UNCUT)
    out.print(_rich_table(table, "left") if table.rows else empty)


def _rich_table(table: DisplayTable, justify: Literal["left", "right"]) -> Table:
    """The table as rich lays it out, its first column to the left."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(table.columns):
        shown.add_column(escape(one_line(name)), justify=justify if place else "left", no_wrap=True)
    for row in table.as_text():
        shown.add_row(*map(escape, row))
    return shown


def print_pairs(pairs: Sequence[tuple[str, Any]]) -> None:
    """A line for each name that has a value."""
    out = Console(highlight=False, soft_wrap=True)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        if value not in (None, "", []):
            _print_line(out, f"{one_line(name):<{width}}  {one_line(str(value), _ERROR_CHARS)}")


def print_warning(text: str) -> None:
    """One line on stderr."""
    _ERR.print(Text.assemble(("warning:", "bold yellow"), " ", one_line(text, _ERROR_CHARS)))


def print_error(text: str) -> None:
    """One line on stderr."""
    _ERR.print(Text.assemble(("error:", "bold red"), " ", one_line(text, _ERROR_CHARS)))


def print_traceback(error: BaseException) -> None:
    """The traceback on stderr. Its messages may hold what users' files hold: nothing in it moves the cursor."""
    sys.stderr.write(visible("".join(traceback.format_exception(error))))


def say(text: str, to_stderr: bool = False) -> None:
    """One line on stdout, at once; on stderr where stdout is for JSON."""
    print(visible(text), file=sys.stderr if to_stderr else sys.stdout, flush=True)


def print_event(kind: str, text: str) -> None:
    """What has just happened, as one line."""
    say(f"{kind:<10} {one_line(text, _ERROR_CHARS)}")


def print_json_event(kind: str, text: str) -> None:
    """What has just happened, as one line of JSON."""
    print_json({"event": kind, "text": text, "time": datetime.now(UTC).isoformat(timespec="seconds")})


def print_json(value: Any) -> None:
    """One line on stdout, which a terminal shows and does not act on."""
    sys.stdout.write(json_text(redact_json(value)) + "\n")
    sys.stdout.flush()


def _print_line(out: Console, text: str) -> None:
    """One line, shown as it is: no markup, and no control or bidirectional character that a label or a path brought."""
    out.print(visible(text, keep=""), markup=False, emoji=False)


def _print_rows(out: Console, summary: RunSummary) -> None:
    rows, splits = summary.rows, summary.splits
    counts = f"{rows.rows_in} read, {rows.used} used, {rows.quarantined} quarantined, {rows.duplicates} duplicates"
    counts += "".join(f", {count} {name}" for name, count in rows.set_aside().items())
    _print_line(out, f"rows     {counts}; train {splits['train']}, val {splits['val']}, test {splits['test']}")


def _figure(value: float | None, metric: str) -> str:
    from tasks.problems.registry import figure_text

    return "–" if value is None else figure_text(value, metric, decimals=4)


def _work(work: WorkSummary) -> str:
    return ", ".join(f"{name}: {count} computed, {work.reused[name]} reused" for name, count in work.computed.items())


def _seconds(seconds: dict[str, float]) -> str:
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items() if stage != "total" and value >= 0.05)
    return f"{seconds['total']:.1f} s" + (f" ({stages})" if stages else "")


def typed(command: str, store: Path) -> str:
    """The command as the person can type it next: `crossmodal` by name where it is on the PATH, else as it was started, and
    the store where it would not be found without.
    """
    from flows.environment import store_from_environment  # with all settings, which `--help` needs not
    from tasks.shared_store import shared_address

    program = "crossmodal" if shutil.which("crossmodal") else sys.argv[0]
    found = Path(store_from_environment(None)).expanduser().absolute() == store.absolute()
    shown = shared_address(store) or _shown(store.absolute())
    return f"{program} {command}" if found else f"{program} {command} --store {shlex.quote(shown)}"


def _shown(path: Path) -> str:
    """The path as the person would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
