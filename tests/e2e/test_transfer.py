"""The command that measures transfer, on few and small pictures: every regime from real weights to evaluated test rows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), ["head", "last-n", "lora", "full", "scratch"]),
        (("--all",), ["full, all pictures"]),
    ],
)
def test_the_table_has_a_row_for_every_recipe(shared_data: Path, arguments: tuple[str, ...], names: list[str]) -> None:
    data = shared_data / ("cifar10" if arguments else "cifar10_12k/manifest.csv")
    weights = shared_data.parent / "weights" / "mobilenet_v2-imagenet.safetensors"
    command = [sys.executable, "-m", "benchmarks.transfer", *arguments, "--data", str(data), "--weights", str(weights)]
    small = ["--sample", "300", "--px", "32", "--epochs", "1"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, check=True, cwd=ROOT)
    table = done.stdout.partition("|---")[2]
    assert re.findall(r"^\| ([a-z][^|]+) \| \d+ \| [\d.]+ % \|", table, re.MULTILINE) == names
