"""What a server takes on: chosen once, when it starts. Imports nothing, so that the command line can show the defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one server."""

    max_body_mb: float = 32.0
    """Of one request; a longer one is refused before it is read."""
    max_rows: int = 64
    """Of one request."""
    max_explained: int = 4
    """Of one request that asks for explanations: each takes hundreds of forward passes."""
    max_pending: int = 64
    """Requests under way at a time; the next one is answered 429."""
    max_pending_mb: float = 256.0
    """Of all bodies under way together."""
    timeout_s: float = 30.0
    """For one request, from its head to its answer."""
    batch_wait_ms: float = 5.0
    """How long a batch waits for the rows of other requests that are under way."""
    batch_rows: int = 16
    """From so many rows on a batch waits for no more: on a CPU further ones save nothing, and the next batch would wait to be
    decoded until this one is answered."""
    poll_s: float = 5.0
    """Between two looks at the alias."""
    decoders: int | None = None
    """Decoding processes; None: one per core, at most 4."""

    @property
    def max_body_bytes(self) -> int:
        """`max_body_mb` in bytes."""
        return int(self.max_body_mb * 1e6)
