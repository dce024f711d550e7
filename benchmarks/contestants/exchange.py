"""What is handed to a contestant and what it hands back. Loads nothing heavy."""

from __future__ import annotations

import csv
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypedDict

Row = dict[str, str]
Split = Literal["train", "val", "test"]


class Request(TypedDict):
    """What a contestant is asked for, as JSON in a file."""

    tables: dict[Split, str]
    """Split to a CSV with the columns id, label and the inputs: pictures and sounds as absolute paths."""
    inputs: dict[str, str]
    """Input to the folder of its backbone."""
    work: str
    """Its own folder; what `fit` leaves here is what `answer` loads."""
    roots: list[str]
    """Folders below which the media lie."""
    regime: Literal["head", "full"]
    epochs: int
    px: int
    """Side of the pictures as the backbone sees them."""
    threads: int
    seed: int
    time_limit_s: int
    """Of AutoMM's fit."""
    one_row_calls: int


class Answers(TypedDict):
    """What `answer` prints."""

    predicted: list[str]
    """Of the test rows, in their order."""
    row_ms: float
    """Median of one row, from its files to its label."""
    batch_rows_per_s: float
    """Of all test rows in one call."""
    bytes: int
    """On disk, of all that is needed to answer elsewhere but the libraries."""


def read_rows(request: Request, split: Split) -> list[Row]:
    """The rows of a split."""
    with Path(request["tables"][split]).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def measure_answers(request: Request, answer: Callable[[Sequence[Row]], list[str]], files: Sequence[Path]) -> Answers:
    """The test rows answered, one by one and all together, after one call that warms up."""
    rows = [{name: row[name] for name in request["inputs"]} for row in read_rows(request, "test")]
    one = []
    for row in rows[: request["one_row_calls"] + 1]:
        began = time.perf_counter()
        answer([row])
        one.append(time.perf_counter() - began)
    began = time.perf_counter()
    predicted = answer(rows)
    took = time.perf_counter() - began
    return Answers(
        predicted=predicted,
        row_ms=1000 * statistics.median(one[1:]),
        batch_rows_per_s=len(rows) / took,
        bytes=size_of(files),
    )


def size_of(places: Sequence[Path]) -> int:
    """Bytes of files, and of all files in folders."""
    files = {file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()}
    return sum(file.stat().st_size for file in files)


def main(fit: Callable[[Request], None], answer: Callable[[Request], Answers]) -> None:
    """`fit REQUEST` or `answer REQUEST`: prints the answers as JSON."""
    request: Request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    if sys.argv[1] == "fit":
        fit(request)
        print("{}")
    else:
        print(json.dumps(answer(request)))
