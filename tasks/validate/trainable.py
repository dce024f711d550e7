"""What a table lacks to be trained on. `check` prints it as notes, `retrain` stops at the first."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

SPLITS = ("train", "val", "test")
NAMED = 5


def trainable_problems(samples: pa.Table, min_test_per_class: int = 0) -> list[str]:
    """One line per reason why these samples (data_contracts.tables.samples_schema) cannot be trained on; [] for none.

    Every class needs `min_test_per_class` test rows, classes that occur in train or val only among them.
    """
    splits = samples["split"].to_pylist()
    labels = samples["label"].to_pylist()
    present = Counter(splits)
    problems = [
        f"{split}: no rows; add rows with split={split}, or leave the split column out (data.columns.split)"
        " to let crossmodal divide them"
        for split in SPLITS
        if not present[split]
    ]
    sizes = Counter(labels)
    if len(sizes) == 1:
        problems.append(f"label: one class only ({labels[0]!r}); a classifier needs samples of at least two")
    single = sorted(label for label, size in sizes.items() if size == 1)
    if single:
        problems.append(f"label: a single sample of {_listed(single)}; add samples, or remove the class")
    learned = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    for split in SPLITS[1:]:
        unseen = sorted({label for label, side in zip(labels, splits, strict=True) if side == split} - learned)
        if unseen and learned:
            problems.append(f"label: {split} holds {_listed(unseen)}, never seen in train; move some samples to train")
    return problems + (_too_few_tests(labels, splits, min_test_per_class) if present["test"] else [])


def _too_few_tests(labels: list[str], splits: list[str], least: int) -> list[str]:
    """A line that names the classes with fewer test rows than asked for, or nothing."""
    tests = tests_per_class(labels, splits)
    few = sorted(label for label, count in tests.items() if count < least)
    if not few:
        return []
    return [
        f"test: {_listed(few)} with fewer than split.min_test_per_class = {least} test rows (the fewest: "
        f"{min(tests.values())}); add samples, merge or remove the class, raise split.test, or lower the limit"
    ]


def untested_classes(samples: pa.Table) -> list[str]:
    """A line that names the classes without a test row, where there is a test split; else nothing."""
    if not {"label", "split"} <= set(samples.column_names):
        return []
    tests = tests_per_class(samples["label"].to_pylist(), samples["split"].to_pylist())
    untested = sorted(str(label) for label, count in tests.items() if not count)
    if not untested or not any(tests.values()):
        return []
    return [
        f"test: no rows of {_listed(untested)}; no figure will tell how well that is recognised "
        "(split.min_test_per_class=1 makes this an error)"
    ]


def tests_per_class(labels: list[str], splits: list[str]) -> dict[str, int]:
    """Every class to its number of test rows."""
    counts = dict.fromkeys(labels, 0)
    for label, split in zip(labels, splits, strict=True):
        counts[label] += split == "test"
    return counts


def _listed(labels: list[str]) -> str:
    named = ", ".join(repr(label) for label in labels[:NAMED])
    more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
    return f"class{'es' if len(labels) > 1 else ''} {named}{more}"
