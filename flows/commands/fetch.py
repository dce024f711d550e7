"""`crossmodal fetch`: a pretrained encoder, from the network to this machine's cache."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import console
from flows.commands.options import Debug, SummaryJson
from tasks.encoder_presets import FETCH, PRESETS, encoders_of
from tasks.errors import UsageError


def fetch(
    encoder: Annotated[
        str,
        typer.Argument(
            help=r"torchvision:NAME\[@WEIGHTS], hf:ID\[@REVISION], timm:NAME, st:NAME, diffusers:ID\[@REVISION], or "
            "preset:NAME for all encoders of a preset."
        ),
    ],
    as_json: SummaryJson = False,
    debug: Debug = False,
) -> None:
    """Fetch a pretrained encoder, or a generator, from the network to this machine's cache; nothing else in crossmodal does.

    Only safetensors and text are kept. Exit status: 2 nothing of that name; 4 the network failed.
    """
    from tasks.modeling.pretrained.fetch import fetch_encoder

    for name in _asked_for(encoder):
        fetched = fetch_encoder(name)
        if as_json:
            console.print_json({"encoder": name, "path": str(fetched.path), "bytes": fetched.size_bytes})
        else:
            console.say(f"{name}: {fetched.size_bytes / 1e6:.1f} MB at {fetched.path}")


def _asked_for(encoder: str) -> list[str]:
    """The ids of a preset's encoders, else the id itself. UsageError where there is no such preset, or nothing in it."""
    if not encoder.startswith(FETCH):
        return [encoder]
    preset = next((name for name in PRESETS if encoder == FETCH + name), None)
    if preset is None:
        raise UsageError(f"{encoder!r}: no preset of that name; they are {', '.join(PRESETS)}")
    if not (chosen := encoders_of(preset)):
        raise UsageError(f"{encoder!r}: there is nothing to fetch for it")
    return [each.encoder for each in chosen]
