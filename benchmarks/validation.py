"""What Great Expectations costs: the suite on samples.parquet against the same checks in pyarrow.compute.

    python -m benchmarks.validation [--rows 10000 100000 1000000] [--limit-s 60]

Both check the same table in memory: image and text digests, three splits, ten classes. Great Expectations' time counts the
conversion to pandas, the suite and its page of Data Docs; its import (once per process) is timed apart. A size that
would take longer than the limit, going by the size before it, is left out and said to be.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.measure import machine
from data_contracts.expectations.samples import (
    DIGEST,
    MAX_MISSING,
    RAREST_CLASS,
    known_labels,
    samples_expectations,
    samples_frame,
)
from data_contracts.refs import InputName
from data_contracts.tables import samples_schema

MODALITIES: tuple[InputName, ...] = ("image", "text")
LABELS = tuple("0123456789")


def main() -> None:
    """Prints the seconds of Great Expectations and of pyarrow for each number of rows, and their ratio."""
    parser = argparse.ArgumentParser(description="Great Expectations against pyarrow.compute")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--limit-s", type=float, default=60.0)
    options = parser.parse_args()
    print(machine("great-expectations", "pyarrow", "pandas"))
    start = time.perf_counter()
    run_gx(make_samples(100))
    print(f"import of Great Expectations and a first suite: {time.perf_counter() - start:.1f} s\n")
    print(f"{'rows':>10} {'GX s':>9} {'pyarrow s':>10} {'ratio':>8}")
    expected = 0.0
    for rows in options.rows:
        if expected * rows > options.limit_s:
            print(f"{rows:>10,}   left out: about {expected * rows:.0f} s, more than --limit-s {options.limit_s:g}")
            continue
        samples = make_samples(rows)
        arrow_s = timed(lambda table=samples: run_arrow(table))  # type: ignore[misc]
        gx_s = timed(lambda table=samples: run_gx(table))  # type: ignore[misc]
        expected = gx_s / rows
        print(f"{rows:>10,} {gx_s:>9.2f} {arrow_s:>10.3f} {gx_s / arrow_s:>7.0f}x")


def timed(run: Callable[[], dict[str, bool]]) -> float:
    """Seconds of one run, in which every check must be met."""
    start = time.perf_counter()
    outcomes = run()
    seconds = time.perf_counter() - start
    broken = [name for name, met in outcomes.items() if not met]
    if broken:
        raise RuntimeError(f"checks that should be met are broken: {broken}")
    return seconds


def make_samples(rows: int) -> pa.Table:
    """A good table: 70 % train, 15 % val, 15 % test, every tenth text missing."""
    digests = [hashlib.sha256(str(row).encode()).hexdigest() for row in range(rows)]
    columns = {
        "id": [f"sample-{row:08}" for row in range(rows)],
        "label": [LABELS[row % 10] for row in range(rows)],
        "targets": pa.nulls(rows, pa.string()),
        "split": [("test", "val", "train")[min(row % 20 // 3, 2)] for row in range(rows)],
        "group": pa.nulls(rows, pa.string()),
        "weight": [1.0] * rows,
        "image": digests,
        "text": [None if row % 10 == 9 else digest for row, digest in enumerate(digests)],
        "audio": pa.nulls(rows, pa.string()),
        "video": pa.nulls(rows, pa.string()),
        "row": list(range(1, rows + 1)),
        "table": pa.nulls(rows, pa.string()),
    }
    return pa.table(columns, schema=samples_schema())


def run_gx(samples: pa.Table) -> dict[str, bool]:
    """Name to outcome, as the validate stage computes it."""
    from tasks.validate.suite import run_suite

    result = run_suite(
        "samples", samples_frame(samples, MODALITIES), samples_expectations(known_labels(LABELS), MODALITIES)
    )
    return {outcome.name: outcome.success for outcome in result.outcomes}


def run_arrow(samples: pa.Table) -> dict[str, bool]:
    """The same checks, under the same names; no examples, no page."""
    rows = samples.num_rows
    split, label, weight, name = (samples[column] for column in ("split", "label", "weight", "id"))
    present = [pc.is_valid(samples[modality]).cast(pa.int8()) for modality in MODALITIES]
    sizes = label.value_counts()
    smallest = pc.min(pc.struct_field(sizes, "counts")).as_py() * len(sizes) / rows
    outcomes = {
        "columns_complete": set(samples_schema().names) <= set(samples.column_names),
        "id_given": name.null_count == 0,
        "id_unique": pc.count_distinct(name).as_py() == rows,
        "split_given": split.null_count == 0,
        "split_known": pc.all(pc.is_in(split, pa.array(["train", "val", "test"]))).as_py(),
        "train_rows": pc.sum(pc.equal(split, "train")).as_py() >= 1,
        "weight_given": weight.null_count == 0,
        "weight_positive": pc.all(pc.and_(pc.greater(weight, 0), pc.less_equal(weight, 1e9))).as_py(),
        "label_given": label.null_count == 0,
        "label_known": pc.all(pc.is_in(label, pa.array(LABELS))).as_py(),
        "class_balance": smallest >= RAREST_CLASS,
        "modality_present": pc.min(pc.add(*present)).as_py() >= 1,
    }
    for modality in MODALITIES:
        column = samples[modality]
        outcomes[f"{modality}_digest"] = pc.all(pc.match_substring_regex(column, DIGEST)).as_py()
        outcomes[f"{modality}_missing"] = column.null_count <= MAX_MISSING * rows
    return outcomes


if __name__ == "__main__":
    main()
