"""A head trained with its gradients written down learns what autograd would have it learn."""

import itertools
import json

import numpy as np
import pytest
import torch

from tasks.config import load_config
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion import FusedClassifier, Present
from tasks.train import trainer
from tasks.train.drawing import Piece
from tasks.train.engine import Engine
from tasks.train.feeding import Ready
from tasks.train.head_engine import HeadEngine
from tasks.train.processes import Processes
from tasks.train.regimes import Stage
from tasks.train.train import train

STAGE = Stage("head", 1, False)
WIDTHS = {"image": 7, "text": 5}


def make_model(config, widths, **spec):
    torch.manual_seed(3)
    specs = {
        name: EncoderSpec(encoder="hf:x", width=width, weights_sha256="0" * 64, **({"reads": "embedding"} | spec))
        for name, width in widths.items()
    }
    return FusedClassifier(specs, 3, config.fusion)


def make_piece(widths, absent=(), hide=False, last=True, share=1.0):
    """Six rows; of each modality those in `absent` lack it."""
    batch, shares = {}, []
    for name, width in widths.items():
        rows = torch.tensor([n for n in range(6) if (name, n) not in absent], dtype=torch.int64)
        shares.append(share * len(rows) / 6)
        if len(rows):
            batch[name] = Present(rows, torch.randn(len(rows), width), torch.full((len(rows),), width))
    hidden = torch.rand(6, len(widths)) < 0.4 if hide else None
    soft = torch.randn(6, 3).softmax(dim=1)
    return Ready(
        batch,
        soft,
        torch.rand(6),
        hidden,
        Piece(np.arange(6), None, share, np.array(shares), np.ones(len(widths), np.bool_), 11, last),
    )


def make_engines(widths, *settings, balance=None):
    """Both of them, on models of the same weights, and the names that move."""
    config = load_config({}, ["train.device=cpu", "fusion.width=8", "fusion.hidden=9", *settings])
    written, derived = make_model(config, widths), make_model(config, widths)
    moving = frozenset(written.state_dict())
    processes = Processes(config.train)
    assert HeadEngine.suits(written, config, processes)
    return (
        HeadEngine(written, config.train, moving, balance),
        Engine(derived, STAGE, config.train, processes, moving, balance),
    )


def both_engines(widths, *settings, balance=None, pieces=()):
    """The same, after the pieces of one step; the losses must agree."""
    engines = make_engines(widths, *settings, balance=balance)
    losses = []
    for engine in engines:
        engine.enter_training()
        loss, rows = engine.accumulate(iter(pieces))
        assert rows == 6 * len(pieces)
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    return engines


