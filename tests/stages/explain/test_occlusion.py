"""Words of an encoder without a gradient: taken away one by one."""

from __future__ import annotations

import numpy as np
import torch

from tasks.explain.attributions import attribute
from tasks.explain.encoded import ScaledFeatures
from tasks.explain.readings import read_input
from tasks.modeling.classical import HASHED, ClassicalText
from tasks.modeling.encoder_base import Standardised
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.encoders import TinyText
from tasks.modeling.fusion.blended import Beside


def coded(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def test_the_word_that_the_answer_rests_on_has_the_largest_value() -> None:
    encoder = ScaledFeatures(ClassicalText(), Standardised(ClassicalText.width, 0.5))
    spec = EncoderSpec(encoder="classical", reads="embedding", width=ClassicalText.width)
    alone = torch.from_numpy(coded("good").astype(np.int64))[None]
    wanted = encoder(alone, torch.tensor([4]))[0]
    wanted[HASHED:] = 0  # the word itself, not its letters

    def score(values: torch.Tensor) -> torch.Tensor:
        """(B, L) -> (B,) how much of the word is there."""
        return encoder(values, torch.full((len(values),), values.shape[1])) @ wanted

    text = "a good day"
    found = attribute(read_input("text", coded(text), text, spec, encoder), encoder, score, False, 8).attribution
    assert found.method == "occlusion"
    assert [part.name for part in found.values] == ["a", "good", "day"]
    without, good, last = (part.value for part in found.values)
    assert good > 0.4
    assert max(without, last) <= 0, "without another word, this one is a larger part of the text"


def test_words_that_two_networks_of_a_blend_read_are_taken_away_too() -> None:
    """encoders.text=tiny beside encoders.image=auto."""
    torch.manual_seed(0)
    encoder = Beside([TinyText(), TinyText()]).eval()

    def score(values: torch.Tensor) -> torch.Tensor:
        """(B, L) -> (B,)"""
        found: torch.Tensor = encoder(values, torch.full((len(values),), values.shape[1])).sum(dim=1)
        return found

    reading = read_input(
        "text", coded("a good day"), "a good day", EncoderSpec(encoder="tiny", reads="inputs"), encoder
    )
    found = attribute(reading, encoder, score, False, 8).attribution
    assert found.method == "occlusion"
    assert all(part.value for part in found.values)
