"""What is added to two pretrained networks by being served: a picture and a sentence, MobileNetV2 and MiniLM.

    python -m benchmarks.serving_backbones --image mobilenet_v2.safetensors --text minilm [--rounds 5]

`--image` is a state dict of torchvision's mobilenet_v2, `--text` a folder of transformers. A head is trained on both frozen
encoders with 400 rows of the digits, in a store of its own. The bare forward passes are those of the libraries' own modules
(torchvision's network, transformers' AutoModel), in inference mode, on one thread as the server's, of inputs that are tensors
already: a picture of 224 px, and as many tokens as the sentence has. They, the same row in process and over HTTP take turns,
medians over all rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import crossmodal
from benchmarks.measure import machine, median, program, time_command
from benchmarks.serving import closed_loop, example_row, serving

ONE = 40
"""Rows of a round, one after the other."""
IMAGE_PX = 224


def main() -> None:
    """Prints the medians and their ratios."""
    parser = argparse.ArgumentParser(description="two pretrained networks, bare and served")
    parser.add_argument("--image", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    row = {name: value for name, value in example_row().items() if name != "audio"}
    body = json.dumps({"rows": [{**row, "image": base64.b64encode(row["image"]).decode()}]}).encode()
    print(machine("torch", "torchvision", "transformers"))
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        train(store, options.image, options.text)
        bare = bare_passes(options.image, options.text, row["text"])
        model = crossmodal.load("digits", store=store)
        ways: dict[str, Callable[[], object]] = {
            "bare forward passes": bare,
            "in process": lambda: model.predict([row]),
        }
        found: dict[str, list[float]] = {name: [] for name in [*ways, "over HTTP"]}
        with serving("digits", store) as (port, _):
            for number in range(options.rounds + 1):  # the first round warms up
                taken = {name: seconds_of(way) for name, way in ways.items()}
                taken["over HTTP"] = asyncio.run(closed_loop(port, body, 1, ONE)).seconds
                for name, seconds in taken.items() if number else ():
                    found[name] += seconds
    first = median(found["bare forward passes"])
    for name, seconds in found.items():
        print(
            f"{name:20} p50 {1000 * median(seconds):6.1f} ms, {median(seconds) / first:.2f} x the bare forward passes"
        )
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


def train(store: str, image: str, text: str) -> None:
    """The store has a model with both encoders."""
    settings = [
        "data.max_rows=400",
        "train.epochs=3",
        "train.threads=1",
        "encoders.audio=off",
        f"encoders.image=torchvision:mobilenet_v2@{Path(image).absolute()}",
        f"encoders.text=hf:{Path(text).absolute()}",
    ]
    command = [program("crossmodal"), "retrain", "--profile", "digits", "--plain", "--store", store, "--json"]
    time_command([*command, *(part for setting in settings for part in ("--set", setting))])


def bare_passes(image: str, text: str, sentence: str) -> Callable[[], object]:
    """What runs both networks once, as their libraries have them."""
    from safetensors.torch import load_file
    from torchvision.models import mobilenet_v2
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    network = mobilenet_v2()
    network.load_state_dict(load_file(image))
    network.eval()
    language = AutoModel.from_pretrained(text, dtype=torch.float32).eval()
    tokens = AutoTokenizer.from_pretrained(text)(sentence, return_tensors="pt")
    picture = torch.rand(1, 3, IMAGE_PX, IMAGE_PX)

    def run() -> object:
        """Both outputs."""
        with torch.inference_mode():
            return network(picture), language(**tokens)

    return run


def seconds_of(way: Callable[[], object]) -> list[float]:
    """The times of a round."""
    times = []
    for _ in range(ONE):
        began = time.perf_counter()
        way()
        times.append(time.perf_counter() - began)
    return times


if __name__ == "__main__":
    main()
