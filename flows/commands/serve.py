"""`crossmodal serve`: a published model over HTTP."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from flows import console
from flows.commands.options import RunInput, Set, grouped
from flows.commands.up import EventOptions
from flows.serving.limits import Limits

_DEFAULT = Limits()


@dataclass(frozen=True)
class LimitOptions:
    """Bounds of the server."""

    max_body_mb: Annotated[float, typer.Option(min=0.001, max=1000, help="Of one request.")] = _DEFAULT.max_body_mb
    max_rows: Annotated[int, typer.Option(min=1, max=100_000, help="Of one request.")] = _DEFAULT.max_rows
    max_pending: Annotated[
        int, typer.Option(min=1, max=100_000, help="Requests under way at a time; the next one is answered 429.")
    ] = _DEFAULT.max_pending
    max_pending_mb: Annotated[float, typer.Option(min=1, max=1_000_000, help="Of all bodies under way together.")] = (
        _DEFAULT.max_pending_mb
    )
    timeout_s: Annotated[
        float, typer.Option(min=0.001, max=86_400, help="For one request; after it the answer is 504.")
    ] = _DEFAULT.timeout_s
    batch_wait_ms: Annotated[
        float, typer.Option(min=0, max=1000, help="How long a batch waits for rows of other requests under way.")
    ] = _DEFAULT.batch_wait_ms
    poll_s: Annotated[float, typer.Option(min=0.1, max=86_400, help="Between two looks at the alias.")] = (
        _DEFAULT.poll_s
    )

    def limits(self) -> Limits:
        """The same for the server."""
        return Limits(**asdict(self))


@grouped
def serve(
    model: Annotated[
        str, typer.Argument(help="NAME or NAME@ALIAS in the registry, or a folder with model.json (with a / in it).")
    ],
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")] = 8000,
    token_file: Annotated[
        str | None,
        typer.Option(help="File (mode 0600) with the token that requests must send; or CROSSMODAL_SERVE_TOKEN."),
    ] = None,
    limits: LimitOptions,
    overrides: Set = None,
    common: EventOptions,
) -> None:
    """Answer requests over HTTP with a published model, until SIGTERM or Ctrl-C; when its alias moves, with the new version.

    On this machine only, unless a token is set.
    """
    from flows.serving.server import read_token
    from flows.serving.server import serve as run

    token = read_token(token_file, os.environ)
    request = RunInput(data="builtin:digits", overrides=overrides).request(common.store)
    announce = console.print_json_event if common.as_json else console.print_event
    try:
        run(model, request, host, port, token, limits.limits(), announce)
    except KeyboardInterrupt:  # nothing is left to resume
        raise typer.Exit(130) from None
