"""`crossmodal compress`: smaller and faster versions of a published model, put through the gate."""

from __future__ import annotations

from typing import Annotated

import typer

from data_contracts.run_summary import CompressSummary, RunSummary
from flows import console
from flows.commands.options import RunInput, SummaryOptions, grouped
from flows.compress_request import Asked, make_compression
from flows.compressing import compress_model
from flows.environment import new_run_id, store_from_environment, tracking_uri_from_environment
from flows.request import make_request
from tasks.config import RunConfig
from tasks.errors import PromotionRefused
from tasks.reporting.compress_report import methods_table


@grouped
def compress(
    model: Annotated[
        str, typer.Argument(help="NAME or NAME@ALIAS in the registry, the folder of a release, or hf:ID.")
    ],
    *,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES",
            help="float16, int8, int4, onnx, onnx-int8, prune, distill, with commas (default: all that can be but distill).",
        ),
    ] = None,
    publish: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Publish this one as a new version, if the gate passes it.")
    ] = None,
    of: RunInput,
    common: SummaryOptions,
) -> None:
    """Make smaller and faster versions of a published model, and measure what they cost; nothing is published unless asked.

    The data are those of the run that published it, unless --profile or --data names others. Stopped, it resumes where it was.
    """
    place = make_request(
        RunConfig(), store_from_environment(common.store), tracking_uri_from_environment(), new_run_id()
    )
    asked = Asked(model, methods or (), publish, of.profile, of.data, of.overrides or ())
    compression = make_compression(asked, place)
    with console.progress_bars():
        summary = compress_model(compression)
    print_compressed(summary, str(compression.request.store.root / str(summary.report)), common.as_json)
    if publish is not None and (summary.compress is None or summary.compress.published is None):
        raise PromotionRefused(
            f"compress {model}: {publish} was not published, as the gate did not pass it; see the report"
        )


def print_compressed(summary: RunSummary, report: str, as_json: bool) -> None:
    """The outcome is on stdout."""
    found = summary.compress or CompressSummary()
    console.say(f"finding  {summary.finding}", as_json)
    for note in summary.notes or ():
        console.say(f"note     {note}", as_json)
    if not as_json:
        console.print_table(methods_table(found))
    console.say(f"report   {report}", as_json)
    if found.published is not None:
        console.say(f"version  {found.published}", as_json)
    if as_json:
        console.print_json(summary.as_json())
