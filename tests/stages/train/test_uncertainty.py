"""Temperature and thresholds chosen at the end of training: from the validation rows, as the published model answers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from data_contracts.refs import Target
from data_contracts.training_history import HISTORY, TrainingHistory
from tasks.config import load_config
from tasks.errors import UsageError
from tasks.labels import require_fitting
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.features import Inputs
from tasks.modeling.inference import energies_of, predict_logits, predict_probabilities
from tasks.modeling.package import load_model
from tasks.samples import Samples
from tasks.train.request import digest_samples, read_samples
from tasks.train.train import train
from tasks.train.uncertainty import number_groups, subsets_of

ASKED = ("train.epochs=1", "train.conformal_alpha=0.5", "train.ood_false_positive_rate=0.4")


def trained(world: Any) -> tuple[ModelCard, TrainingHistory, Any]:
    folder = world.store.path(train(*world.all, isolate=False).uri)
    return read_card(folder), TrainingHistory.model_validate_json((folder / HISTORY).read_text()), load_model(folder)


def test_thresholds_are_ranks_of_the_validation_rows_with_the_other_modalities_hidden(
    make_world: Callable[..., Any],
) -> None:
    world = make_world(*ASKED)
    card, history, model = trained(world)
    assert card.uncertainty is not None
    thresholds = card.uncertainty.thresholds
    assert thresholds.keys() == {"image", "audio", "image+audio"}
    assert history.temperature is not None and history.temperature.used is (card.uncertainty.temperature is not None)  # noqa: PT018
    val = read_samples(world.valid, world.store).of_split("val")
    for name, of_set in thresholds.items():
        names = tuple(name.split("+"))
        rows = val.where(np.all([val.has(each) for each in names], axis=0))
        outputs = predict_probabilities(model, rows, world.features, world.store, present=names)
        of_truth = np.sort(outputs[np.arange(len(rows)), ["abc".index(label) for label in rows.labels]])[::-1]
        energies = np.sort(
            energies_of(model, predict_logits(model, Inputs.load(rows, world.features, world.store, names)))
        )
        assert of_set.rows == len(rows)
        assert of_set.prediction_set == pytest.approx(of_truth[int(np.ceil((len(rows) + 1) / 2)) - 1], rel=1e-6)
        assert of_set.energy == pytest.approx(energies[int(0.4 * (len(rows) + 1)) - 1], rel=1e-6)
        assert of_set.answer is None


def test_few_rows_are_told_and_promise_nothing(make_world: Callable[..., Any]) -> None:
    card, history, _ = trained(make_world("train.epochs=1", "train.max_risk=0.05"))
    assert card.uncertainty is not None
    full = card.uncertainty.thresholds["image+audio"]
    assert (full.prediction_set, full.energy, full.answer) == (None, None, 1.0)
    text = " ".join(history.notes)
    assert f"train.conformal_alpha = 0.1 needs 9 validation rows with image+audio; there are {full.rows}" in text
    assert "train.ood_false_positive_rate = 0.05 needs 19 validation rows" in text
    assert "every answer is marked as abstained. It takes 59 rows answered without a mistake" in text


def test_all_off_leaves_the_card_as_it_was(make_world: Callable[..., Any]) -> None:
    off = ("train.temperature_scaling=off", "train.conformal_alpha=0", "train.ood_false_positive_rate=0")
    card, history, _ = trained(make_world("train.epochs=1", *off))
    assert card.uncertainty is None
    assert history.temperature is None
    assert history.notes == ()


def test_a_risk_is_of_one_class(make_world: Callable[..., Any]) -> None:
    world = make_world("train.max_risk=0.05")
    require_fitting(world.config, world.valid.clean.label_targets)
    numbers = [world.valid.clean.label_targets[0].model_copy(update={"problem": "multilabel"})]
    with pytest.raises(UsageError, match=r"^train\.max_risk: the first label column is multilabel"):
        require_fitting(world.config, numbers)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("train.conformal_alpha=0.05", "multilabel"),
        ("train.ood_false_positive_rate=0.01", "regression"),
        ("train.label_smoothing=0.2", "regression"),
        ("train.regression_loss=squared", "multiclass"),
    ],
)
def test_a_setting_of_no_effect_ends_the_run(setting: str, problem: str) -> None:
    target = Target(name="y", problem=problem, labels=() if problem == "regression" else ("a", "b"))
    require_fitting(load_config({}), [target])
    key = setting.partition("=")[0].replace(".", r"\.")
    with pytest.raises(UsageError, match=rf"^{key}: of no effect under data.problem={problem}, as "):
        require_fitting(load_config({}, [setting]), [target])


def test_groups_count_for_the_folds_and_so_for_the_key(make_world: Callable[..., Any]) -> None:
    def grouped(rows: list[dict[str, Any]]) -> None:
        for place, row in enumerate(rows):
            row["group"] = f"g{place % 2}" if row["split"] != "test" and place else None

    worlds = [make_world(change=change) for change in (None, grouped)]
    keys = [digest_samples(world.valid, world.features, world.store) for world in worlds]
    assert keys[0] != keys[1]
    samples = [Samples.read(world.store.path(world.valid.uri)) for world in worlds]
    assert number_groups(samples[0]) is None
    assert number_groups(samples[1].take([0, 1, 2, 3])).tolist() == [0, 1, 2, 1]  # type: ignore[union-attr]


def test_of_many_inputs_not_every_subset_has_thresholds() -> None:
    four = subsets_of(("image", "text", "audio", "video"))
    assert len(four) == len(set(four)) == 15
    six = ("image", "image_2", "image_3", "text", "audio", "video")
    found = subsets_of(six, ["image+text"] * 3 + ["none", "audio"])
    assert len(found) == 6 + 6 + 1 + 1
    assert found[-1] == ("image", "text")
