"""The speed of extraction, case by case, against the libraries that do the same.

    python -m benchmarks.extraction [--weights ../shared/weights] [--only pictures,jpegs] [--rounds 5] [--pictures 64]

All in this process and in turns; medians. CPU seconds are those of all threads, so that other work on the machine weighs less;
torch computes each peer on one thread. JPEGs are made up: smooth patches of 500 x 375 px with grain. The weights' folder holds
`mobilenet_v2-imagenet.safetensors`, `minilm` and `whisper-tiny-en`; what is not there is left out, and said.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.extraction import jpegs, pictures, reading, sounds, texts
from benchmarks.extraction.timing import HEADER, Row
from benchmarks.measure import machine

NETWORKS = ("mobilenet_v2", "resnet18")


def main() -> None:
    """Prints the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=Path("../shared/weights"))
    parser.add_argument("--only", default="reading,jpegs,texts,sounds,pictures")
    for name, value in {"rounds": 5, "pictures": 64, "jpegs": 200, "sentences": 400, "features": 100_000}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = options.rounds
    cases: dict[str, list[Callable[[], Iterator[Row]]]] = {
        "reading": [lambda: reading.measure(options.features, rounds)],
        "jpegs": [lambda: jpegs.measure(options.jpegs, rounds)],
        "texts": [lambda: texts.measure(options.weights, options.sentences, rounds)],
        "sounds": [lambda: sounds.measure(options.weights, rounds)],
        "pictures": [
            lambda network=network: pictures.measure(options.weights, network, options.pictures, rounds)  # type: ignore[misc]
            for network in NETWORKS
        ],
    }
    needed = {"texts": "minilm", "sounds": "whisper-tiny-en"}
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(cases):
        parser.error(f"--only {', '.join(sorted(unknown))}: not among {', '.join(cases)}")
    print(f"{machine('torch', 'torchvision', 'transformers', 'pyarrow')}; load {os.getloadavg()[0]:.1f}\n{HEADER}")
    for name in chosen:
        if name in needed and not (options.weights / needed[name]).is_dir():
            print(f"{name}: left out, no {options.weights / needed[name]}")
            continue
        for case in cases[name]:
            try:
                for row in case():
                    print(row.line(), flush=True)
            except ImportError as error:
                print(f"{name}: left out, {error}")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
