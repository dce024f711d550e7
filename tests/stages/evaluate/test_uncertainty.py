"""What test rows say of the thresholds: counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from data_contracts.uncertainty import MeasuredShare, UncertaintyFigures
from tasks.evaluate.uncertainty import measure_uncertainty, without_temperature
from tasks.modeling.card import ModelCard
from tasks.problems.intervals import wilson
from tests.support.cards import card_of

SHARES = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.1, 0.3, 0.6], [0.9, 0.05, 0.05]], np.float32)
TRUTH = ["a", "b", "unknown", "b"]
THRESHOLDS = {"rows": 50, "prediction_set": 0.3, "answer": 0.5, "energy": 0.0}


def card(**uncertainty: object) -> ModelCard:
    return ModelCard.model_validate(card_of("abc", uncertainty=uncertainty))


def share(count: int, rows: int) -> MeasuredShare:
    interval = wilson(count, rows)
    assert interval is not None
    return MeasuredShare(count=count, rows=rows, interval=interval)


def test_everything_is_counted_over_the_rows_that_it_is_about() -> None:
    known = card(conformal_alpha=0.1, max_risk=0.2, ood_false_positive_rate=0.05, thresholds={"image": THRESHOLDS})
    found = measure_uncertainty(known, SHARES, TRUTH, ["image", "image", "image", "audio"], np.array([1, -1, 0, -9.0]))
    assert found.sets is not None and found.selective is not None and found.outliers is not None  # noqa: PT018
    # The last row's modalities have no thresholds; the sets are a, ab, bc.
    assert (found.sets.covered, found.sets.mean_size, found.sets.single) == (share(2, 3), 5 / 3, 1)
    assert (found.selective.answered, found.selective.wrong) == (share(2, 4), share(1, 2))
    assert found.outliers.flagged == share(1, 3)


def test_a_model_that_never_answers_has_no_risk() -> None:
    found = measure_uncertainty(card(max_risk=0.2), SHARES, TRUTH, ["image"] * 4, None)
    assert found.selective is not None
    assert (found.selective.answered, found.selective.wrong) == (share(0, 4), None)
    assert found.sets is None
    assert found.outliers is None


def test_a_model_that_says_nothing_has_no_figures() -> None:
    found = measure_uncertainty(ModelCard.model_validate(card_of("abc")), SHARES, TRUTH, ["image"] * 4, None)
    assert found == UncertaintyFigures()


def test_classes_without_any_prediction_set_have_no_figures_of_sets() -> None:
    """Too few validation rows for a threshold: the true cells are classes, and no numbers."""
    assert measure_uncertainty(card(conformal_alpha=0.1), SHARES, TRUTH, ["image"] * 4, None).sets is None


def test_an_interval_holds_its_ends() -> None:
    numbers = card_of("", targets=[{"name": "price", "problem": "regression", "labels": []}])
    numbers["uncertainty"] = {"conformal_alpha": 0.1, "thresholds": {"image": {"rows": 9, "prediction_set": 1.5}}}
    outputs = np.array([[1.0], [2.0], [3.0]], np.float32)
    found = measure_uncertainty(ModelCard.model_validate(numbers), outputs, ["2.5", "0.4", "1.5"], ["image"] * 3, None)
    assert found.sets is not None
    assert (found.sets.covered, found.sets.mean_size, found.sets.single) == (share(2, 3), 3.0, None)


def test_without_its_temperature_a_model_says_what_it_did_before() -> None:
    logits = np.array([[1.0, 2.0, 4.0]])
    scaled, plain = (np.exp(logits / t) / np.exp(logits / t).sum() for t in (2.0, 1.0))
    found = without_temperature(card(temperature=2.0), scaled.astype(np.float32))
    assert found == pytest.approx(plain, abs=1e-5)


def test_rows_of_a_cluster_are_no_independent_evidence() -> None:
    """Of 20 rows in 10 clusters, each held or not held as one; of fewer than six clusters there is no interval."""
    known = card(max_risk=0.2, thresholds={"image": THRESHOLDS})
    shares = np.repeat(np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]] * 5, np.float32), 2, axis=0)
    found = [
        measure_uncertainty(known, shares, ["a"] * 20, ["image"] * 20, None, clusters)
        for clusters in (None, np.repeat(np.arange(10), 2), np.repeat(np.arange(5), 4))
    ]
    alone, paired, few = (each.selective.answered for each in found if each.selective is not None)
    assert (alone.count, paired.count, alone.clusters, paired.clusters, few.clusters) == (10, 10, None, 10, 5)
    assert paired.interval[0] < alone.interval[0] < alone.interval[1] < paired.interval[1]
    assert few.interval == (0.0, 1.0)
