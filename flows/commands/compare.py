"""`crossmodal compare`: variants of a model, compared by paired statistics."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import typer

from data_contracts.run_summary import CompareSummary, RunSummary
from flows import console
from flows.commands.options import RunInput, SummaryOptions, grouped
from flows.comparing import compare_models
from tasks.reporting.compare_report import variants_table

Variants = Annotated[
    str | None, typer.Option(metavar="NAME,…", help="Groups of variants, or single ones (compare.variants).")
]
Seeds = Annotated[int | None, typer.Option(metavar="N", help="Trainings of each variant (compare.seeds).")]
Reference = Annotated[
    str | None, typer.Option(metavar="NAME", help="The variant that all are compared with (compare.reference).")
]


@grouped
def compare(
    *, of: RunInput, variants: Variants = None, seeds: Seeds = None, reference: Reference = None, common: SummaryOptions
) -> None:
    """Compare variants of a model, paired over seeds and test rows, with intervals and costs; nothing is published.

    Groups: modalities, fusion, finetuning, initialization, backbones, augmentation, modality_dropout, tasks, classical, raw,
    custom. A comparison that was killed resumes where it was; several at once share their fits.
    """
    request = replace(of, overrides=[*(of.overrides or []), *asked(variants, seeds, reference)]).request(common.store)
    with console.progress_bars():
        summary = compare_models(request)
    _print(summary, str(request.store.root / str(summary.report)), common.as_json)


def asked(variants: str | None, seeds: int | None, reference: str | None) -> list[str]:
    """The options as settings; an empty list of variants is one, and refused as such."""
    names = None if variants is None else [name.strip() for name in variants.split(",") if name.strip()]
    return [
        *([] if names is None else [f"compare.variants={json.dumps(names)}"]),
        *([] if seeds is None else [f"compare.seeds={seeds}"]),
        *([] if reference is None else [f"compare.reference={json.dumps(reference)}"]),
    ]


def _print(summary: RunSummary, report: str, as_json: bool) -> None:
    found = summary.compare or CompareSummary()
    console.say(f"finding  {summary.finding}", as_json)
    console.say(f"reason   {summary.reason}", as_json)
    for note in summary.notes or ():
        console.say(f"note     {note}", as_json)
    if not as_json:
        console.print_table(variants_table(found))
    console.say(f"report   {report}", as_json)
    if found.not_run:
        console.say(f"not run  {', '.join(found.not_run)} (add them with --variants)", as_json)
    if as_json:
        console.print_json(summary.as_json())
