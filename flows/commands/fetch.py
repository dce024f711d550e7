"""`crossmodal fetch`: a pretrained encoder, from the network to this machine's cache."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import console
from flows.commands.options import Debug, SummaryJson


def fetch(
    encoder: Annotated[
        str,
        typer.Argument(
            help=r"torchvision:NAME\[@WEIGHTS], hf:ID\[@REVISION], timm:NAME, st:NAME or diffusers:ID\[@REVISION]."
        ),
    ],
    as_json: SummaryJson = False,
    debug: Debug = False,
) -> None:
    """Fetch a pretrained encoder, or a generator, from the network to this machine's cache; nothing else in crossmodal does.

    Only safetensors and text are kept. Exit status: 2 nothing of that name; 4 the network failed.
    """
    from tasks.modeling.pretrained.fetch import fetch_encoder

    fetched = fetch_encoder(encoder)
    if as_json:
        console.print_json({"encoder": encoder, "path": str(fetched.path), "bytes": fetched.size_bytes})
    else:
        console.say(f"{encoder}: {fetched.size_bytes / 1e6:.1f} MB at {fetched.path}")
