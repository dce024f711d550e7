"""What a table lacks to be trained on. `check` prints it as notes, `retrain` stops at the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

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
    present = samples.count_splits()
    problems = [
        f"{split}: no rows; add rows, with split={split} where the data have a split column, or leave that column out "
        "(data.columns.split) to let crossmodal divide them; where it did, there are too few rows or groups: "
        "split.by=stratified-group"
        for split in SPLITS
        if not present[split]
    ]
    for place, target in enumerate(targets):
        name = "label" if place == 0 else f"label column {target.name!r}"
        problems += problem_of(target).find_gaps(name, samples.count_targets(place, target.name))
    if not present["test"]:
        return problems
    return problems + _too_few_tests(tests_per_class(samples, targets[0]), min_test_per_class)


def _too_few_tests(tests: Mapping[str, int], least: int) -> list[str]:
    """A line that names the classes with fewer test rows than asked for, or nothing."""
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
    tests = tests_per_class(samples, target)
    untested = sorted(str(label) for label, count in tests.items() if not count)
    if not untested or not any(tests.values()):
        return []
    return [
        f"test: no rows of {list_names(untested)}; no figure will tell how well that is recognised "
        "(split.min_test_per_class=1 makes this an error)"
    ]


def tests_per_class(samples: Samples, target: Target) -> dict[str, int]:
    """Every class or label of the first label column to its number of test rows; of numbers none."""
    tests: Counter[str] = Counter()
    for (cell, split), rows in samples.count_targets(0, target.name).items():
        tests.update(dict.fromkeys(problem_of(target).labels_of(cell), rows if split == "test" else 0))
    return dict(tests)
