"""What a table lacks to be trained on. `check` prints it as notes, `retrain` stops at the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from data_contracts.refs import Target
from tasks.labels import split_labels
from tasks.samples import SPLITS, Samples

NAMED = 5
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
        f"{split}: no rows; add rows with split={split}, or leave the split column out (data.columns.split)"
        " to let crossmodal divide them"
        for split in SPLITS
        if not present[split]
    ]
    for place, target in enumerate(targets):
        cells = samples.targets(place, target.name)
        rows = [(cell, split) for cell, split in zip(cells, splits, strict=True) if cell is not None]
        name = "label" if place == 0 else f"label column {target.name!r}"
        if target.problem == "multiclass":
            problems += _of_classes(name, rows)
        else:
            problems += _of_numbers(name, rows) if target.problem == "regression" else _of_sets(name, rows)
    if not present["test"] or targets[0].problem == "regression":
        return problems
    return problems + _too_few_tests(*_labels_by_row(samples, targets[0]), min_test_per_class)


def _of_classes(name: str, rows: list[tuple[str, str]]) -> list[str]:
    sizes = Counter(label for label, _ in rows)
    problems = []
    if len(sizes) == 1:
        problems.append(f"{name}: one class only ({rows[0][0]!r}); a classifier needs samples of at least two")
    elif not rows and name != "label":
        problems.append(f"{name}: it is empty in every row; fill it, or leave the column out")
    single = sorted(label for label, size in sizes.items() if size == 1)
    if single:
        problems.append(f"{name}: a single sample of {_listed(single)}; add samples, or remove the class")
    return problems + _unseen(name, rows)


def _of_sets(name: str, rows: list[tuple[str, str]]) -> list[str]:
    train = [set(split_labels(text)) for text, split in rows if split == "train"]
    if train and all(labels == train[0] for labels in train):
        return [f"{name}: every row of train has the same labels; there is nothing to tell apart"]
    return _unseen(name, [(label, split) for text, split in rows for label in split_labels(text)])


def _of_numbers(name: str, rows: list[tuple[str, str]]) -> list[str]:
    train = {text for text, split in rows if split == "train"}
    if len(train) > 1 or not rows:
        return [] if rows else [f"{name}: no row has a number; fill the column, or leave it out"]
    return [f"{name}: train needs different numbers, and has {', '.join(train) or 'none'}"]


def _unseen(name: str, rows: list[tuple[str, str]]) -> list[str]:
    learned = {label for label, split in rows if split == "train"}
    problems = []
    for split in SPLITS[1:]:
        unseen = sorted({label for label, side in rows if side == split} - learned)
        if unseen and learned:
            problems.append(f"{name}: {split} holds {_listed(unseen)}, never seen in train; move some samples to train")
    return problems


def _labels_by_row(samples: Samples, target: Target) -> tuple[list[str], list[str]]:
    """Every label with the split of its row; a row of several labels comes several times, of numbers none."""
    pairs = zip(samples.labels, map(str, samples.splits), strict=True)
    if target.problem == "multilabel":
        return _apart([(label, split) for text, split in pairs if text for label in split_labels(text)])
    return _apart([] if target.problem == "regression" else list(pairs))


def _apart(pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


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


def untested_classes(samples: Samples, target: Target = ONE_COLUMN) -> list[str]:
    """A line that names the classes without a test row, where there is a test split; else nothing."""
    if not {"label", "split"} <= set(samples.names):
        return []
    tests = tests_per_class(*_labels_by_row(samples, target))
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
