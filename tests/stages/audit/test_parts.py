"""The parts of an audit by value: fused inputs, outliers, contradictions, spurious correlations, groups, rows to label."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tasks.audit.circumstances import Circumstance, category, number
from tasks.audit.fusing import fuse
from tasks.audit.oddities import ambiguity, conflicts, disagreeing, outlyingness, underperforming
from tasks.audit.out_of_fold import OutOfFold
from tasks.audit.shortcuts import find_shortcuts, tell_label
from tasks.modeling.descriptors import CELLS, PATCHES, describe
from tasks.modeling.features import FeatureTable

NO_POOL = np.zeros((2, 0, 2))
GIVEN = np.tile([0, 1], 50)
FOLDS = np.repeat(np.arange(5), 20)


def table(values: np.ndarray, lengths: list[int], modality: str = "image") -> FeatureTable:
    sizes = np.array(lengths, np.int64)
    digests = pa.array([str(number) for number in range(len(sizes))])
    return FeatureTable(modality, digests, np.cumsum(sizes) - sizes, sizes, values)


# -- all inputs together ---


def test_inputs_are_multiplied_as_if_independent_and_a_missing_one_says_nothing() -> None:
    one = OutOfFold(np.array([[0.8, 0.2], [0.8, 0.2], [np.nan, np.nan]]), NO_POOL)
    other = OutOfFold(np.array([[0.8, 0.2], [np.nan, np.nan], [np.nan, np.nan]]), NO_POOL)
    found = fuse([one, other], np.array([0, 1, 0, 1])).probabilities
    assert found[0] == pytest.approx([16 / 17, 1 / 17])
    assert found[1] == pytest.approx([0.8, 0.2])
    assert np.isnan(found[2]).all()


def test_one_input_is_itself() -> None:
    one = OutOfFold(np.array([[0.3, 0.7]]), NO_POOL)
    assert fuse([one], np.array([0])) is one


# -- descriptions ---


def test_pictures_that_differ_in_brightness_alone_are_described_alike() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 100, (30, 16, 16, 3)).astype(np.uint8)
    values = np.concatenate([pictures, pictures[:1] + 100]).reshape(-1, 16, 3)
    found = describe(table(values, [16] * 31), seed=0)
    assert found.shape == (31, PATCHES * CELLS * CELLS)
    apart = np.linalg.norm(found - found[0], axis=1)
    assert apart[30] < 0.5 * np.median(apart[1:30])
    assert (describe(table(values, [16] * 31), seed=0) == found).all()


def test_sounds_of_several_lengths_and_clips_have_one_width() -> None:
    rng = np.random.default_rng(0)
    sounds = describe(table(rng.normal(size=(90, 8)).astype(np.float32), [3, 40, 47], "audio"), seed=0)
    assert sounds.shape == (3, PATCHES * CELLS * CELLS)
    assert np.isfinite(sounds).all()
    clips = describe(table(rng.integers(0, 255, (12, 8, 8, 3)).astype(np.uint8), [1, 11], "video"), seed=0)
    assert clips.shape[0] == 2
    assert clips.shape[1] % (2 * CELLS * CELLS) == 0
    assert np.isfinite(clips).all()


def test_texts_are_described_by_their_characters() -> None:
    texts = [b"one two", b"one twos", b"nothing", b""]
    values = np.frombuffer(b"".join(texts), np.uint8)
    found = describe(table(values, [len(text) for text in texts], "text"), seed=0).toarray()
    alike = found @ found.T
    assert alike[0, 1] > 0.6 > alike[0, 2]


# -- outliers, contradictions ---


def test_what_lies_far_from_all_others_is_an_outlier() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    vectors[17] += 30
    present = np.ones(200, bool)
    present[3] = False
    found, flagged = outlyingness(vectors, present, seed=0)
    assert np.flatnonzero(flagged).tolist() == [17]
    assert found[17] > 10
    assert np.isnan(found[3])
    assert np.nanmedian(found) == pytest.approx(1.0)


def test_too_few_rows_have_no_outliers() -> None:
    found, flagged = outlyingness(np.zeros((20, 2), np.float32), np.ones(20, bool), seed=0)
    assert np.isnan(found).all()
    assert not flagged.any()


def test_inputs_disagree_where_two_are_confident_of_different_classes() -> None:
    views = {
        "image": np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [np.nan, np.nan]]),
        "text": np.array([[0.2, 0.8], [0.7, 0.3], [0.1, 0.9], [0.1, 0.9]]),
    }
    flagged, strength = disagreeing(views, {"image": np.array([0.7, 0.7]), "text": np.array([0.7, 0.7])})
    assert flagged.tolist() == [True, False, False, False]
    assert strength[0] == pytest.approx(0.8)


def test_near_duplicates_with_several_labels_are_a_conflict() -> None:
    near = {"a": 0, "b": 0, "c": 1, "d": 1, "other": 1}
    found = conflicts(near, {"a": "cat", "b": "dog", "c": "cat", "d": "cat"})
    assert [(each.ids, each.labels) for each in found] == [(("a", "b"), ("cat", "dog"))]


# -- what tells the label ---


def test_a_circumstance_that_is_the_label_tells_all_and_one_that_is_not_tells_nothing() -> None:
    assert tell_label(GIVEN, GIVEN, FOLDS, 2) == 1.0
    assert abs(tell_label(np.repeat([0, 1], 50), GIVEN, FOLDS, 2)) < 0.2
    assert tell_label(np.zeros(0, np.int64), np.zeros(0, np.int64), FOLDS, 2) == 0.0


def test_a_shortcut_is_found_and_the_label_under_another_name_is_not_one() -> None:
    rng = np.random.default_rng(0)
    site = np.where(rng.random(100) < 0.9, GIVEN, 1 - GIVEN)
    around = [
        Circumstance("image folder", site, ("berlin", "rome")),
        Circumstance("column name", GIVEN, ("CAT", "dog")),
        Circumstance("image brightness", rng.integers(0, 10, 100), tuple("0123456789")),
    ]
    found = {
        each.name: each
        for each in find_shortcuts(around, ("cat", "dog"), GIVEN, FOLDS, np.arange(100), 0.05, 0.1, seed=0)
    }
    assert [name for name, each in found.items() if each.found] == ["image folder"]
    assert found["image folder"].effect > 0.6
    assert "berlin: cat" in found["image folder"].says or "rome: dog" in found["image folder"].says
    assert found["column name"].says == "it is the label by another name"
    assert found["image brightness"].p > 0.05


def test_rows_of_a_group_with_one_label_count_once() -> None:
    """Each of ten speakers has one label, and one room: what all rows seem to prove, ten speakers do not."""
    clusters = np.repeat(np.arange(10), 10)
    given, rooms = (clusters % 2).astype(np.int64), np.repeat([0, 1, 0, 1, 0, 1, 1, 0, 0, 1], 10)
    folds = np.repeat(np.arange(5), 20)
    around = [Circumstance("room", rooms, ("a", "b"))]
    by_row = find_shortcuts(around, ("x", "y"), given, folds, np.arange(100), 0.05, 0.1, seed=0)[0]
    by_group = find_shortcuts(around, ("x", "y"), given, folds, clusters, 0.05, 0.1, seed=0)[0]
    assert by_row.found
    assert not by_group.found


def test_categories_and_numbers_that_sort_rows_into_nothing_are_left_out() -> None:
    assert category("id", [str(place) for place in range(100)]) is None
    assert category("same", ["a"] * 10) is None
    assert number("flat", np.full(10, 3.0)) is None
    tenths = number("length", np.array([*range(100), np.nan]))
    assert tenths is not None
    assert np.bincount(tenths.codes[:100]).tolist() == [10] * 10
    assert tenths.codes[100] == -1


def test_a_group_with_more_errors_is_named() -> None:
    wrong = np.zeros(200, bool)
    wrong[:30] = True
    groups = [Circumstance("camera", np.repeat([0, 1], [50, 150]), ("old", "new"))]
    found = underperforming(groups, ("a", "b"), np.tile([0, 1], 100), wrong, alpha=0.05)
    assert [each.name for each in found] == ["camera = old"]
    assert (found[0].error, found[0].rest) == (0.6, 0.0)


def test_rows_to_label_are_those_between_classes() -> None:
    pool = np.array([[[0.9, 0.1], [0.5, 0.5], [0.95, 0.05]], [[0.9, 0.1], [0.5, 0.5], [0.05, 0.95]]])
    mean, margins, disagreement = ambiguity(pool)
    assert mean[0] == pytest.approx([0.9, 0.1])
    assert margins == pytest.approx([0.8, 0.0, 0.0])
    assert disagreement[1] == pytest.approx(0.0)  # ambiguous to both models
    assert disagreement[2] > 0.4
