"""The canonical form of one medium, and the errors of decoding."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


class Undecodable(Exception):
    """A medium that cannot be used; `reason` is the code that lands in quarantine."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Canonical:
    """Decoded content.

    image: uint8 (H, W, 3). video: uint8 (N, H, W, 3). audio: int16 (T,) at `rate_hz`. text: UTF-8, shape (characters,).
    tabular: JSON of the filled cells, shape (filled cells,).
    """

    shape: tuple[int, ...]
    data: bytes
    rate_hz: int | None = None
    warning: str | None = None

    @property
    def digest(self) -> str:
        """The sha256 of shape, rate and data: equal content, equal digest, whatever file it came from."""
        head = f"{self.shape}|{self.rate_hz}|".encode()
        return hashlib.sha256(head + self.data).hexdigest()
