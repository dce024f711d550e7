"""What an unchanged retrain costs, and one of 1 % new rows: beside the first, `crossmodal plan`, and the same under Prefect.

    python -m benchmarks.incremental [--rows 60000] [--runs 3] [--data FOLDER --store STORE]

Counted: whole commands from outside, CPU (user and system, with subprocesses) and wall. Left out: the Prefect server, which
runs already, as under `crossmodal up`. Pictures of 32 px under `tiny`, one epoch, without near duplicates and classical
baselines.
`--data`: a folder of an earlier call, which may be written to. Goals: plan 1.5 CPU-s, unchanged 3 CPU-s, Prefect 1.5 × that.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import Timing, machine, median, program, time_command

SETTINGS = (
    *("encoders.image=tiny", "train.epochs=1", "train.heads=single", "evaluate.classical_rows=0"),
    *("split.near_duplicates=false", "train.threads=1"),
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
SETTLED_S = 3.0  # files that were changed within the last two seconds are read again


def write_rows(manifest: Path, count: int) -> None:
    """The manifest has so many rows more, of its labels in turn; a picture is the brighter, the later its label comes."""
    if not manifest.exists():
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text("image,label,split\n", encoding="utf-8")
    with manifest.open(newline="", encoding="utf-8") as file:
        before = list(csv.DictReader(file))
    labels = sorted({row["label"] for row in before}) or ["dark", "bright"]
    with manifest.open("a", newline="", encoding="utf-8") as file:
        for number in range(len(before), len(before) + count):
            name = f"pictures-{number // 1000:04}/{number:07}.png"
            (manifest.parent / name).parent.mkdir(exist_ok=True)
            light = 128 * (number % len(labels)) // len(labels)
            pixels = np.random.default_rng(number).integers(light, light + 128, (32, 32, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(manifest.parent / name)
            split = ("train", "train", "train", "val", "test")[number // len(labels) % 5]
            csv.writer(file).writerow((name, labels[number % len(labels)], split))


@contextlib.contextmanager
def running_server(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a Prefect server that answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = {"PREFECT_HOME": str(folder / "prefect")}
    command = [program("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, **ENVIRONMENT, **home}, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/api"
            while True:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{url}/health", timeout=5).close()
                    break
                time.sleep(1)
            yield {**ENVIRONMENT, **home, "PREFECT_API_URL": url}
        finally:
            server.terminate()
            server.wait()


def show(title: str, timings: list[Timing], beside: str = "") -> float:
    """A line; the median CPU-seconds."""
    cpu, wall = median([each.cpu_s for each in timings]), median([each.wall_s for each in timings])
    runs = ", ".join(f"{each.cpu_s:.2f}" for each in timings)
    print(f"{title:<34} cpu {cpu:8.2f} s   wall {wall:8.2f} s   ({runs}){beside}", flush=True)
    return cpu


def main() -> None:
    """Prints a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--store", type=Path)
    options = parser.parse_args()
    print(machine("prefect", "mlflow", "torch", "pyarrow"))
    with tempfile.TemporaryDirectory() as scratch:
        data, store = options.data or Path(scratch) / "data", options.store or Path(scratch) / "store"
        manifest = data / "manifest.csv"
        if not manifest.exists():
            write_rows(manifest, options.rows)
        time.sleep(SETTLED_S)
        common = ["--data", str(manifest), "--store", str(store), "--json"]
        common += [word for setting in SETTINGS for word in ("--set", setting)]
        plain = [program("crossmodal"), "retrain", *common, "--plain"]

        def several(command: list[str], environment: dict[str, str], verdict: str | None = "unchanged") -> list[Timing]:
            """The command, so many times, the first left out: it may have something to keep for the others."""
            found = [time_command(command, environment) for _ in range(options.runs + 1)][1:]
            assert verdict is None or {each.summary["verdict"] for each in found} == {verdict}
            return found

        first = time_command(plain, ENVIRONMENT)
        whole = show("the first retrain", [first], f"; {first.summary['verdict']}")
        show("plan, unchanged", several([program("crossmodal"), "plan", *common], ENVIRONMENT, None))
        show(
            "plan --verify, unchanged", several([program("crossmodal"), "plan", *common, "--verify"], ENVIRONMENT, None)
        )
        again = several(plain, ENVIRONMENT)
        unchanged = show("retrain --plain, unchanged", again)
        with running_server(Path(scratch)) as environment:
            under = several([program("crossmodal"), "retrain", *common], environment)
        cpu = median([one.cpu_s for one in under]) / unchanged
        wall = median([one.wall_s for one in under]) / median([one.wall_s for one in again])
        show("retrain under Prefect, unchanged", under, f"; of plain: cpu {cpu:.2f}, wall {wall:.2f}")
        write_rows(manifest, max(2, again[0].summary["rows"]["in"] // 100))
        time.sleep(SETTLED_S)
        changed = time_command(plain, ENVIRONMENT)
        share = 100 * (changed.cpu_s - unchanged) / whole
        seconds = ", ".join(f"{stage} {value:.1f}" for stage, value in changed.summary["seconds"].items())
        show("retrain --plain, 1 % new rows", [changed], f"; beyond the unchanged one {share:.1f} % of the first")
        print(f"{'':<34} {seconds}; computed {changed.summary['work']['computed']}")


if __name__ == "__main__":
    main()
