"""A champion that cannot be compared with, and what the report says of one that can."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.refs import ChampionRef, Compared, Target
from tasks.config import load_config
from tasks.errors import UsageError
from tasks.evaluate.comparison import against, compare, forgetting, require_same_problem
from tasks.evaluate.scorers import make_scorer
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.training_rows import ROWS, write_rows
from tasks.problems.scoring import AnyScorer
from tasks.samples import Samples
from tasks.store import Store
from tests.support.cards import card_of, write_card

CELLS = ["a", "b"] * 20
CONFIG = load_config({}, ["seed=3", "gate.confidence=0.8"])
CHAMPION = ChampionRef(uri="champions/k", sha256="0" * 64, rows=0, name="small", version="7", model_sha256="1" * 64)
NUMBERS: dict[str, Any] = {"targets": [{"name": "label", "problem": "regression", "labels": []}]}


def put_card(store: Store, labels: Sequence[str], **card: Any) -> Path:
    folder = store.path(CHAMPION.uri)
    folder.mkdir(parents=True)
    write_card(folder, labels, **card)
    return folder


def require(card: ModelCard, **target: Any) -> None:
    require_same_problem(CHAMPION, card, Target(name="label", **target))


def scorer(right: np.ndarray) -> AnyScorer:
    """Over the labels a and b, of which the answer to some rows is the right one."""
    truth = np.arange(len(CELLS)) % 2
    outputs = np.where(np.arange(2) == np.where(right, truth, 1 - truth)[:, None], 0.9, 0.1)
    return make_scorer(ModelCard.model_validate(card_of("ab")), 0, outputs.astype(np.float32), CELLS, ("a", "b"))[0]


OURS, THEIRS = scorer(np.arange(40) < 30), scorer(np.arange(40) % 3 == 0)


def test_a_champion_of_another_problem_is_refused(store: Store) -> None:
    card = read_card(put_card(store, (), **NUMBERS))
    with pytest.raises(UsageError) as caught:
        require(card, labels=("a", "b"))
    assert str(caught.value) == (
        "model small version 7: the champion is of data.problem=regression, this run of multiclass; "
        "give the new model another name (--set name=...)"
    )
    require(card, problem="regression")


def test_a_champion_without_one_label_in_common_is_refused_with_some_of_them(store: Store) -> None:
    card = read_card(put_card(store, "mnopqrs"))
    with pytest.raises(UsageError) as caught:
        require(card, labels=tuple("abcdefg"))
    assert str(caught.value) == (
        "model small version 7: the champion knows 'm', 'n', 'o', 'p', 'q', this run's labels are "
        "'a', 'b', 'c', 'd', 'e', none in common; give the new model another name (--set name=...)"
    )
    require(card, labels=("a", "s"))
    require(card)  # labels that are not known yet


def test_the_report_says_how_the_candidate_stands(store: Store) -> None:
    assert against(compare((OURS, THEIRS), CHAMPION, CONFIG)) == {
        "champion_sha256": "1" * 64,
        "champion_version": "7",
        "champion_metrics": THEIRS.score(),
        "champion_rows": 40,
        "champion_clusters": None,
        "champion_seen": 0,
        "champion_differing": int((OURS.correct != THEIRS.correct).sum()),
        "champion_effective_rows": OURS.effective_rows(),
        "differences": OURS.differences(THEIRS, 3, 0.8),
    }


def test_what_was_judged_before_is_compared_apart(store: Store) -> None:
    """Rows of the champion's own test set; those that it was trained on are as new to the comparison as any."""
    folder, ids = put_card(store, "ab"), [f"s{row}" for row in range(40)]
    split = ["test"] * 25 + ["train"] * 5
    write_rows(Samples(pa.table({"id": ids[:30], "split": split})), folder / ROWS)
    found = forgetting(ids, (OURS, THEIRS), folder, CONFIG)
    assert list(found) == ["old", "new"]
    for name, rows in (("old", np.arange(25)), ("new", np.arange(25, 40))):
        ours, theirs = OURS.take(rows), THEIRS.take(rows)
        differences = ours.differences(theirs, 3, 0.8)
        assert found[name] == Compared(
            rows=len(rows), candidate=ours.score(), champion=theirs.score(), differences=differences
        )
