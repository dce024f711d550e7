"""What a table lacks to be trained on is said, each reason once, with what to do."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tasks.samples import Samples
from tasks.validate.trainable import trainable_problems, untested_classes
from tests.support.spoiled_samples import good_rows, table_of


def labelled(**splits: str) -> Samples:
    """`labelled(train="aab", test="a")`: one row per letter, which is its label."""
    pairs = [(split, label) for split, labels in splits.items() for label in labels]
    return Samples(pa.table({"split": [split for split, _ in pairs], "label": [label for _, label in pairs]}))


def test_good_rows_can_be_trained_on() -> None:
    assert trainable_problems(Samples(table_of(good_rows()))) == []


@pytest.mark.parametrize("missing", ["train", "val", "test"])
def test_a_missing_split_is_named_first(missing: str) -> None:
    splits = {split: "aabb" for split in ("train", "val", "test") if split != missing}
    assert trainable_problems(labelled(**splits)) == [
        f"{missing}: no rows; add rows, with split={missing} where the data have a split column, or leave that column out "
        "(data.columns.split) to let crossmodal divide them; where it did, there are too few rows or groups: "
        "split.by=stratified-group"
    ]


def test_every_row_in_train_and_one_single_sample() -> None:
    problems = trainable_problems(labelled(train="aabbc"))
    assert [problem.partition(":")[0] for problem in problems] == ["val", "test", "label"]
    assert problems[2] == "label: a single sample of class 'c'; add samples, or remove the class"


def test_one_class_only() -> None:
    assert trainable_problems(labelled(train="aa", val="a", test="a")) == [
        "label: one class only ('a'); a classifier needs samples of at least two"
    ]


def test_classes_never_seen_in_train() -> None:
    problems = trainable_problems(labelled(train="aabb", val="abcc", test="abcdd"))
    assert problems == [
        "label: val holds class 'c', never seen in train; move some samples to train",
        "label: test holds classes 'c', 'd', never seen in train; move some samples to train",
    ]


def test_an_empty_table_lacks_all_three() -> None:
    empty = labelled(train="a").take([])
    assert [problem.partition(":")[0] for problem in trainable_problems(empty)] == ["train", "val", "test"]


def test_many_classes_are_not_all_listed() -> None:
    [problem] = trainable_problems(labelled(train="zzyyabcdefg", val="z", test="y"))
    assert "classes 'a', 'b', 'c', 'd', 'e' and 2 more" in problem


def test_too_few_test_rows_of_a_class() -> None:
    samples = labelled(train="aabbcc", val="abc", test="aaab")
    assert trainable_problems(samples) == []
    assert trainable_problems(samples, 1) == [
        "test: class 'c' with fewer than split.min_test_per_class = 1 test rows (the fewest: 0); add samples, merge or "
        "remove the class, raise split.test, or lower the limit"
    ]
    [problem] = trainable_problems(samples, 3)
    assert "classes 'b', 'c' with fewer than split.min_test_per_class = 3" in problem
    assert [text.partition(":")[0] for text in trainable_problems(labelled(train="aabb", val="a"), 5)] == ["test"]


def test_untested_classes_are_told_of() -> None:
    assert untested_classes(labelled(train="aabbcc", val="abc", test="ab")) == [
        "test: no rows of class 'c'; no figure will tell how well that is recognised "
        "(split.min_test_per_class=1 makes this an error)"
    ]
    assert untested_classes(labelled(train="aabb", test="ab")) == []
    assert untested_classes(labelled(train="aabb", val="a")) == []
    assert untested_classes(Samples(pa.table({"label": ["a"]}))) == []
