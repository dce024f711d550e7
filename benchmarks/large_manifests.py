"""What `crossmodal check` costs on large manifests: N text rows in one CSV, N small pictures in one Parquet file or in folders.

    python -m benchmarks.large_manifests [--texts 1000000] [--pictures 100000] [--files 100000] [--scan] [--set KEY=VALUE]…

Figures: wall and CPU seconds (children included), the peak memory of the process itself in MiB, and that of all its children
together (those that decode, read Parquet, match and validate), looked at twice a second; pages that they share count in each.
Each check runs in a process and a store of its own; writing the data is left out. The seconds of the stages are those of the
run's summary. Texts: 8 to 24 words of 20,000; pictures: PNG of 32 px, about 1 kB;
files: such pictures in a folder per class. With --scan the manifests are read and
digested, and nothing is decoded: the first half of ingest.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.measure import machine, time_command

_GROUP = 5_000
LABELS = 10


def main() -> None:
    """Prints a line for each kind of manifest that is asked for."""
    parser = argparse.ArgumentParser(description="check on large manifests")
    parser.add_argument("--texts", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=0)
    parser.add_argument("--files", type=int, default=0, help="pictures in a folder per class")
    parser.add_argument("--scan", action="store_true", help="only read the manifests")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--only", metavar="MANIFEST", help="one check in this process; prints its figures as JSON")
    options = parser.parse_args()
    if options.only:
        measured = scan_once if options.scan else check_once
        print(json.dumps(measured(Path(options.only), options.overrides)))
        return
    print(machine("pyarrow", "great-expectations"))
    for write, rows in (
        (write_texts, options.texts),
        (write_pictures, options.pictures),
        (write_files, options.files),
    ):
        if not rows:
            continue
        with tempfile.TemporaryDirectory() as folder:
            manifest = write(Path(folder), rows)
            command = [sys.executable, "-m", "benchmarks.large_manifests", "--only", str(manifest)]
            command += ["--scan"] if options.scan else []
            timing = time_command([*command, *(part for text in options.overrides for part in ("--set", text))])
            found = timing.summary
            stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in found["seconds"].items() if seconds)
            print(
                f"{rows:>9,} rows of {manifest.name}: {timing.wall_s:.1f} s wall, {timing.cpu_s:.1f} s CPU ({stages}), peak "
                f"{found['peak_mb']:.0f} MB (children {found['children_mb']:.0f} MB); {found['rows']}",
                flush=True,  # a hundred thousand files take longer to remove than to read
            )


def check_once(manifest: Path, overrides: list[str]) -> dict[str, Any]:
    """The check's rows and seconds, and peak memory in MB."""
    from flows.cli import main as crossmodal

    children = _ChildrenMemory()
    with tempfile.TemporaryDirectory() as store, contextlib.redirect_stdout(io.StringIO()) as out, children:
        arguments = ["check", str(manifest), "--store", store, "--json"]
        with contextlib.suppress(SystemExit):
            crossmodal([*arguments, *(part for text in overrides for part in ("--set", text))])
    summary = json.loads(out.getvalue().splitlines()[-1])
    if summary.get("error"):
        raise RuntimeError(summary["error"])
    return {
        "rows": summary["rows"],
        "seconds": summary["seconds"],
        "peak_mb": peak_mb(),
        "children_mb": children.peak_mb,
    }


def scan_once(manifest: Path, overrides: list[str]) -> dict[str, Any]:
    """As check_once of reading alone."""
    from tasks.config import load_config
    from tasks.ingest.manifest.scan import scan
    from tasks.store import Store

    children = _ChildrenMemory()
    with tempfile.TemporaryDirectory() as folder, children:
        store, began = Store(folder), time.perf_counter()
        raw = scan(load_config({}, overrides), store, manifest)
        return {
            "rows": {"in": raw.rows},
            "seconds": {"scan": time.perf_counter() - began},
            "peak_mb": peak_mb(),
            "children_mb": children.peak_mb,
        }


class _ChildrenMemory:
    """The largest sum of the resident memory of this process's descendants while the block runs."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        here = psutil.Process()
        while not self._ended.wait(0.5):
            total = 0
            for child in here.children(recursive=True):
                with contextlib.suppress(psutil.Error):  # it has ended
                    total += child.memory_info().rss
            self.peak_mb = max(self.peak_mb, total / 2**20)


def peak_mb() -> float:
    """Of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_texts(folder: Path, rows: int, fewest_words: int = 8, most_words: int = 24) -> Path:
    """A CSV of id, text and label."""
    rng = np.random.default_rng(0)
    words = np.array(
        ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(3, 10))) for _ in range(20_000)]
    )
    path = folder / "texts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        for row in range(rows):
            text = " ".join(words[rng.integers(0, len(words), rng.integers(fewest_words, most_words + 1))])
            writer.writerow([f"row-{row:08}", text, f"class {row % LABELS}"])
    return path


def write_pictures(folder: Path, rows: int) -> Path:
    """A Parquet file of id, image (struct<bytes, path>) and label."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("id", pa.string()), ("image", kind), ("label", pa.string())])
    path = folder / "pictures.parquet"
    encoded = _encode_pictures(rows)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, _GROUP):
            numbers = range(start, min(start + _GROUP, rows))
            images = [{"bytes": next(encoded), "path": f"{number}.png"} for number in numbers]
            columns = [
                [f"row-{number:08}" for number in numbers],
                pa.array(images, kind),
                [f"class {number % LABELS}" for number in numbers],
            ]
            writer.write_table(pa.table(columns, schema=schema))
    return path


def write_files(folder: Path, rows: int) -> Path:
    """A folder per class, with a PNG a row."""
    path = folder / "files"
    for label in range(LABELS):
        (path / f"class {label}").mkdir(parents=True)
    for number, picture in enumerate(_encode_pictures(rows)):
        (path / f"class {number % LABELS}" / f"{number:08}.png").write_bytes(picture)
    return path


def _encode_pictures(rows: int) -> Iterator[bytes]:
    """So many PNG of 32 px, each another one."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for _ in range(rows):
        blocks = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(blocks).resize((32, 32), Image.Resampling.NEAREST).save(encoded, "png")
        yield encoded.getvalue()


if __name__ == "__main__":
    main()
