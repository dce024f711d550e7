"""Sounds by Whisper's encoder, where only the positions with sound are read, against transformers on clips filled up to 30 s.

The sounds are noise under a slow envelope; the cosine is that of the means over the positions with sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import WhisperFeatureExtractor, WhisperModel

from benchmarks.extraction.timing import Row, in_turns
from tasks.config import EncodersConfig
from tasks.modeling.pretrained.describe import describe_encoder
from tasks.modeling.pretrained.weights import frozen_encoder

SECONDS = (0.6, 2.5, 10.0, 30.0)
GOALS = {2.5: 5.0}
"""Of other lengths none is set: no slower than padded."""
RATE_HZ = 16_000
POSITION = 320
"""Samples of a position."""


def sound(seconds: float) -> Tensor:
    """(1, T)"""
    count = int(RATE_HZ * seconds)
    noise = torch.randn(1, count, generator=torch.Generator().manual_seed(0))
    return noise * 0.05 * torch.sin(torch.arange(count) / 3000)


def measure(weights: Path, rounds: int) -> Iterator[Row]:
    """A row for every length."""
    folder = weights / "whisper-tiny-en"
    spec = describe_encoder("audio", f"hf:{folder.absolute()}", "head", EncodersConfig())
    ours = frozen_encoder("audio", spec)
    theirs = WhisperModel.from_pretrained(folder, dtype=torch.float32).encoder.train(False)
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    for seconds in SECONDS:
        x = sound(seconds)
        lengths = torch.tensor([x.shape[1]])
        places = min(-(-x.shape[1] // POSITION), theirs.config.max_source_positions)

        def cut(x: Tensor = x, lengths: Tensor = lengths) -> Tensor:
            """Ours."""
            with torch.inference_mode():
                found: Tensor = ours(x, lengths)
            return found

        def filled(x: Tensor = x, places: int = places) -> Tensor:
            """transformers' own way."""
            inputs = extractor(x[0].numpy(), sampling_rate=RATE_HZ, return_tensors="pt").input_features
            with torch.inference_mode():
                mean: Tensor = theirs(inputs).last_hidden_state[:, :places].mean(1)
            return mean

        note = f"cosine {float(cosine_similarity(cut(), filled())[0]):.3f}"
        costs = in_turns({"ours": cut, "theirs": filled}, rounds)
        goal = GOALS.get(seconds, 0.95)
        case = f"Whisper tiny.en, a clip of {seconds:g} s"
        yield Row(case, "transformers, filled up to 30 s", costs["ours"], costs["theirs"], 1, goal, note)
