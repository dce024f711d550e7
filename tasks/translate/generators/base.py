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
    lang: str = ""
    psm: int = 0
    num_inference_steps: int = 0
    guidance_scale: float = 0.0
    image_px: int | None = None


class Generator(Protocol):
    """Media to the files that are made from them, a batch at a time."""

    batch_rows: int
    """How many media are worked on together."""

    def prepare(self, medium: Any, rate_hz: int) -> Any:
        """A canonical medium as the generator reads it."""

    def generate(self, prepared: Sequence[Any]) -> list[bytes]:
        """The bytes of a file for each: UTF-8 of a text, a WAV or a PNG. Empty where there is nothing to say."""
