"""`crossmodal tune`: a search for better settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from data_contracts.run_summary import RunSummary, TuneSummary
from flows import console
from flows.commands.options import RunInput, SummaryOptions, grouped
from flows.tuning import tune_model
from tasks.reporting.tune_report import settings_table

Trials = Annotated[int | None, typer.Option(metavar="N", help="Trials of the study, over all runs (tune.trials).")]
Timeout = Annotated[float | None, typer.Option(metavar="SECONDS", help="Stop after this time (tune.timeout_s).")]
Save = Annotated[
    str | None, typer.Option(help="The profile for the best settings: a name, or a path [NAME-tuned, in the store].")
]


@grouped
def tune(
    *, of: RunInput, trials: Trials = None, timeout: Timeout = None, save: Save = None, common: SummaryOptions
) -> None:
    """Search for settings with a better validation score; the best are saved as a profile, and nothing is published.

    A search that was stopped or killed resumes where it was; several at once share their trials.
    """
    own = [f"tune.{key}={value}" for key, value in (("trials", trials), ("timeout_s", timeout)) if value is not None]
    with_budget = replace(of, overrides=[*(of.overrides or []), *own])
    request = with_budget.request(common.store)
    with console.progress_bars():
        summary = tune_model(request, save)
    _print(summary, request.store.root, common.as_json)


def _print(summary: RunSummary, store: Path, as_json: bool) -> None:
    found = summary.tune or TuneSummary()
    console.say(f"finding  {summary.finding}", as_json)
    console.say(f"reason   {summary.reason}", as_json)
    for note in summary.notes or ():
        console.say(f"note     {note}", as_json)
    if not as_json:
        console.print_table(settings_table(found))
    console.say(f"report   {store / str(summary.report)}", as_json)
    if found.profile is not None:
        console.say(f"profile  {found.profile}", as_json)
        console.say(f"next     {console.typed(f'retrain --profile {found.profile}', store)}", as_json)
    if as_json:
        console.print_json(summary.as_json())
