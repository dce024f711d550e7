"""`crossmodal check` on each hostile manifest, one by one: as the index expects, and in little memory."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.hostile import bare
from tests.support.paths import ROOT

pytestmark = [pytest.mark.shared, pytest.mark.slow]
READ_WITH_A_NOTE = {"manifest_csv/duckdb__bad_escape.csv"}
ENDINGS = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet"}
ABOUT_COLUMNS = re.compile(
    r"no column 'label'|none of its columns .* holds a medium|no usable cell|none of \d+ rows can be used"
)
"""A table that was read, and is no manifest: that is `ok` for a file that was made to test a reader."""
UNREADABLE = ("unreadable-row", "ragged-row", "nul-in-row")


@dataclass(frozen=True)
class Checked:
    """What came of one check."""

    got: str
    status: int
    peak_mb: float
    message: str


# A process counts what the one it was forked from had in memory: a small one in between keeps pytest's out of the measure.
MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(done.returncode)
"""


def check(path: Path, store: Path) -> Checked:
    """Runs the command; `got` is ok, or quarantine where the file or one of its rows could not be read."""
    command = [sys.executable, "-m", "flows", "check", str(path), "--json", "--store", str(store)]
    command += ["--set", "data.max_quarantined=1"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    *_, last, peak_mb = done.stdout.splitlines()
    message = json.loads(last).get("error", "")
    assert done.returncode in (0, 3), done.stderr
    assert bare(done.stdout + done.stderr) == set()
    tables = list(store.glob("runs/*/quarantine.csv"))
    reasons = {row["reason"] for row in csv.DictReader(tables[0].open(newline=""))} if tables else set()
    readable = done.returncode == 0 or ABOUT_COLUMNS.search(message)
    if reasons & set(UNREADABLE) or any(reason in message for reason in UNREADABLE):
        readable = None
    return Checked("ok" if readable else "quarantine", done.returncode, float(peak_mb), message)


def test_every_hostile_manifest_through_the_command_line(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "hostile"
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["modality"].startswith("manifest_")]
    assert len(rows) > 40
    wrong, lines = [], []
    for number, row in enumerate(rows):
        path = tmp_path / f"{number}{ENDINGS[row['format']]}"
        shutil.copyfile(folder / row["path"], path)
        done = check(path, tmp_path / f"store{number}")
        lines.append(f"{row['expected']:10} {done.got:10} {done.peak_mb:4.0f} MB {row['path']}: {done.message[-110:]}")
        fits = done.got == row["expected"] or (row["quarantine_also_fine"] == "1" and done.got == "quarantine")
        if row["path"] in READ_WITH_A_NOTE:
            fits = done.got == "ok"
        if not fits or done.peak_mb > 1000:
            wrong.append(lines[-1])
    print("\n".join(lines))
    assert wrong == []
