"""The loss over label columns by value, and which rows an epoch draws."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional

from data_contracts.refs import Target
from tasks.config import TrainConfig
from tasks.modeling.targets import Targets
from tasks.samples import Samples
from tasks.train.losses import class_weights, joint_loss
from tasks.train.sampling import epoch_order, row_chances

CLASSES = Targets((Target(name="label", labels=("a", "b", "c")),))
SETS = Targets((Target(name="label", problem="multilabel", labels=("x", "y")),))
BOTH = Targets((Target(name="kind", labels=("a", "b")), Target(name="size", problem="regression")))


def rows_of(labels: list[str], targets: list[str | None] | None = None) -> Samples:
    return Samples(pa.table({"label": labels, "targets": pa.array(targets or [None] * len(labels), pa.string())}))


def test_one_multiclass_column_is_plain_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, weights = torch.randn(8, 3), torch.rand(8)
    encoded = CLASSES.encode(rows_of(list("abcabcab")))
    found = joint_loss(logits, encoded.soft(torch.arange(8)), weights, CLASSES, TrainConfig(label_smoothing=0.1))
    expected = functional.cross_entropy(logits, encoded.parts[0], reduction="none", label_smoothing=0.1)
    assert found.item() == pytest.approx((expected * weights).mean().item(), rel=1e-6)


def test_focal_loss_of_gamma_near_zero_is_cross_entropy_and_spares_the_sure() -> None:
    logits = torch.tensor([[4.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    soft = CLASSES.encode(rows_of(["a", "a"])).soft(torch.arange(2))
    ones = torch.ones(2)
    plain = joint_loss(logits, soft, ones, CLASSES, TrainConfig(label_smoothing=0))
    near = joint_loss(logits, soft, ones, CLASSES, TrainConfig(label_smoothing=0, loss="focal", focal_gamma=1e-6))
    assert near.item() == pytest.approx(plain.item(), rel=1e-4)
    focal = TrainConfig(label_smoothing=0, loss="focal", focal_gamma=2)
    sure, unsure = (joint_loss(logits[n : n + 1], soft[:1], ones[:1], CLASSES, focal).item() for n in (0, 1))
    assert unsure == pytest.approx((2 / 3) ** 2 * np.log(3), rel=1e-5)
    assert sure < 1e-4


def test_sets_are_binary_cross_entropy() -> None:
    logits = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    soft = SETS.encode(rows_of(["x", "[]"])).soft(torch.arange(2))
    assert soft.tolist() == [[1, 0], [0, 0]]
    found = joint_loss(logits, soft, torch.ones(2), SETS, TrainConfig())
    assert found.item() == pytest.approx(functional.binary_cross_entropy_with_logits(logits, soft).item(), rel=1e-6)


def test_unknown_numbers_neither_count_nor_teach() -> None:
    samples = rows_of(["a", "b", "a"], ['{"size":"1"}', None, '{"size":"3"}'])
    targets = BOTH.fit(samples)
    assert (targets.columns[1].mean, targets.columns[1].std) == (2.0, 1.0)
    soft = targets.encode(samples).soft(torch.arange(3))
    logits = torch.zeros(3, 3, requires_grad=True)
    config = TrainConfig(label_smoothing=0, regression_loss="squared")
    spread = torch.zeros(2, requires_grad=True)
    loss = joint_loss(logits, soft, torch.ones(3), targets, config, None, spread)
    assert loss.item() == pytest.approx(np.log(2) + 0.5 * 2 / 3, rel=1e-6)
    loss.backward()
    assert logits.grad is not None
    assert spread.grad is not None
    assert logits.grad[1, 2] == 0
    assert spread.grad.tolist() == pytest.approx([0.5 - np.log(2), 0.5 - 0.5 * 2 / 3], abs=1e-6)


def test_what_is_told_gives_the_loss_again() -> None:
    torch.manual_seed(1)
    logits = torch.randn(4, 3)
    targets = Targets((BOTH.columns[0], BOTH.columns[1].model_copy(update={"mean": 100.0, "std": 5.0})))
    again = targets.activate(targets.logits_of(targets.activate(logits)))
    assert torch.allclose(again, targets.activate(logits), atol=1e-4)


def test_class_weights_even_out_classes_and_labels() -> None:
    assert class_weights(CLASSES.encode(rows_of(list("aaab")))).tolist() == pytest.approx([2 / 3, 2.0, 1.0])
    assert class_weights(SETS.encode(rows_of(["x", "x|y", "x", "[]"]))).tolist() == pytest.approx([1 / 3, 3.0])


def test_the_sampler_draws_every_class_alike_and_the_plain_order_is_a_permutation() -> None:
    encoded = CLASSES.encode(rows_of(["a"] * 90 + ["b"] * 10))
    chances = row_chances(encoded)
    assert chances is not None
    assert chances[:90].sum() == pytest.approx(0.5)
    drawn = np.concatenate([epoch_order(100, 0, epoch, chances) for epoch in range(20)])
    assert (drawn >= 90).mean() == pytest.approx(0.5, abs=0.05)
    assert sorted(epoch_order(100, 0, 1)) == list(range(100))
    assert row_chances(Targets((Target(name="n", problem="regression"),)).encode(rows_of(["1", "2"]))) is None


def test_a_steps_loss_is_that_of_its_pieces_however_it_is_cut() -> None:
    torch.manual_seed(3)
    soft = torch.cat([torch.eye(2)[torch.arange(8) % 2], torch.randn(8, 1)], dim=1)
    soft[[0, 1, 2, 6], 2] = torch.nan
    soft[3, :2] = torch.nan
    logits, weights = torch.randn(8, 3), torch.rand(8)
    whole = joint_loss(logits, soft, weights, BOTH, TrainConfig())
    cut = [slice(0, 3), slice(3, 4), slice(4, 8)]
    microbatches = [joint_loss(logits[one], soft[one], weights[one], BOTH, TrainConfig()) for one in cut]
    shares = [(one.stop - one.start) / 8 for one in cut]
    summed = sum(share * microbatch.item() for share, microbatch in zip(shares, microbatches, strict=True))
    assert summed == pytest.approx(whole.item(), rel=1e-6)
