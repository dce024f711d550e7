"""The sets that the benchmark makes: neither input tells alone, every question has one right answer, the same each time."""

import csv
import random
from collections import Counter
from itertools import islice

import pytest

from benchmarks.interactions import (
    FREQUENT,
    Question,
    Thing,
    answer,
    match_rows,
    question_rows,
    questions,
    words_accuracy,
    write_set,
)

SCENE = [Thing("circle", "red", 20, 20, 8), Thing("square", "blue", 45, 22, 8), Thing("circle", "blue", 22, 50, 8)]


def test_neither_the_words_nor_the_picture_tell_whether_they_match():
    drawn = list(islice(match_rows(random.Random(0)), 6000))
    for told in (lambda scene, words: words, lambda scene, words: (scene[0].colour, scene[0].shape)):
        label_of = [(told(scene, words), label) for scene, words, label in drawn]
        seen = Counter(each for each, _ in label_of)
        fits = Counter(each for each, label in label_of if label == "yes")
        assert len(seen) == 15
        assert all(0.4 < fits[each] / count < 0.6 for each, count in seen.items())
    for scene, words, label in drawn:
        assert (words == f"a {scene[0].colour} {scene[0].shape}") == (label == "yes")


def test_words_alone_reach_two_thirds_of_the_13_answers():
    drawn = list(islice(question_rows(random.Random(0)), 1500))
    assert len({label for *_, label in drawn}) == 13
    asked = {question.words: question for of_kind in questions().values() for question in of_kind}
    hits = sum(asked[words].answers[0] == label for _, words, label in drawn)
    assert hits / len(drawn) == pytest.approx(FREQUENT, abs=0.04)
    for scene, words, label in drawn:
        assert answer(asked[words], scene) == label


@pytest.mark.parametrize(
    ("kind", "subject", "expected"),
    [
        ("exists", ("red", "circle"), "yes"),
        ("exists", ("red", "square"), "no"),
        ("count", (), "three"),
        ("colour", ("square",), "blue"),
        ("colour", ("circle",), None),  # there are two
        ("shape", ("red",), "circle"),
        ("shape", ("green",), None),
        ("relation", ("red", "circle", "right of"), "square"),
        ("relation", ("red", "circle", "below"), "circle"),
        ("relation", ("red", "circle", "above"), None),
        ("relation", ("blue", "square", "left of"), "circle"),
    ],
)
def test_the_answer_is_what_the_picture_shows(kind, subject, expected):
    assert answer(Question(kind, subject, "", ("yes",)), SCENE) == expected


def test_the_manifest_and_its_pictures_are_the_same_each_time(tmp_path):
    first, second = (write_set("questions", 40, tmp_path / name) for name in "ab")
    assert first.read_text() == second.read_text()
    rows = list(csv.DictReader(first.open()))
    assert Counter(row["split"] for row in rows) == {"train": 40, "val": 10, "test": 10}
    for row in rows:
        assert (first.parent / row["image"]).read_bytes() == (second.parent / row["image"]).read_bytes()


def test_words_only_answer_with_the_most_frequent_label_of_the_train_rows(tmp_path):
    lines = ["text,label,split", "a,yes,train", "a,yes,train", "a,no,train", "b,no,train"]
    lines += ["a,yes,test", "a,no,test", "b,no,test", "b,no,test", "b,yes,val"]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    assert words_accuracy(tmp_path / "manifest.csv") == 0.75
