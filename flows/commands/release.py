"""`crossmodal models export` and `verify`: a published model as a folder that answers anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.models import models_app
from flows.commands.options import CommonOptions, grouped
from flows.console import print_json, say
from flows.environment import new_run_id, tracking_uri_from_environment
from flows.request import Request, make_request, resolve_config

ReleaseFolder = Annotated[Path, typer.Argument(help="The folder of a release.", show_default=False)]


@models_app.command()
@grouped
def export(
    model: Annotated[str, typer.Argument(help="NAME or NAME@ALIAS in the registry.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="A new folder, or an empty one.", show_default=False)],
    *,
    without_golden_rows: Annotated[
        bool, typer.Option("--without-golden-rows", help="No synthetic rows with their expected answers.")
    ] = False,
    without_encoders: Annotated[
        bool, typer.Option("--without-encoders", help="No frozen encoders: it then asks for them where they came from.")
    ] = False,
    common: CommonOptions,
) -> None:
    """Export a published model as a folder that answers on any machine: weights, encoders, tokenizers, model card, lineage.

    No row of the data is put in: the golden rows are synthetic.
    """
    from flows.export import export_release

    release, place = export_release(_request(common), model, folder, not without_golden_rows, not without_encoders)
    if common.as_json:
        print_json({"folder": str(place), **release.model_dump(mode="json")})
    else:
        say(f"{release.name} version {release.version}: {len(release.files)} files in {place}")


@models_app.command()
@grouped
def verify(folder: ReleaseFolder, *, common: CommonOptions) -> None:
    """Verify a release: the sha256 of every file, and its golden rows, answered as where it was exported."""
    from flows.export import verify_folder

    found = verify_folder(_request(common), folder)
    if common.as_json:
        print_json(found.model_dump(mode="json"))
    else:
        most = "" if found.difference is None else f", of which none differs by more than {found.difference:.1g}"
        say(f"{found.model} version {found.version}: {found.files} files, {found.golden_rows} golden rows{most}")
        say(found.signature)
        if found.hidden:
            more = ", …" if len(found.hidden) > 5 else ""
            say(f"hidden, not on its list and not verified: {', '.join(found.hidden[:5])}{more}")


def _request(common: CommonOptions) -> Request:
    config = resolve_config(None, "builtin:digits", [])
    return make_request(config, str(common.place.root), tracking_uri_from_environment(), new_run_id(), reading=True)
