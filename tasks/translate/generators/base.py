"""What every generator offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from data_contracts.refs import Frozen


class Asked(Frozen):
    """What shapes a generator's output besides the medium and its files; a field that its family does not read is at rest."""

    max_new_tokens: int = 0
    top_k: int = 0
    voice: str = ""
    prompt: str = ""


class Generator(Protocol):
    """Media to the files that are made from them, a batch at a time."""

    batch_rows: int
    """How many media are worked on together."""

    def prepare(self, medium: Any, rate_hz: int) -> Any:
        """A canonical medium as the generator reads it."""

    def generate(self, prepared: Sequence[Any]) -> list[bytes]:
        """The bytes of a file for each: UTF-8 of a text, or a WAV. Empty where there is nothing to say."""
