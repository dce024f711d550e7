"""One step of an engine: gradients over microbatches, clipping, schedule, average, and going on from its state."""

import itertools

import numpy as np
import pytest
import torch

from tasks.config import load_config
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.classifier import FusedClassifier, Present
from tasks.train.batch_plan import Microbatch
from tasks.train.dataloader import TrainBatch
from tasks.train.finetuning import Stage
from tasks.train.optim import BETAS, rate_factor
from tasks.train.processes import Processes
from tasks.train.step import StagePlan, TrainingStep

WIDTHS = {"image": 7, "text": 5}
ROWS = 6
EXACT = ("fusion.dropout=0", "train.learning_rate=0.01")


def make_engine(*settings, balance=None, done=0, steps=100):
    """On a model of embeddings whose weights are always the same."""
    config = load_config({}, ["train.device=cpu", "fusion.embed_dim=8", "fusion.hidden=9", *settings])
    torch.manual_seed(3)
    specs = {
        name: EncoderSpec(encoder="hf:x", width=width, weights_sha256="0" * 64, reads="embedding")
        for name, width in WIDTHS.items()
    }
    plain = FusedClassifier(specs, 3, config.fusion)
    stage, processes = Stage("head", 1, False), Processes(config.train)
    plan = StagePlan(stage, frozenset(plain.state_dict()), steps, done, balance)
    training_step = TrainingStep(plain, config.train, processes, plan)
    training_step.enter_training()
    return training_step


def make_step(seed=0, absent=(), hidden=None):
    """The content of a step's six rows; of each modality those in `absent` lack it."""
    generator = torch.Generator().manual_seed(seed)
    values = {name: torch.randn(ROWS, width, generator=generator) for name, width in WIDTHS.items()}
    there = np.array([[(name, row) not in absent for name in WIDTHS] for row in range(ROWS)])
    soft = torch.randn(ROWS, 3, generator=generator).softmax(dim=1)
    return values, there, soft, torch.rand(ROWS, generator=generator), hidden


def cut(step, *parts):
    """The microbatches of a step, of the rows in each of `parts`; all of them in one by default."""
    values, there, soft, weights, hidden = step
    for number, rows in enumerate([np.array(part) for part in parts or (range(ROWS),)]):
        batch = {}
        for column, (name, inputs) in enumerate(values.items()):
            own = np.flatnonzero(there[rows, column])
            if len(own):
                lengths = torch.full((len(own),), inputs.shape[1])
                batch[name] = Present(torch.from_numpy(own), inputs[rows[own]], lengths)
        shares = there[rows].sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        last = number + 1 == max(len(parts), 1)
        microbatch = Microbatch(rows, None, len(rows) / ROWS, shares, there.any(axis=0), 11, last)
        yield TrainBatch(batch, soft[rows], weights[rows], None if hidden is None else hidden[rows], microbatch)


def gradients(training_step):
    return {name: parameter.grad for name, parameter in training_step.plain.named_parameters()}


def move(training_step, step):
    """One step; the norm of its gradients."""
    training_step.accumulate(cut(step))
    return training_step.update().item()


def weights_of(training_step):
    return {name: tensor.clone() for name, tensor in training_step.plain.state_dict().items()}


LACKING = {("image", 1), ("image", 4), ("text", 0)}
PARTS = {"halves": (range(3), range(3, 6)), "uneven": ([5], [0, 1, 4], [2, 3])}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("absent", [(), LACKING], ids=["all there", "some lack one"])
@pytest.mark.parametrize("balance", [None, torch.tensor([0.5, 1.0, 2.5])], ids=["", "class weights"])
def test_the_pieces_of_a_step_add_up_to_its_loss_and_gradients(parts, absent, balance):
    step = make_step(absent=absent, hidden=torch.arange(12).reshape(6, 2) % 5 == 0)
    whole, microbatches = (make_engine(*EXACT, balance=balance) for _ in range(2))
    loss, rows = whole.accumulate(cut(step))
    assert microbatches.accumulate(cut(step, *parts)) == (pytest.approx(loss.item(), rel=1e-5), rows)
    assert rows == ROWS
    found = gradients(microbatches)
    for name, expected in gradients(whole).items():
        assert expected is not None
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_a_step_whose_last_piece_is_missing_is_an_error():
    first, _ = cut(make_step(), *PARTS["halves"])
    with pytest.raises(RuntimeError, match="before its last microbatch"):
        make_engine().accumulate(iter([first]))


def test_what_no_row_has_gets_no_gradient_and_is_learned_as_missing():
    training_step = make_engine(*EXACT)
    training_step.accumulate(cut(make_step(absent={("image", row) for row in range(ROWS)})))
    found = gradients(training_step)
    assert not [name for name in found if ".image." in name and found[name] is not None]
    assert found["missing.image"].abs().sum() > 0
    assert found["missing.text"] is None or not found["missing.text"].any()


def test_what_is_hidden_is_learned_by_its_own_head_alone():
    """The fused head sees the embedding of what is missing instead."""
    training_step = make_engine(*EXACT, "train.unimodal_loss_weight=0")
    training_step.accumulate(cut(make_step(hidden=torch.tensor([[True, False]] * ROWS))))
    assert not gradients(training_step)["projections.image.0.weight"].any()
    assert gradients(training_step)["projections.text.0.weight"].any()
    with_own = make_engine(*EXACT)
    with_own.accumulate(cut(make_step(hidden=torch.tensor([[True, False]] * ROWS))))
    assert gradients(with_own)["projections.image.0.weight"].any()


