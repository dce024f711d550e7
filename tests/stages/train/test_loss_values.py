"""The loss of weighted rows, classes and labels, against the formulas written out in NumPy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from data_contracts.refs import Target
from tasks.config import TrainConfig
from tasks.modeling.targets import Targets
from tasks.samples import Samples
from tasks.train.losses import class_weights, joint_loss

CLASSES = Targets((Target(name="label", labels=("a", "b", "c")),))
SETS = Targets((Target(name="label", problem="multilabel", labels=("x", "y", "z")),))
THREE = Targets(
    (
        Target(name="kind", labels=("a", "b")),
        Target(name="tags", problem="multilabel", labels=("x", "y")),
        Target(name="size", problem="regression"),
    )
)
LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.5, -2.0]])
MEMBERS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
ROW_WEIGHTS = torch.tensor([0.5, 2.0])


def encoded(targets: Targets, labels: list[str]) -> Tensor:
    table = pa.table({"label": labels, "targets": pa.nulls(len(labels), pa.string())})
    return class_weights(targets.encode(Samples(table)))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_a_row_weighs_as_its_class() -> None:
    """A blend of two classes weighs as a blend of them."""
    soft = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.25, 0.75]])
    config = TrainConfig(label_smoothing=0)
    found = joint_loss(LOGITS, soft, ROW_WEIGHTS, CLASSES, config, torch.tensor([0.5, 1.0, 3.0]))
    each = -(soft.numpy() * log_softmax(LOGITS.double().numpy())).sum(axis=1)
    assert found.item() == pytest.approx((0.5 * 0.5 * each[0] + 2.0 * 2.5 * each[1]) / 2, rel=1e-5)


def test_focal_loss_is_that_of_the_smoothed_targets() -> None:
    soft = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    config = TrainConfig(loss="focal", focal_gamma=1.5, label_smoothing=0.3)
    logs = log_softmax(LOGITS.double().numpy())
    smoothed = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    each = -(smoothed * (1 - np.exp(logs)) ** 1.5 * logs).sum(axis=1)
    found = joint_loss(LOGITS, soft, ROW_WEIGHTS, CLASSES, config)
    assert found.item() == pytest.approx((each * [0.5, 2.0]).mean(), rel=1e-5)


@pytest.mark.parametrize("gamma", [None, 1.5])
@pytest.mark.parametrize("label_weights", [None, [0.5, 1.0, 3.0]])
def test_labels_that_a_row_has_weigh_more(gamma: float | None, label_weights: list[float] | None) -> None:
    config = TrainConfig() if gamma is None else TrainConfig(loss="focal", focal_gamma=gamma)
    scale = None if label_weights is None else torch.tensor(label_weights)
    found = joint_loss(LOGITS, MEMBERS, ROW_WEIGHTS, SETS, config, scale)
    chance, members = sigmoid(LOGITS.double().numpy()), MEMBERS.numpy()
    there = -np.log(chance) * (1 - chance) ** (gamma or 0) * (label_weights or 1)
    absent = -np.log(1 - chance) * chance ** (gamma or 0)
    each = (members * there + (1 - members) * absent).mean(axis=1)
    assert found.item() == pytest.approx((each * [0.5, 2.0]).mean(), rel=1e-5)


@pytest.mark.parametrize(("targets", "soft"), [(SETS, MEMBERS), (CLASSES, torch.eye(3)[:2])])
def test_focal_loss_of_what_is_certain_has_a_gradient(targets: Targets, soft: Tensor) -> None:
    """The slope of a power below 1 is infinite at 0."""
    logits = (200 * soft - 100).requires_grad_()
    config = TrainConfig(loss="focal", focal_gamma=0.5, label_smoothing=0)
    loss = joint_loss(logits, soft, torch.ones(2), targets, config)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_every_column_has_its_part_of_the_weights() -> None:
    logits = torch.tensor([[1.0, -1.0, 0.5, -0.5, 2.0], [0.0, 0.5, -1.0, 2.0, -1.0]])
    soft = torch.tensor([[0.0, 1.0, 1.0, 0.0, 0.5], [1.0, 0.0, torch.nan, torch.nan, torch.nan]])
    scale = torch.tensor([0.5, 3.0, 2.0, 4.0, 1.0])
    config = TrainConfig(label_smoothing=0, regression_loss="squared")
    found = joint_loss(logits, soft, ROW_WEIGHTS, THREE, config, scale)
    classes = -log_softmax(logits[:, :2].double().numpy())[[0, 1], [1, 0]] * [3.0, 0.5]
    labels = np.array([-2.0 * np.log(sigmoid(np.array(0.5))) - np.log(1 - sigmoid(np.array(-0.5))), 0.0]) / 2
    numbers = np.array([1.5**2, 0.0])
    assert found.item() == pytest.approx(((classes + labels + numbers) * [0.5, 2.0]).mean(), rel=1e-5)


def test_what_never_occurs_weighs_one_and_nothing_weighs_a_hundred_times() -> None:
    assert encoded(CLASSES, ["a"] * 999 + ["b"]).tolist() == pytest.approx([1000 / 1998, 100.0, 1.0])
    assert encoded(SETS, ["x"] * 4).tolist() == pytest.approx([0.01, 1.0, 1.0])
    assert encoded(SETS, ["x|y"] + ["x"] * 200).tolist() == pytest.approx([0.01, 100.0, 1.0])
