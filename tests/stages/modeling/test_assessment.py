"""What a row's answer is said to be worth, from the thresholds in model.json."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.refs import Target
from tasks.errors import DataError
from tasks.modeling.assessment import RowUncertainty, assess_rows
from tasks.modeling.card import ModelCard, read_card, save_card
from tasks.modeling.targets import Targets, targets_of_card
from tests.support.cards import card_of, write_card

THRESHOLDS = {"rows": 50, "prediction_set": 0.25, "answer": 0.5, "energy": 2.0}
UNCERTAINTY = {
    "temperature": 1.5,
    "conformal_alpha": 0.1,
    "max_risk": 0.05,
    "ood_false_positive_rate": 0.05,
    "thresholds": {"image+audio": THRESHOLDS, "audio": {"rows": 5}},
}
SHARES = np.array([[0.5, 0.25, 0.25], [0.8, 0.15, 0.05], [0.1, 0.3, 0.6]], np.float32)


def card(**changes: object) -> ModelCard:
    return ModelCard.model_validate(card_of("abc", uncertainty=UNCERTAINTY | changes))


def test_every_threshold_meets_its_rows() -> None:
    found = assess_rows(card(), SHARES, ["image+audio"] * 3, np.array([2.0, 1.9, 7.0]))
    assert found == [
        RowUncertainty(("a", "b", "c"), None, abstained=True, out_of_distribution=False),
        RowUncertainty(("a",), None, abstained=False, out_of_distribution=True),
        RowUncertainty(("c", "b"), None, abstained=False, out_of_distribution=False),
    ]


def test_modalities_without_thresholds_say_nothing_and_are_not_answered_under_a_risk() -> None:
    found = assess_rows(card(), SHARES[:2], ["audio", "image"], np.array([0.0, 0.0]))
    assert found == [RowUncertainty(abstained=True)] * 2
    assert assess_rows(card(max_risk=None), SHARES[:1], ["audio"], np.array([0.0])) == [RowUncertainty()]
    unflagged = assess_rows(card(), SHARES[:1], ["image+audio"])
    assert unflagged[0].out_of_distribution is None
    assert unflagged[0].prediction_set == ("a", "b", "c")


def test_a_card_without_uncertainty_says_nothing() -> None:
    plain = ModelCard.model_validate(card_of("abc"))
    assert assess_rows(plain, SHARES, ["image"] * 3, np.zeros(3)) == [RowUncertainty()] * 3
    assert plain.temperature == 1


def test_a_number_has_an_interval() -> None:
    numbers = card_of("", targets=[{"name": "price", "problem": "regression", "labels": []}])
    numbers["uncertainty"] = {"conformal_alpha": 0.1, "thresholds": {"image": {"rows": 9, "prediction_set": 1.5}}}
    found = assess_rows(ModelCard.model_validate(numbers), np.array([[2.0]]), ["image"])
    assert found == [RowUncertainty(prediction_interval=(0.5, 3.5))]


def test_an_answer_that_was_moved_by_offsets_is_in_its_set_and_its_own_probability_decides() -> None:
    moved = ModelCard.model_validate(
        card_of("abc", uncertainty=UNCERTAINTY, decision={"offsets": [0.0, 0.0, 4.0]}),
    )
    found = assess_rows(moved, SHARES[1:2], ["image+audio"], np.array([9.0]))
    assert found == [RowUncertainty(("a", "c"), None, abstained=True, out_of_distribution=False)]


def test_the_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    save_card(card(), tmp_path)
    assert read_card(tmp_path) == card()
    write_card(tmp_path, "abc")
    assert read_card(tmp_path).uncertainty is None


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"temperature": -1.0}, {"conformal_alpha": 1.0}, {"max_risk": 0.0}]
)
def test_a_damaged_card_is_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    write_card(tmp_path, "abc", uncertainty=UNCERTAINTY | wrong)
    with pytest.raises(DataError, match=rf"uncertainty\.{next(iter(wrong))}"):
        read_card(tmp_path)


def test_the_temperature_divides_the_first_columns_logits_only() -> None:
    first, second = Target(name="a", labels=("x", "y", "z")), Target(name="b", labels=("u", "v"))
    logits = torch.tensor([[1.0, 2.0, 4.0, 0.5, 3.0]])
    scaled = Targets((first, second), temperature=2.0)
    found = scaled.activate(logits)
    assert torch.allclose(found[:, :3], (logits[:, :3] / 2).softmax(dim=1))
    assert torch.allclose(found[:, 3:], logits[:, 3:].softmax(dim=1))
    assert torch.allclose(scaled.activate(scaled.logits_of(found)), found, atol=1e-6)
    assert torch.allclose(
        Targets((first, second)).activate(scaled.logits_of(found)), Targets((first, second)).activate(logits), atol=1e-6
    )
    assert targets_of_card(card()).temperature == 1.5