@pytest.mark.parametrize("limit", [0.05, 1000.0], ids=["clipped", "not clipped"])
def test_steps_are_adamw_on_clipped_gradients(limit):
    """Against the algorithm as its paper has it (Loshchilov & Hutter, 2019), in float64."""
    training_step = make_engine(*EXACT, f"train.max_grad_norm={limit}", "train.warmup_ratio=0", "train.ema_decay=0")
    decays = {
        name: group["weight_decay"]
        for group in training_step.optimizer.param_groups
        for name in [training_step.names[parameter] for parameter in group["params"]]
    }
    assert set(decays.values()) == {0.0, training_step.config.weight_decay}
    expected = {name: tensor.double() for name, tensor in weights_of(training_step).items()}
    moments = {name: [torch.zeros_like(tensor), torch.zeros_like(tensor)] for name, tensor in expected.items()}
    for number in range(4):
        training_step.accumulate(cut(make_step(number)))
        found = {
            name: torch.zeros_like(expected[name]) if grad is None else grad.double()
            for name, grad in gradients(training_step).items()
        }
        norm = sum(grad.square().sum() for grad in found.values()).sqrt().item()
        assert (norm > limit) is (limit < 1)
        assert training_step.update().item() == pytest.approx(norm, rel=1e-4)
        rate = 0.01 * rate_factor(number, 100, 0)
        assert training_step.learning_rate == pytest.approx(rate)
        for name, unclipped in found.items():
            grad = unclipped * min(1.0, limit / norm)
            mean, square = moments[name]
            mean.mul_(BETAS[0]).add_((1 - BETAS[0]) * grad)
            square.mul_(BETAS[1]).add_((1 - BETAS[1]) * grad.square())
            one, two = (moment / (1 - beta ** (number + 1)) for moment, beta in zip((mean, square), BETAS, strict=True))
            expected[name] -= rate * (decays[name] * expected[name] + one / (two.sqrt() + 1e-8))
        assert all(parameter.grad is None for parameter in training_step.plain.parameters())
    for name, tensor in weights_of(training_step).items():
        torch.testing.assert_close(
            tensor.double(), expected[name], rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_a_parameter_without_a_gradient_goes_on_by_its_moments():
    """It must not depend on which modalities the rows of a step happen to have."""
    training_step = make_engine(*EXACT, "train.weight_decay=0")
    move(training_step, make_step())
    before = weights_of(training_step)
    move(training_step, make_step(1, absent={("image", row) for row in range(ROWS)}))
    for name, tensor in weights_of(training_step).items():
        if "image" in name:
            assert not torch.equal(tensor, before[name]), name


def test_the_schedule_is_that_of_the_stage():
    training_step = make_engine("train.learning_rate=0.01", "train.warmup_ratio=0.25", steps=8)
    rates = []
    for number in range(8):
        move(training_step, make_step(number))
        rates.append(training_step.learning_rate)
    assert rates == [pytest.approx(0.01 * rate_factor(number, 8, 0.25)) for number in range(8)]
    assert rates[:2] == [pytest.approx(0.005), pytest.approx(0.01)]


def test_the_average_is_that_of_the_weights_after_every_step():
    training_step = make_engine(*EXACT, "train.ema_decay=0.2")
    expected = {name: tensor.double() for name, tensor in weights_of(training_step).items()}
    for number in range(4):
        move(training_step, make_step(number))
        keep = (0.1, 2 / 11, 0.2, 0.2)[number]
        for name, tensor in weights_of(training_step).items():
            expected[name] = keep * expected[name] + (1 - keep) * tensor.double()
    for name, tensor in training_step.ema_weights.items():
        torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-4, atol=1e-6)
        assert training_step.current[name].data_ptr() != tensor.data_ptr()
    assert any(
        not torch.equal(tensor, training_step.ema_weights[name]) for name, tensor in training_step.current.items()
    )


def test_without_an_average_the_weights_themselves_are_it():
    training_step = make_engine(*EXACT, "train.ema_decay=0")
    move(training_step, make_step())
    assert training_step.ema_weights is training_step.current


def test_it_goes_on_from_its_state_to_the_same_bytes():
    through = make_engine(*EXACT, steps=6)
    for number in range(3):
        move(through, make_step(number))
    kept = weights_of(through)
    optimizer = {
        name: {part: tensor.clone() for part, tensor in parts.items()}
        for name, parts in through.optimizer_tensors().items()
    }
    ema_weights = {name: tensor.clone() for name, tensor in through.ema_weights.items()}
    resumed = make_engine(*EXACT, steps=6, done=3)
    resumed.plain.load_state_dict(kept)
    resumed.restore(optimizer, ema_weights)
    for training_step, number in itertools.product((through, resumed), range(3, 6)):
        move(training_step, make_step(number))
    assert resumed.learning_rate == through.learning_rate
    for name, tensor in through.current.items():
        assert torch.equal(resumed.current[name], tensor), name
        assert torch.equal(resumed.ema_weights[name], through.ema_weights[name]), name
