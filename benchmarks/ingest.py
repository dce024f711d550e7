"""What isolation costs: ingest of a manifest with decoding in processes of their own, and with the same decoders here.

    python -m benchmarks.ingest [--data ../shared/data/cifar10] [--runs 3] [--workers N] [--sample ROWS]

Figure: wall seconds of scan and ingest (read, digest, decode, store, mark repeats), each in a fresh process and a fresh store,
interleaved. On: media and Parquet are read in limited processes. Off: the same functions on as many threads of this one, no
pipe between. Left out: the start of Python and its imports. Goal: on / off at most 1.3.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.measure import Timing, machine, median, time_command

_AHEAD = 64  # batches handed to the threads before the first is done: memory stays bounded


def main() -> None:
    """Prints the medians of ingest with decoding in processes of their own and here, and their ratio."""
    parser = argparse.ArgumentParser(description="What isolation costs")
    parser.add_argument("--data", default="../shared/data/cifar10")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--only", choices=("on", "off"), help="one run in this process; prints its seconds as JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(ingest_once(options)))
        return
    print(machine("pillow", "pyarrow"))
    command = [sys.executable, "-m", "benchmarks.ingest", "--data", options.data, "--workers", str(options.workers)]
    command += ["--sample", str(options.sample)] if options.sample else []
    timings: dict[str, list[Timing]] = {"on": [], "off": []}
    for turn in range(options.runs):
        for kind in ("on", "off") if turn % 2 == 0 else ("off", "on"):
            timings[kind].append(time_command([*command, "--only", kind]))
    for kind, found in timings.items():
        rows = found[0].summary["rows"]
        seconds = median([timing.summary["total"] for timing in found])
        parts = ", ".join(
            f"{part} {median([timing.summary[part] for timing in found]):.1f} s" for part in ("scan", "ingest")
        )
        cpu = median([timing.cpu_s for timing in found])
        print(f"isolation {kind:3}  {rows / seconds:7.0f} rows/s  {seconds:6.1f} s ({parts}), cpu {cpu:.1f} s")
    ratios = [on.summary["total"] / off.summary["total"] for on, off in zip(timings["on"], timings["off"], strict=True)]
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"on / off: {median(ratios):.2f} (runs: {shown}; {options.workers} workers); goal 1.3")


def ingest_once(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of scan and ingest, and the rows; with `off` the isolated parts are replaced first."""
    from tasks.config import load_config
    from tasks.ingest import decode
    from tasks.ingest.ingest import ingest
    from tasks.ingest.manifest.scan import scan
    from tasks.ingest.sources import isolated
    from tasks.store import Store

    sample = [f"data.max_rows={options.sample}"] if options.sample else []
    config = load_config({}, [f"runtime.workers={options.workers}", *sample])
    with contextlib.ExitStack() as stack:
        if options.only == "off":
            import tasks.media.worker  # noqa: F401 - the decoders; their import is no part of the figure

            stack.enter_context(mock.patch.object(decode, "decode_all", decode_here))
            stack.enter_context(mock.patch.object(isolated, "_converse", read_here))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        store = Store(folder)
        store.prepare()
        start = time.perf_counter()
        raw = scan(config, store, Path(options.data).absolute())
        scanned = time.perf_counter()
        clean = ingest(raw, config, store)
        done = time.perf_counter()
    assert clean.counts.quarantined == 0
    return {"rows": clean.counts.rows_in, "scan": scanned - start, "ingest": done - scanned, "total": done - start}


def decode_here(jobs: Iterator[Any], limits: dict[str, Any], workers: int) -> Iterator[Any]:
    """Stands in for tasks.media.pool.decode_all, without processes."""
    from tasks.media.pool import _batches

    with ThreadPoolExecutor(workers) as threads:
        waiting = []
        for batch in _batches(jobs):
            waiting.append(threads.submit(_decode_batch, batch, limits))
            if len(waiting) > _AHEAD:
                yield from waiting.pop(0).result()
        for future in waiting:
            yield from future.result()


def _decode_batch(batch: Sequence[Any], limits: dict[str, Any]) -> list[Any]:
    import hashlib

    from tasks.media.pool import Decoded, Outcome
    from tasks.media.worker import DECODERS, read_file

    outcomes = []
    for job in batch:
        data = read_file(job.path, limits) if job.path else job.inline
        assert hashlib.sha256(data).hexdigest() == job.sha256
        canonical = DECODERS[job.modality](data, limits)
        header: Outcome = {
            "digest": canonical.digest,
            "shape": list(canonical.shape),
            "rate_hz": canonical.rate_hz,
            "warning": canonical.warning,
        }
        outcomes.append(Decoded(job, header, canonical.data))
    return outcomes


def read_here(path: Path, request: dict[str, Any], limits: Any) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Stands in for the process that reads Parquet: its functions, called here."""
    from tasks.ingest.sources.parquet_worker import open_parquet, send_media, send_rows

    answers: list[tuple[dict[str, Any], bytes]] = []

    def keep(header: Mapping[str, Any], payload: bytes = b"") -> None:
        """A part of the answer is kept, as the worker would send it."""
        answers.append((dict(header), payload))

    file = open_parquet(str(path), limits.manifest_mb)
    if request["want"] == "rows":
        send_rows(file, keep)
    else:
        send_media(file, request["column"], set(request["rows"]), keep)
    yield from answers


if __name__ == "__main__":
    main()
