"""`crossmodal translate`: one input generated from another, and whether that helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from data_contracts.run_summary import RunSummary
from flows import console
from flows.commands.options import RunInput, SummaryOptions, grouped
from flows.translating import translate_manifest

Source = Annotated[str | None, typer.Option(help="The input that is read, such as audio (translate.source).")]
Target = Annotated[str | None, typer.Option(help="The input that is generated, such as text (translate.target).")]
Generator = Annotated[
    str | None,
    typer.Option(
        help="whisper:FOLDER, caption:FOLDER, imagenet-labels:NAME@WEIGHTS, tesseract, diffusers:FOLDER, espeak-ng, or "
        "retrieval (translate.generator)."
    ),
]
Fill = Annotated[bool, typer.Option("--fill", help="Only where a row lacks the target (translate.mode = fill).")]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The rows with what was generated: NAME.csv or NAME.parquet.")
]


@grouped
def translate(
    *,
    of: RunInput,
    source: Source = None,
    target: Target = None,
    generator: Generator = None,
    fill: Fill = False,
    out: Out = None,
    common: SummaryOptions,
) -> None:
    """Generate one input from another, and try whether it helps: models with and without it, paired on the same test rows.

    What is generated is cached by what it is made from and by, and marked in every table; nothing is published.
    """
    asked = {"source": source, "target": target, "generator": generator, "mode": "fill" if fill else None}
    own = [f"translate.{key}={value}" for key, value in asked.items() if value is not None]
    request = replace(of, overrides=[*(of.overrides or []), *own]).request(common.store)
    with console.progress_bars():
        summary = translate_manifest(request, out)
    _print(summary, request.store.root, common.as_json)


def _print(summary: RunSummary, store: Path, as_json: bool) -> None:
    counts = summary.found or {}
    console.say(f"finding  {summary.reason}", as_json)
    console.say("media    " + ", ".join(f"{count:,} {what}" for what, count in counts.items()), as_json)
    for note in summary.notes or ():
        console.say(f"note     {note}", as_json)
    console.say(f"report   {store / str(summary.report)}", as_json)
    if summary.out is not None:
        console.say(f"rows     {summary.out}", as_json)
    if as_json:
        console.print_json(summary.as_json())
