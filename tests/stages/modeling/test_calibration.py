"""The temperature: the true one is found, few rows do not make a model certain, and it is kept only where it helps others."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.modeling.calibration import HIGHEST, LOWEST, fit_temperature, row_losses, tune_temperature


def draw(rows: int, temperature: float, seed: int = 0, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times those from which the classes are drawn."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(rows, classes))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (shares.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    return temperature * logits, truth


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_true_temperature_is_found(temperature: float) -> None:
    assert fit_temperature(*draw(20_000, temperature)) == pytest.approx(temperature, rel=0.03)


def test_no_other_temperature_has_a_lower_loss() -> None:
    logits, truth = draw(300, 2.0, seed=3)
    found = fit_temperature(logits, truth)
    others = logits.copy()
    np.put_along_axis(others, truth[:, None], -np.inf, axis=1)

    def loss(temperature: float) -> float:
        more = row_losses(logits, others.argmax(axis=1), temperature).mean()
        return float(row_losses(logits, truth, temperature).sum() + more)

    assert loss(found) < min(loss(found * 0.99), loss(found * 1.01))


def test_it_is_kept_where_it_lowers_the_loss_of_other_rows() -> None:
    helped, needless = tune_temperature(*draw(500, 3.0)), tune_temperature(*draw(500, 1.0, seed=1))
    assert helped is not None
    assert needless is not None
    assert helped.helps
    assert helped.left_out_nll < helped.nll
    assert helped.scaled_nll < helped.left_out_nll  # type: ignore[operator]
    assert not needless.helps
    assert needless.scaled_nll < needless.nll


def test_ten_rows_that_are_all_right_do_not_make_it_certain() -> None:
    logits = np.full((10, 3), 0.0)
    logits[:, 0] = 3.0
    found = fit_temperature(logits, np.zeros(10, int))
    # One more row, which is of another class: of 11 rows 10 are right.
    assert 1 / (1 + 2 * np.exp(-3 / found)) == pytest.approx(10 / 11, abs=0.06)
    assert found > LOWEST


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_temperature_has_bounds(scale: float) -> None:
    logits, truth = draw(200, scale)
    assert fit_temperature(logits, truth) == (LOWEST if scale < 1 else HIGHEST)


def test_logits_that_say_nothing_leave_it_at_1() -> None:
    assert fit_temperature(np.full((4, 3), 7.0), np.array([0, 1, 2, 0])) == 1


def test_a_class_without_rows_and_huge_logits_are_no_trouble() -> None:
    logits, truth = draw(60, 1.0)
    found = tune_temperature(np.where(truth[:, None] == 4, 0, logits) * 300, np.minimum(truth, 3))
    assert found is not None
    assert np.isfinite([found.temperature, found.nll, found.scaled_nll]).all()


def test_too_few_rows_or_groups_to_divide_change_nothing() -> None:
    logits, truth = draw(40, 3.0)
    for found in (tune_temperature(logits[:1], truth[:1]), tune_temperature(logits, truth, np.zeros(40, int))):
        assert found is not None
        assert found.left_out_nll is None
        assert not found.helps
    assert tune_temperature(logits[:0], truth[:0]) is None


def test_rows_of_one_group_are_left_out_together() -> None:
    logits, truth = draw(40, 3.0)
    copies = np.repeat(np.arange(40), 5)
    by_group = tune_temperature(logits[copies], truth[copies], copies)
    apart = tune_temperature(logits[copies], truth[copies])
    assert by_group is not None
    assert apart is not None
    # By rows each fold holds a copy of every row, so that nothing is left out.
    assert apart.left_out_nll == pytest.approx(apart.scaled_nll, rel=1e-4)
    assert by_group.left_out_nll > 1.001 * by_group.scaled_nll  # type: ignore[operator]


def test_labels_of_a_set_share_one_temperature() -> None:
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(4000, 4))
    truth = (rng.random((4000, 4)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    found = tune_temperature(2.0 * logits, truth)
    assert found is not None
    assert found.temperature == pytest.approx(2.0, rel=0.05)
    right = np.where(truth > 0, 1, -1)
    assert found.nll == pytest.approx(np.log1p(np.exp(-right * 2.0 * logits)).mean())
