"""Fusion that multiplies: it begins as concat, and what a missing input takes with it; every kind is served."""

from typing import get_args

import pytest
import torch

from tasks.config import FusionConfig
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.bilinear import FACTORS, Bilinear
from tasks.modeling.fusion.classifier import FusedClassifier, Present
from tasks.modeling.fusion.concat import Concat
from tasks.modeling.pretrained.fuse_conv_bn import fold_norms

CONFIG = FusionConfig(embed_dim=16, hidden=16, dropout=0.0)
ROWS, OUTPUTS = 5, 3


def _bilinear(inputs=3):
    torch.manual_seed(0)
    return Bilinear(inputs, CONFIG).eval()


def test_bilinear_begins_as_concat():
    join, plain = _bilinear(), Concat(3, CONFIG).eval()
    plain[1].weight.data = join.layer[1].weight.data[:, : 3 * 17]
    plain[1].bias.data = join.layer[1].bias.data
    vectors, seen = torch.randn(ROWS, 3, 16), torch.ones(ROWS, 3)
    torch.testing.assert_close(join(vectors, seen), plain(vectors, seen))


def test_products_are_bilinear_in_every_pair():
    """By hand: what channel 0 is before it is scaled; and a vector turned around turns the product around."""
    join = _bilinear(2)
    for layer in join.factors:
        torch.nn.init.zeros_(layer.bias)
    vectors, seen = torch.randn(ROWS, 2, 16), torch.ones(ROWS, 2)
    found = join.products(vectors, seen)
    one, other = (layer(vectors[:, k]) for k, layer in enumerate(join.factors))
    first = (one * other)[:, :FACTORS].sum(dim=1)
    assert torch.equal(found[:, 0].sign(), first.sign())
    torch.testing.assert_close(join.products(vectors * torch.tensor([-1.0, 1.0])[:, None], seen), -found)
    torch.testing.assert_close(join.products(vectors * -1, seen), found)
    torch.testing.assert_close(found.square().mean(dim=1), torch.ones(ROWS), rtol=0.02, atol=0)


def test_a_missing_input_takes_its_pairs_with_it_and_no_others():
    join = _bilinear()
    vectors, seen = torch.randn(2, 3, 16), torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    alone = _bilinear(2)
    alone.factors = torch.nn.ModuleList([join.factors[0], join.factors[2]])
    found = join.products(vectors, seen)
    torch.testing.assert_close(found[:1], alone.products(vectors[:1, [0, 2]], torch.ones(1, 2)))
    assert torch.equal(found[1], torch.zeros(16))  # no pair, exactly nothing
    assert torch.equal(_bilinear(1).products(vectors[:, :1], seen[:, :1]), torch.zeros(2, 16))


@pytest.mark.parametrize("inputs", [1, 2, 4])
def test_bilinear_has_as_many_weights_as_it_says(inputs):
    count = sum(parameter.numel() for parameter in Bilinear(inputs, CONFIG).parameters())
    assert count == inputs * FACTORS * 16 * 17 + (inputs * 17 + 16) * 16 + 16


def test_gradients_are_finite_where_products_are_zero():
    join = _bilinear(2).train()
    torch.nn.init.constant_(join.layer[1].weight, 0.1)
    vectors = torch.zeros(ROWS, 2, 16, requires_grad=True)
    for layer in join.factors:
        torch.nn.init.zeros_(layer.bias)
    join(vectors, torch.ones(ROWS, 2)).sum().backward()
    assert vectors.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in join.parameters())


def _specs(names):
    return {name: EncoderSpec(encoder="tiny", reads="inputs") for name in names}


def _stirred(model):
    draw = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
    return model


def _batch(names=("image", "text", "image_2"), rows=range(ROWS)):
    draw = torch.Generator().manual_seed(1)
    rows = torch.tensor(list(rows))
    found = {}
    for name in names:
        pictures = torch.rand(ROWS, 3, 16, 16, generator=draw)
        words = torch.randint(97, 122, (ROWS, 12), generator=draw)
        values = words if name == "text" else pictures
        found[name] = Present(rows, values[rows], torch.full((len(rows),), 12))
    return found


@pytest.mark.parametrize("kind", get_args(FusionConfig.model_fields["kind"].annotation))
def test_a_model_of_every_kind_answers_the_same_once_its_norms_are_folded(kind):
    """As a served and an exported one is."""
    torch.manual_seed(0)
    model = FusedClassifier(_specs(("image", "text")), OUTPUTS, CONFIG.model_copy(update={"kind": kind}))
    batch = _batch(("image", "text"))
    with torch.inference_mode():
        before = _stirred(model).eval()(batch, ROWS).logits
        fold_norms(model)
        torch.testing.assert_close(model(batch, ROWS).logits, before, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
