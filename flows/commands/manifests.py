"""`crossmodal check` and `crossmodal predict`: what a manifest holds, and what a published model says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from data_contracts.recognition import Recognition
from flows import console
from flows.commands.options import MANIFEST, Model, Profile, RunInput, Set, SummaryOptions, grouped
from flows.predictions import predict_manifest
from flows.prepare import check_manifest
from flows.profiles import check_target, write_reading_profile
from flows.run_failed import RunFailed
from tasks.errors import UnknownColumns, UsageError


@grouped
def check(
    manifest: Annotated[str | None, MANIFEST] = None,
    *,
    profile: Profile = None,
    overrides: Set = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="First print what was recognised as what, and why, before media are decoded."),
    ] = False,
    write_profile: Annotated[
        str | None,
        typer.Option(help="Write these choices as a profile (a new FILE.toml), so that later runs recognise nothing."),
    ] = None,
    common: SummaryOptions,
) -> None:
    """Read, clean and validate a manifest, or a profile's, without training: what would be used, what is refused and why."""
    if manifest is None and profile is None:
        raise UsageError("check: no data; name a manifest, or the profile whose data it is: --profile NAME")
    target = None if write_profile is None else Path(write_profile).expanduser().absolute()
    if target is not None:
        check_target(target.stem, target, "--write-profile")
    request = RunInput(profile=profile, data=manifest, overrides=overrides).request(common.store)

    def show(recognition: Recognition) -> None:
        """The table is printed, and the profile written, where they are asked for."""
        if explain:
            console.print_recognition(recognition, common.as_json)
        if target is not None:
            write_reading_profile(target, request, recognition)
            console.print_written(target, common.as_json)

    with console.progress_bars():
        try:
            summary, notes = check_manifest(request, on_read=show)
        except RunFailed as failure:
            if explain and isinstance(failure.error, UnknownColumns):
                console.print_recognition(failure.error.recognition, common.as_json)
            raise
    console.print_check(summary, notes, request.store.root, common.as_json)


@grouped
def predict(
    manifest: Annotated[str, typer.Argument(help="A manifest, a folder of media or of tables, or one file.")],
    *,
    model: Model = None,
    out: Annotated[
        str, typer.Option(help="Where the predictions go: .parquet, .csv or .jsonl.")
    ] = "predictions.parquet",
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,NAME", help="Columns of the input to carry along, or all; may be repeated."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Also what each input adds to each answer, as columns; of at most explain.samples rows a page.",
        ),
    ] = False,
    overrides: Set = None,
    common: SummaryOptions,
) -> None:
    """Predict every row of a manifest, every file of a folder, or one file, with a published model. Labels are not needed."""
    request = RunInput(data=manifest, overrides=overrides).request(common.store, reading=True)
    with console.progress_bars():
        summary = predict_manifest(request, model, out, columns or (), explain)
    console.print_predictions(summary, request.store.root, common.as_json)
