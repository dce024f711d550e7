"""Broken and strange files: what `crossmodal check` makes of each, beside what is expected of it.

    python -m benchmarks.hostile [--data ../shared/data/hostile] [--all]

One check per medium, over a manifest of that medium's files, and one per manifest file, all in this process; media are
decoded in worker processes as always. Peak memory is this process's own (VmHWM), with all libraries. The slowest
file is that of a second decoding of each medium in one worker that is already warm; start-up is left out.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow.parquet as pq

from benchmarks.measure import machine
from data_contracts.refs import Modality
from flows.prepare import check_manifest
from flows.request import make_request, resolve_config
from flows.run_failed import RunFailed
from tasks.config_sections import MediaConfig
from tasks.errors import CrossmodalError, DataError, UsageError
from tasks.ingest.sources.detect import open_manifest
from tasks.media.pool import Job, decode_all

DATA = "../shared/data/hostile"
MEDIA: tuple[Modality, ...] = ("image", "text", "audio", "video")
_BACKSLASH_ESCAPE = '\\" is a quotation mark in'
_SUFFIXES = {"manifest_csv": ".csv", "manifest_jsonl": ".jsonl", "manifest_parquet": ".parquet"}


@dataclass(frozen=True)
class Outcome:
    """What one file gave."""

    path: str
    kind: str
    expected: str
    got: str
    """ok, or quarantine."""
    detail: str
    debatable: bool
    seconds: float
    warning: str = ""

    @property
    def as_expected(self) -> bool:
        """A debatable file may be refused. What is not standard is as good as what is, where it is read and said to be so:
        a text in another encoding, a table whose quotation marks are escaped by a backslash.
        """
        detected = self.kind == "text" and self.warning.startswith("not UTF-8, read as")
        detected |= self.kind == "manifest_csv" and _BACKSLASH_ESCAPE in self.warning
        return self.got == self.expected or (self.debatable and self.got == "quarantine") or detected


def run_all(data: Path, work: Path) -> list[Outcome]:
    """The outcome of every file of index.csv; `work` takes the manifests and the stores."""
    with (data / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    outcomes: list[Outcome] = []
    for medium in MEDIA:
        outcomes += _check_media(medium, [row for row in rows if row["modality"] == medium], data, work)
    for number, row in enumerate(row for row in rows if row["modality"] in _SUFFIXES):
        outcomes.append(_check_manifest(row, data, work / f"table-{number}"))
    return outcomes


def _check_media(medium: Modality, rows: list[dict[str, str]], data: Path, work: Path) -> list[Outcome]:
    manifest = work / medium / "manifest.csv"
    manifest.parent.mkdir(parents=True)
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", f"{medium}_path"])
        writer.writerows([row["path"], "any", str(data.resolve() / row["path"])] for row in rows)
    store = work / medium / "store"
    overrides = ["data.max_quarantined=1", f'data.allowed_roots=["{data.resolve()}"]', "media.timeout_s=600"]
    refused = _check(manifest, store, overrides)
    seconds = _time_decoding(medium, [data.resolve() / row["path"] for row in rows])
    outcomes = []
    for row in rows:
        reason = refused.get(row["path"], "")
        got = "quarantine" if reason and not reason.startswith("duplicate:") else "ok"
        took_s, warning = seconds.get(row["path"], (0.0, ""))
        debatable = row["quarantine_also_fine"] == "1"
        detail = reason or warning
        outcomes.append(Outcome(row["path"], medium, row["expected"], got, detail, debatable, took_s, warning))
    return outcomes


def _check(manifest: Path, store: Path, overrides: list[str]) -> dict[str, str]:
    """Ids that were not used, with reason and detail, as the check's own quarantine table has them."""
    config = resolve_config(None, str(manifest), overrides)
    request = make_request(config, str(store), None, "hostile")
    check_manifest(request)
    found: dict[str, str] = {}
    for part in sorted(store.glob("clean/*/quarantine.parquet")):
        for row in pq.read_table(part, columns=["id", "reason", "detail"]).to_pylist():
            found[row["id"]] = f"{row['reason']}: {row['detail']}"
    return found


