"""Figures of label sets and numbers: none without rows, and intervals that stay where the metric can lie."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluate.evaluate import Columns
from tasks.evaluate.scorers import make_scorer
from tasks.modeling.card import ModelCard
from tasks.problems.multilabel_metrics import LabelScorer
from tasks.problems.registry import get_metric, metric_names
from tasks.problems.regression import NumberScorer
from tasks.samples import Samples
from tests.support.cards import card_of


@pytest.mark.parametrize("problem", ["multiclass", "multilabel", "regression"])
def test_a_further_column_without_a_known_row_has_no_figures(problem: str) -> None:
    labels = () if problem == "regression" else ("a", "b")
    first = {"name": "kind", "problem": "multiclass", "labels": ["x", "y"]}
    targets = [first, {"name": "more", "problem": problem, "labels": list(labels)}]
    card = ModelCard.model_validate(card_of(["x", "y"], targets=targets))
    outputs = np.full((3, 2 + (len(labels) or 1)), 0.5, np.float32)
    scorer, known = make_scorer(card, 1, outputs, [None] * 3, labels)
    assert len(known) == scorer.rows == 0
    assert scorer.score() == dict.fromkeys(metric_names(problem))
    assert scorer.baselines() == {}


def test_a_further_columns_known_rows_are_counted() -> None:
    targets = [{"name": "kind", "labels": ["x", "y"]}, {"name": "size", "problem": "regression"}]
    samples = Samples(pa.table({"label": ["x", "y", "x"], "targets": ['{"size": "2"}', None, '{"size": "4"}']}))
    columns = Columns(samples, ModelCard.model_validate(card_of(["x", "y"], targets=targets)), (("x", "y"), ()))
    found = columns.score_others(np.full((3, 3), 0.5, np.float32), 0)
    assert found["known_rows"] == {"size": 2}
    assert found["problems"] == {"size": "regression"}
    assert found["metrics"]["size"]["mae"] == pytest.approx(2.5)


def test_chance_is_the_mean_share_of_the_labels_that_occur() -> None:
    """As mean_ap is a mean over them: half of the rows have the first label, a quarter the second, none the third."""
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]) > 0
    sets = LabelScorer(np.full(truth.shape, 0.5), truth, truth)
    assert sets.baselines() == {"mean_ap": pytest.approx(0.375)}
    assert sets.score()["mean_ap"] == pytest.approx(0.375)
    never = np.zeros((4, 3), bool)
    assert LabelScorer(np.zeros((4, 3)), never, never).baselines() == {}


def test_intervals_stay_where_a_metric_can_lie() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random((12, 3)) < 0.5
    for answered in (truth, ~truth, np.where(np.arange(12)[:, None] < 11, truth, ~truth)):
        scored = LabelScorer(np.where(answered, 0.9, 0.1), answered, truth)
        found, point = scored.intervals(0), scored.score()
        for name, (low, high) in found.items():
            assert 0 <= low <= point[name] <= high <= get_metric(name).high, name
        assert found["exact_match"][1] - found["exact_match"][0] > 0.1, "12 rows prove no share"
    numbers = np.arange(12.0)
    off = np.zeros(12)
    off[:2] = 5000.0, -1.0
    found = NumberScorer(numbers + off, numbers).intervals(0)
    assert found["mae"][0] >= 0
    assert found["rmse"][0] >= 0
    assert found["rmse"][1] > 1
    assert found["r2"][0] < 0
    assert found["r2"][1] <= 1
