"""A translation as a Prefect flow: what a button in the UI starts, and what `crossmodal translate` does in a terminal."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import JsonValue

from flows.artifacts import leave_counts
from flows.flow_request import NO_OVERRIDES, Override, request_of_run
from flows.prefect_stages import prefect_stages, translate_stages
from flows.refusals import ends_refused
from flows.run_name import name_run
from flows.run_progress import TRANSLATE_SHARES, shown_in_prefect
from flows.translating import translate_manifest
from tasks.redaction import redact


@flow(name="translate", flow_run_name=name_run, persist_result=True, result_serializer="json")
@ends_refused
def translate(
    profile: str = "",
    data: str = "",
    source: str = "",
    target: str = "",
    generator: str = "",
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[dict[str, JsonValue]]:
    """Generates one input from another, and tries whether it helps, paired on the same test rows. Nothing is published.

    Args:
        profile: Whose data and settings.
        data: Other data than the profile's: the full path of a manifest or a folder, or its address. Empty: the profile's.
        source: The input that is read, such as audio. Empty: as the profile says.
        target: The input that is generated, such as text. Empty: as the profile says.
        generator: whisper:FOLDER, caption:FOLDER, imagenet-labels:NAME@WEIGHTS, tesseract, diffusers:FOLDER, espeak-ng or
            retrieval. Empty: the profile's.
        overrides: Other settings on top of the profile, each KEY=VALUE, for example translate.mode=fill.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    asked = {"source": source, "target": target, "generator": generator}
    own = [f"translate.{key}={value}" for key, value in asked.items() if value]
    request = request_of_run(profile, data, [*own, *overrides], store)
    with shown_in_prefect(TRANSLATE_SHARES):
        summary = translate_manifest(request, None, prefect_stages(), translate_stages())
    leave_counts("translation", request.name, request, summary)
    return Completed(message=redact(str(summary.reason)), data=summary.as_json())
