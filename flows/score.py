"""Scoring as a Prefect flow: every night, the rows that have come since are answered by the champion and its challenger."""

from __future__ import annotations

from typing import Annotated, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field, JsonValue

from flows.artifacts import leave_table
from flows.flow_request import NO_OVERRIDES, Override, full_path, request_of_run
from flows.refusals import ends_refused
from flows.request import resolve_config
from flows.run_name import name_run, rename_run
from flows.run_progress import SCORE_SHARES, shown_in_prefect
from flows.scoring import PART_ROWS, score_manifest
from tasks.escaping import markdown_text
from tasks.reporting.run_tables import scores_table


@flow(name="score", flow_run_name=name_run, persist_result=True, result_serializer="json")
@ends_refused
def score(
    profile: str = "",
    data: str = "",
    model: str = "",
    out: str = "",
    challenger: Literal["auto", "off"] = "auto",
    part_rows: Annotated[int, Field(ge=1)] = PART_ROWS,
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[dict[str, JsonValue]]:
    """Scores the rows that the model has not scored yet, and keeps the answers beside those of before.

    Args:
        profile: Whose model, and whose data.
        data: Other data than the profile's, by their full path or address; labels are not needed.
        model: Another model than the profile's: NAME or NAME@ALIAS in the registry.
        out: The full path of the folder for the scores. Empty: scores in the store.
        challenger: auto: the challenger scores the same rows, where there is one and model names no alias.
        part_rows: Rows of one Parquet file, and in memory at a time.
        overrides: Other settings on top of the profile, each KEY=VALUE.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    request = request_of_run(profile, data, overrides, store)
    own = resolve_config(profile, None, overrides, str(request.store.root)).name if profile else None
    with shown_in_prefect(SCORE_SHARES):
        summary = score_manifest(request, model or own, full_path(out) or None, challenger == "auto", part_rows)
    done = summary.scored or ()
    name = markdown_text(str(summary.model.name if summary.model else request.name))
    leave_table("scores", scores_table(done), f"{name}: rows of {markdown_text(request.config.data.path)}")
    text = "; ".join(f"version {one.version}: {one.scored} rows scored, {one.refused} refused" for one in done)
    rename_run(f"{done[0].scored} scored")
    return Completed(message=text, data=summary.as_json())
