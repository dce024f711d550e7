"""`crossmodal explain`: what a published model's answers rest on."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from flows import console
from flows.commands.options import RunInput, SummaryOptions, grouped
from flows.explaining import explain_model, request_of_model

Model = Annotated[
    str,
    typer.Argument(
        help="NAME or NAME@ALIAS in the registry, a folder with model.json, or hf:ID; left out, the profile's.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Asked:
    """What is looked at; each is a setting of its own."""

    rows: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Rows in the figures (default: explain.rows).")
    ] = None
    samples: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Rows shown in detail (default: explain.samples).")
    ] = None
    ids: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="A row to show; may be repeated.")] = None
    label: Annotated[str | None, typer.Option(help="The class to explain, in place of each row's answer.")] = None
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="NAME", help="An input to look into; may be repeated.")
    ] = None

    def overrides(self) -> list[str]:
        """The same as KEY=VALUE."""
        named = {name: getattr(self, name) for name in ("rows", "samples", "ids", "label", "inputs")}
        return [f"explain.{name}={json.dumps(value)}" for name, value in named.items() if value not in (None, [])]


@grouped
def explain(model: Model = "", *, of: RunInput, asked: Asked, common: SummaryOptions) -> None:
    """Show what a model's answers rest on: each input's Shapley value, words, places and times, neighbours, swaps, mistakes.

    Rows are the test rows of the run that published it, unless --profile or --data names others. Leaves report.html and
    explanations.json.
    """
    overrides = [*(of.overrides or []), *asked.overrides()]
    if model and of.profile is None and of.data is None:
        request = request_of_model(model, overrides, RunInput().request(common.store))
    else:
        request = replace(of, overrides=overrides).request(common.store)
    with console.progress_bars():
        summary = explain_model(request, model)
    console.print_explanation(summary, request.store.root, common.as_json)
