"""Embeddings standardised while a head is trained on them, and the same head on embeddings as they are."""

import copy

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.config import FusionConfig
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.features import FeatureTable, Inputs
from tasks.modeling.fusion.classifier import FusedClassifier, Present
from tasks.train import standardization
from tasks.train.standardization import EPS, fold, moments_of, standardize, unfold

WIDTH = 5


def _inputs(values, places):
    rows = len(values)
    digests = pa.array([f"{n}" for n in range(rows)])
    table = FeatureTable("image", digests, np.arange(rows) * WIDTH, np.full(rows, WIDTH), values.reshape(-1))
    return Inputs({"image": table}, {"image": np.array(places)}, len(places))


@pytest.mark.parametrize("chunk", [3, 8192])
def test_moments_are_of_the_rows_that_have_the_input_each_as_often_as_it_occurs(monkeypatch, chunk):
    monkeypatch.setattr(standardization, "CHUNK", chunk)
    values = np.random.default_rng(0).normal(3, 2, (8, WIDTH)).astype(np.float32)
    values[:, 4] = 7  # never another number
    places = [0, 1, 1, -1, 5, 6, 7]  # 2, 3 and 4 are of no row, one row lacks it
    found = moments_of(_inputs(values, places))["image"]
    seen = values[[place for place in places if place >= 0]].astype(np.float64)
    np.testing.assert_allclose(found.mean, seen.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.deviation, np.sqrt(seen.var(axis=0) + EPS), rtol=1e-4)


def test_an_input_that_no_row_has_is_left_out():
    assert moments_of(_inputs(np.ones((2, WIDTH), np.float32), [-1, -1])) == {}


@pytest.mark.parametrize("kind", ["concat", "linear"])
def test_folded_in_the_answers_are_the_same(kind):
    torch.manual_seed(0)
    spec = EncoderSpec(encoder="tiny", reads="embedding", width=WIDTH)
    model = FusedClassifier({"image": spec}, 3, FusionConfig(kind=kind, embed_dim=8, hidden=8)).eval()
    values = 5 + 3 * torch.randn(6, WIDTH)
    batch = {"image": Present(torch.arange(6), values, torch.ones(6))}
    moments = moments_of(_inputs(values.numpy(), range(6)))
    raw = model(batch, 6).logits
    standardize(model, moments)
    copied = copy.deepcopy(model)
    for each in (model, copied):  # a copy reads as its original does
        standard = each(batch, 6).logits
        assert not torch.allclose(standard, raw, atol=1e-2)
        fold(each, moments)
        torch.testing.assert_close(each(batch, 6).logits, standard, rtol=1e-4, atol=1e-5)
    standardize(model, moments)
    unfold(model, moments, {"head.weight"})
    assert not torch.allclose(model(batch, 6).logits, standard, atol=1e-2), "its projection is its own"
    unfold(model, moments, {"projections.image.0.weight"})
    torch.testing.assert_close(model(batch, 6).logits, standard, rtol=1e-4, atol=1e-5)
