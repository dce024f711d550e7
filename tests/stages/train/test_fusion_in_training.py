import json

import numpy as np
import pytest

from tasks.modeling.inference import predict_probabilities
from tasks.modeling.package import load_model
from tasks.samples import Samples
from tasks.train.train import train


@pytest.mark.parametrize(
    "change",
    [
        ("fusion.kind=gated", "fusion.head_init=truncated-normal"),
        ("fusion.kind=attention", "train.contrastive_weight=0.1"),
        ("fusion.kind=late", "fusion.shared_projection=true"),
    ],
    ids=lambda change: change[0],
)
def test_every_fusion_is_trained_packed_and_predicts_without_anything(make_world, change):
    world, same = (make_world("train.epochs=2", *change) for _ in range(2))
    ref = train(*world.all, isolate=False)
    assert train(*same.all, isolate=False).model_sha256 == ref.model_sha256
    model = load_model(world.store.path(ref.uri))
    samples = Samples.read(world.store.path(world.valid.uri))
    outputs = [
        predict_probabilities(model, samples, world.features, world.store, subset)
        for subset in (("image", "audio"), ("image",), ("audio",), ())
    ]
    for one in outputs:
        np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-5)
    assert np.ptp(outputs[3], axis=0).max() < 1e-6  # nothing was given: every row gets the same answer
    assert not np.allclose(outputs[0], outputs[1])


def test_alignment_adds_to_the_loss_in_proportion(make_world):
    """Of the first step, before anything has been learned."""
    losses = []
    for weight in (0.0, 0.5, 1.0):
        world = make_world("train.epochs=1", "train.batch_size=16", f"train.contrastive_weight={weight}")
        ref = train(*world.all, isolate=False)
        history = json.loads((world.store.path(ref.uri) / "history.json").read_text())
        losses.append(history["epochs"][0]["train_loss"])
    assert losses[1] > losses[0] + 0.1
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-4)
