"""What a sound costs by Whisper's encoder, where only the positions with sound are read, against transformers on the clip
filled up to 30 s: python -m benchmarks.whisper_encoder WEIGHTS_FOLDER [--rounds 5]

One thread, the two in turns, medians of CPU time; and how alike the vectors are (the mean over the positions with sound). The
sounds are noise under a slow envelope.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import WhisperFeatureExtractor, WhisperModel

from benchmarks.measure import machine, median
from tasks.config import EncodersConfig
from tasks.modeling.pretrained.describe import describe_encoder
from tasks.modeling.pretrained.weights import frozen_encoder

SECONDS = (0.6, 2.5, 10.0, 30.0)
RATE_HZ = 16_000
POSITION = 320
"""Samples of a position."""


def sound(seconds: float) -> Tensor:
    """(1, T)"""
    count = int(RATE_HZ * seconds)
    noise = torch.randn(1, count, generator=torch.Generator().manual_seed(0))
    return noise * 0.05 * torch.sin(torch.arange(count) / 3000)


def cpu_ms(look: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Milliseconds of CPU, and what was found."""
    start = time.process_time()
    found = look()
    return 1000 * (time.process_time() - start), found


def main() -> None:
    """Prints a line for every length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    spec = describe_encoder("audio", f"hf:{options.folder.absolute()}", "head", EncodersConfig())
    ours = frozen_encoder("audio", spec)
    theirs = WhisperModel.from_pretrained(options.folder, dtype=torch.float32).encoder.train(False)
    extractor = WhisperFeatureExtractor.from_pretrained(options.folder)
    print(machine("torch", "transformers"))
    print("| seconds | positions with sound, ms | filled up to 30 s, ms | times | cosine |\n|---|---|---|---|---|")
    for seconds in SECONDS:
        x = sound(seconds)
        lengths = torch.tensor([x.shape[1]])
        places = min(-(-x.shape[1] // POSITION), theirs.config.max_source_positions)

        def filled(x: Tensor = x, places: int = places) -> Tensor:
            """transformers' own way."""
            inputs = extractor(x[0].numpy(), sampling_rate=RATE_HZ, return_tensors="pt").input_features
            mean: Tensor = theirs(inputs).last_hidden_state[:, :places].mean(1)
            return mean

        with torch.inference_mode():
            rounds = [(cpu_ms(lambda x=x, n=lengths: ours(x, n)), cpu_ms(filled)) for _ in range(options.rounds)]  # type: ignore[misc]
        cut, whole = (median([one[way][0] for one in rounds]) for way in (0, 1))
        alike = float(cosine_similarity(rounds[0][0][1], rounds[0][1][1])[0])
        print(f"| {seconds:g} | {cut:.1f} | {whole:.1f} | {whole / cut:.1f} | {alike:.3f} |")


if __name__ == "__main__":
    main()
