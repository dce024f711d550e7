"""What a table lacks to be trained on. `check` prints it as notes, `retrain` stops at the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from data_contracts.refs import Target
from tasks.problems.cells import list_names
from tasks.problems.registry import problem_of
from tasks.samples import SPLITS, Samples

ONE_COLUMN = Target(name="label")


def trainable_problems(
    samples: Samples, min_test_per_class: int = 0, targets: Sequence[Target] = (ONE_COLUMN,)
) -> list[str]:
    """One line per reason why these samples (data_contracts.tables.samples_schema) cannot be trained on; [] for none.

    Every class needs `min_test_per_class` test rows, classes that occur in train or val only among them. A column of numbers
    needs different ones, a label that some rows have and some lack, in train.
    """
    splits: list[str] = list(samples.splits)
    present = Counter(splits)
    problems = [
        f"{split}: no rows; add rows, with split={split} where the data have a split column, or leave that column out "
        "(data.columns.split) to let crossmodal divide them; where it did, there are too few rows or groups: "
        "split.by=stratified-group"
        for split in SPLITS
        if not present[split]
    ]
    for place, target in enumerate(targets):
        cells = samples.targets(place, target.name)
        rows = [(cell, split) for cell, split in zip(cells, splits, strict=True) if cell is not None]
        name = "label" if place == 0 else f"label column {target.name!r}"
        problems += problem_of(target).find_gaps(name, rows)
    if not present["test"]:
        return problems
    return problems + _too_few_tests(*_labels_by_row(samples, targets[0]), min_test_per_class)


def _labels_by_row(samples: Samples, target: Target) -> tuple[list[str], list[str]]:
    """Every label with the split of its row; a row of several labels comes several times, of numbers none."""
    pairs = zip(samples.labels, map(str, samples.splits), strict=True)
    found = [(label, split) for text, split in pairs if text for label in problem_of(target).labels_of(text)]
    return [label for label, _ in found], [split for _, split in found]


def _too_few_tests(labels: list[str], splits: list[str], least: int) -> list[str]:
    """A line that names the classes with fewer test rows than asked for, or nothing."""
    tests = tests_per_class(labels, splits)
    few = sorted(label for label, count in tests.items() if count < least)
    if not few:
        return []
    return [
        f"test: {list_names(few)} with fewer than split.min_test_per_class = {least} test rows (the fewest: "
        f"{min(tests.values())}); add samples, merge or remove the class, raise split.test, or lower the limit"
    ]


def untested_classes(samples: Samples, target: Target = ONE_COLUMN) -> list[str]:
    """A line that names the classes without a test row, where there is a test split; else nothing."""
    if not {"label", "split"} <= set(samples.names):
        return []
    tests = tests_per_class(*_labels_by_row(samples, target))
    untested = sorted(str(label) for label, count in tests.items() if not count)
    if not untested or not any(tests.values()):
        return []
    return [
        f"test: no rows of {list_names(untested)}; no figure will tell how well that is recognised "
        "(split.min_test_per_class=1 makes this an error)"
    ]


def tests_per_class(labels: list[str], splits: list[str]) -> dict[str, int]:
    """Every class to its number of test rows."""
    counts = dict.fromkeys(labels, 0)
    for label, split in zip(labels, splits, strict=True):
        counts[label] += split == "test"
    return counts
