"""Frozen networks are shared by threads: one for every device, which is never moved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.config import EncodersConfig
from tasks.modeling.embed import embed
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained import weights
from tasks.modeling.pretrained.describe import describe_encoder
from tasks.modeling.pretrained.weights import frozen_encoder


@pytest.fixture
def spec(squeezenet: Path, monkeypatch: pytest.MonkeyPatch) -> EncoderSpec:
    monkeypatch.setattr(weights, "_frozen", type(weights._frozen)())
    return describe_encoder("image", f"torchvision:squeezenet1_1@{squeezenet}", "head", EncodersConfig())


def test_every_device_has_its_own(spec: EncoderSpec) -> None:
    here, elsewhere = frozen_encoder("image", spec), frozen_encoder("image", spec, torch.device("meta"))
    places = [{tensor.device.type for tensor in (*net.parameters(), *net.buffers())} for net in (here, elsewhere)]
    assert places == [{"cpu"}, {"meta"}]
    assert frozen_encoder("image", spec) is here
    assert frozen_encoder("image", spec, torch.device("meta")) is elsewhere


def test_threads_that_ask_at_once_get_one(spec: EncoderSpec) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: frozen_encoder("image", spec), range(8)))
    assert len(found) == 1


def test_looking_through_one_moves_nothing(spec: EncoderSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU two threads that move it at once leave garbage in it."""
    frozen_encoder("image", spec)
    monkeypatch.delattr(torch.nn.Module, "to")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    found = dict(embed("image", spec, list(zip("abc", pictures, strict=True))))
    assert {name: vector.shape for name, vector in found.items()} == dict.fromkeys("abc", (512,))