def _time_decoding(medium: Modality, paths: Sequence[Path]) -> dict[str, tuple[float, str]]:
    """Seconds and warning of each file, one after the other in one worker; the first, which starts it, goes twice."""
    paths = [path for path in paths if path.stat().st_size]
    jobs = [Job(medium, hashlib.sha256(path.read_bytes()).hexdigest(), str(path)) for path in [paths[0], *paths]]
    last = time.perf_counter()
    found: dict[str, tuple[float, str]] = {}
    for outcome in decode_all(jobs, MediaConfig(timeout_s=600).model_dump(mode="json"), 1):
        now = time.perf_counter()
        path = Path(cast(str, outcome.job.path))
        found[f"{path.parent.name}/{path.name}"] = (now - last, str(outcome.header.get("warning") or ""))
        last = now
    return found


def _check_manifest(row: dict[str, str], data: Path, work: Path) -> Outcome:
    """Readable as a table, refused as a whole, or (scope `row`) read with some rows refused."""
    work.mkdir(parents=True)
    copy = work / f"table{_SUFFIXES[row['modality']]}"  # what it is taken for, whatever its name was
    shutil.copyfile(data / row["path"], copy)
    start = time.perf_counter()
    warning = ""
    try:
        tables = open_manifest(copy)
        warning = "; ".join(note for manifest, _ in tables for note in manifest.notes)
        bad = [line for manifest, _ in tables for line in manifest.rows if line.reason is not None]
        got, detail = ("quarantine", f"{len(bad)} rows: {bad[0].reason}") if bad else ("ok", "")
    except (DataError, UsageError) as error:
        got, detail = "quarantine", str(error).replace(str(work), "")
    try:
        _check(copy, work / "store", ["data.max_quarantined=1"])
    except (RunFailed, CrossmodalError) as error:  # a table of something else has no label and no media: that is said
        detail = detail or f"check: {str(error).replace(str(work), '')}"
    seconds = time.perf_counter() - start
    return Outcome(
        row["path"], row["modality"], row["expected"], got, detail, row["quarantine_also_fine"] == "1", seconds, warning
    )


def peak_mb() -> float:
    """The largest memory this process has had, in MB. Not ru_maxrss, which counts the parent's memory before exec, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def main() -> None:
    """Prints how many files of each medium were accepted or refused as expected, and those that were not."""
    parser = argparse.ArgumentParser(description="Broken and strange files: expected and got")
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--all", action="store_true", help="print every file, not only what is not as expected")
    options = parser.parse_args()
    print(machine("pillow", "soundfile", "av", "pyarrow"))
    with tempfile.TemporaryDirectory() as work:
        outcomes = run_all(Path(options.data), Path(work))
    heads = ("files", "ok, ok", "ok, refused", "refused, ok", "refused, refused", "as expected")  # expected, got
    print(f"{'medium':<18}" + "".join(f"{head:>{len(head) + 2}}" for head in heads))
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        here = [outcome for outcome in outcomes if outcome.kind == kind]
        cells = Counter((outcome.expected, outcome.got) for outcome in here)
        table = [cells[e, g] for e in ("ok", "quarantine") for g in ("ok", "quarantine")]
        expected = sum(outcome.as_expected for outcome in here)
        print(f"{kind:<18}{len(here):>6}{table[0]:>8}{table[1]:>13}{table[2]:>13}{table[3]:>18}{expected:>13}")
    for outcome in outcomes:
        if options.all or not outcome.as_expected:
            mark = "" if outcome.as_expected else "NOT AS EXPECTED  "
            print(
                f"{mark}{outcome.path}  {outcome.expected} -> {outcome.got}  {outcome.seconds:.2f} s  {outcome.detail[:200]}"
            )
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    good = sum(outcome.as_expected for outcome in outcomes)
    print(
        f"{good} of {len(outcomes)} as expected; slowest {slowest.path} {slowest.seconds:.2f} s; peak {peak_mb():.0f} MB"
    )


if __name__ == "__main__":
    main()
