"""What `crossmodal score` costs on many rows: seconds, and memory as it goes on.

    python -m benchmarks.scoring [--rows 50000,200000] [--part-rows 5000]

A small model of texts (`tiny`, one epoch on 2,000 rows) scores manifests of so many rows, each in a store of its own that holds
the model. Memory is what the command and all its processes hold (PSS: what they share counts once), looked at once a second;
told are the largest figure of each quarter of the parts, and the largest of all, which may be before the first part: while
the manifest is read. The texts have 2 to 5 words of 20,000. Writing the manifests and training are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.large_manifests import write_texts
from benchmarks.measure import TINY, machine, program, time_command

TRAIN_ROWS = 2_000
WORDS = 2, 5
"""The fewest and the most of a text."""
_EVERY_S = 1.0


@dataclass(frozen=True)
class Moment:
    """A look at the command."""

    parts: int
    """That were written by then."""
    memory_mb: float


def main() -> None:
    """Prints a line for each number of rows."""
    parser = argparse.ArgumentParser(description="score on many rows")
    parser.add_argument("--rows", default="50000,200000")
    parser.add_argument("--part-rows", type=int, default=5_000)
    options = parser.parse_args()
    print(machine("torch", "pyarrow"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = train(folder)
        for rows in map(int, options.rows.split(",")):
            print(score(folder, trained, rows, options.part_rows), flush=True)


def train(folder: Path) -> Path:
    """The store that holds the model."""
    store, data = folder / "trained", folder / "train"
    data.mkdir()
    command = [
        program("crossmodal"),
        "retrain",
        "--data",
        str(write_texts(data, TRAIN_ROWS, *WORDS)),
        "--store",
        str(store),
    ]
    settings = [*TINY, "name=texts", "train.epochs=1", "train.threads=1", "gate.rules=[]"]
    time_command([*command, "--plain", "--json", *(part for text in settings for part in ("--set", text))])
    return store


def score(folder: Path, trained: Path, rows: int, part_rows: int) -> str:
    """What scoring so many rows took."""
    place = folder / f"rows-{rows}"
    place.mkdir()
    shutil.copytree(trained, place / "store")
    manifest = write_texts(place, rows, *WORDS)
    command = [program("crossmodal"), "score", str(manifest), "--model", "texts", "--store", str(place / "store")]
    command += ["--part-rows", str(part_rows), "--out", str(place / "scores"), "--json"]
    began, load = time.perf_counter(), os.getloadavg()[0]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        moments = watch(process, place / "scores")
        out.seek(0)
        summary = json.loads(out.read().splitlines()[-1])
    wall_s = time.perf_counter() - began
    if summary.get("error"):
        raise RuntimeError(summary["error"])
    done = summary["scored"][0]
    quarters = ", ".join(f"{peak:.0f}" for peak in peaks_by_quarter(moments, done["parts"]))
    stages = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in summary["seconds"].items() if seconds)
    shutil.rmtree(place)
    return (
        f"{rows:>9,} rows: {done['scored']:,} scored in {done['parts']} parts, {wall_s:.0f} s ({stages}; load {load:.1f} "
        f"at the start), {rows / wall_s:.0f} rows/s; memory by quarter of the parts {quarters} MB, at most "
        f"{max(moment.memory_mb for moment in moments):.0f} MB"
    )


def watch(process: subprocess.Popen[bytes], scores: Path) -> list[Moment]:
    """Looks until the command has ended."""
    here, moments = psutil.Process(process.pid), []
    while process.poll() is None:
        total = 0.0
        with contextlib.suppress(psutil.Error):  # one that has ended
            for each in [here, *here.children(recursive=True)]:
                total += each.memory_full_info().pss / 1e6
        moments.append(Moment(len(list(scores.rglob("part-*.parquet"))), total))
        time.sleep(_EVERY_S)
    return moments


def peaks_by_quarter(moments: list[Moment], parts: int) -> list[float]:
    """The largest memory while each quarter of the parts was made, from the first part on."""
    return [
        max(
            (moment.memory_mb for moment in moments if moment.parts and 4 * (moment.parts - 1) // parts == quarter),
            default=0.0,
        )
        for quarter in range(4)
    ]


if __name__ == "__main__":
    main()