def assert_same_gradients(written, derived):
    for name, parameter in derived.plain.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(
            written.gradients[name], expected, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


CASES = {
    "one": ({"image": 7}, {}),
    "one, hidden in some rows": ({"image": 7}, {"hide": True}),
    "two": (WIDTHS, {}),
    "rows that lack one": (WIDTHS, {"absent": {("image", 1), ("image", 4), ("text", 0)}}),
    "rows that lack one, others hidden": (WIDTHS, {"absent": {("image", 1), ("text", 0)}, "hide": True}),
    "none has it": (WIDTHS, {"absent": {("image", n) for n in range(6)}, "hide": True}),
}


@pytest.mark.parametrize(("widths", "how"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("balance", [None, torch.tensor([0.5, 1.0, 2.5])])
def test_the_gradients_are_those_of_autograd(widths, how, balance):
    torch.manual_seed(0)
    pieces = [make_piece(widths, **how)]
    assert_same_gradients(*both_engines(widths, "fusion.dropout=0", balance=balance, pieces=pieces))


@pytest.mark.parametrize("activation", ["gelu", "relu", "silu", "tanh"])
def test_every_activation_has_its_slope(activation):
    torch.manual_seed(0)
    settings = ("fusion.dropout=0", f"fusion.activation={activation}")
    assert_same_gradients(*both_engines(WIDTHS, *settings, pieces=[make_piece(WIDTHS)]))


def test_the_pieces_of_a_step_add_up():
    torch.manual_seed(0)
    first, second = (make_piece(WIDTHS, hide=True, last=last, share=0.5) for last in (False, True))
    assert_same_gradients(*both_engines(WIDTHS, "fusion.dropout=0", "train.label_smoothing=0", pieces=[first, second]))


def test_what_is_dropped_carries_no_gradient():
    """Both drop the same elements here: what they draw is not the same."""
    torch.manual_seed(0)
    piece = make_piece(WIDTHS, hide=True)
    written, derived = make_engines(WIDTHS, "fusion.dropout=0.5")
    masks = written._masks((6, 18), (6, 9), 5)
    assert all((mask == 0).any() for mask in masks)
    written._masks = lambda *_: masks

    class Drop(torch.nn.Module):
        def __init__(self, mask):
            super().__init__()
            self.mask = mask

        def forward(self, x):
            return x * self.mask

    derived.plain.shared[0], derived.plain.shared[3] = (Drop(mask) for mask in masks)
    losses = [engine.accumulate(iter([piece]))[0].item() for engine in (written, derived)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert_same_gradients(written, derived)


def test_the_share_that_is_dropped_is_the_one_asked_for():
    written = make_engines({"image": 7}, "fusion.dropout=0.3")[0]
    one, two = written._masks((400, 300), (400, 200), 5)
    for mask in (one, two):
        assert (mask == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
        assert mask.mean().item() == pytest.approx(1.0, abs=0.01)
        assert len(mask.unique()) == 2
    one, again, other = (written._masks((400, 300), (400, 200), seed)[0].clone() for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert make_engines({"image": 7}, "fusion.dropout=0")[0]._masks((4, 3), (4, 2), 5) == (None, None)


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_steps_move_weights_and_average_alike(decay):
    torch.manual_seed(0)
    settings = ("fusion.dropout=0", f"train.average_decay={decay}", "train.clip_norm=0.22", "train.learning_rate=0.01")
    written, derived = make_engines(WIDTHS, *settings)
    norms = []
    for step in range(5):
        piece = make_piece(WIDTHS, hide=True)
        for engine in (written, derived):
            engine.enter_training()
            engine.accumulate(iter([piece]))
            norms.append(engine.update(1 / (step + 1), step).item())
        assert norms[-2] == pytest.approx(norms[-1], rel=1e-4)
    assert max(norms) > 0.22  # clipping took part
    assert min(norms) < 0.22
    assert written.learning_rate == derived.learning_rate == pytest.approx(0.01 / 5)
    for mine, theirs in ((written.current, derived.current), (written.average, derived.average)):
        assert mine.keys() == theirs.keys()
        for name in mine:
            torch.testing.assert_close(mine[name], theirs[name], rtol=1e-3, atol=1e-5)
    moments = written.optimizer_tensors()
    for name, parts in derived.optimizer_tensors().items():
        for part, tensor in parts.items():
            torch.testing.assert_close(moments[name][part], tensor, rtol=1e-3, atol=1e-5)


def test_either_goes_on_from_the_state_of_the_other():
    torch.manual_seed(0)
    pieces = [make_piece(WIDTHS) for _ in range(3)]
    settings = ("fusion.dropout=0", "train.learning_rate=0.01")
    engines = make_engines(WIDTHS, *settings)
    swapped = make_engines(WIDTHS, *settings)
    for engine in engines:
        for step, piece in enumerate(pieces[:2]):
            engine.accumulate(iter([piece]))
            engine.update(1.0, step)
    for kept, other in itertools.product(engines, swapped):
        other.plain.load_state_dict(kept.current)
        copies = {
            name: {part: t.clone() for part, t in parts.items()} for name, parts in kept.optimizer_tensors().items()
        }
        other.restore(copies, {name: tensor.clone() for name, tensor in kept.average.items()})
        other.accumulate(iter(pieces[2:]))
        other.update(1.0, 2)
    for engine in engines:
        engine.accumulate(iter(pieces[2:]))
        engine.update(1.0, 2)
    for engine, name in itertools.product((*swapped, engines[1]), engines[0].current):
        torch.testing.assert_close(engine.current[name], engines[0].current[name], rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(engine.average[name], engines[0].average[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        "fusion.kind=gated",
        "fusion.trunk=shared",
        "train.loss=focal",
        "train.alignment=0.1",
        "fusion.dropout=1",
        "train.devices=2",
    ],
)
def test_what_is_not_written_down_is_left_to_autograd(settings, monkeypatch):
    monkeypatch.setattr(Processes, "_join", lambda self: None)
    config = load_config({}, ["train.device=cpu", settings])
    assert not HeadEngine.suits(make_model(config, WIDTHS), config, Processes(config.train))


def test_encoders_that_are_trained_are_left_to_autograd():
    config = load_config({}, ["train.device=cpu"])
    model = FusedClassifier({"image": EncoderSpec(encoder="tiny", reads="inputs")}, 3, config.fusion)
    assert not HeadEngine.suits(model, config, Processes(config.train))


def test_a_run_ends_where_autograd_ends(make_world, shufflenet, monkeypatch):
    """Through the loop, with rows that lack a clip, blends, and steps of two pieces."""
    clips = shufflenet[0].replace("image", "video", 1)
    steps = ("train.accumulate=2", "train.batch_size=4")
    settings = (*shufflenet, clips, "fusion.dropout=0", "train.mixup=0.4", *steps)
    curves, calls = [], []
    real = HeadEngine.accumulate
    monkeypatch.setattr(HeadEngine, "accumulate", lambda self, feed: calls.append(1) or real(self, feed))
    for suits in (HeadEngine.suits, lambda *_: False):
        monkeypatch.setattr(trainer.HeadEngine, "suits", staticmethod(suits))
        world = make_world(*settings, width=1024)
        ref = train(*world.all, isolate=False)
        curves.append(json.loads((world.store.path(ref.uri) / "history.json").read_text())["epochs"])
        assert len(calls) == 3 * 2
    for one, other in zip(*curves, strict=True):
        for key in ("train_loss", "val_loss", "grad_norm"):
            assert one[key] == pytest.approx(other[key], abs=1e-4)
