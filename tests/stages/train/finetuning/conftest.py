"""Small networks of the families that regimes must know, dressed as pretrained encoders."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from tasks.config import FusionConfig
from tasks.modeling.encoder_base import Encoder
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.encoders import build_encoder
from tasks.modeling.fusion import classifier
from tasks.modeling.fusion.classifier import FusedClassifier, Present

TUNED = EncoderSpec(encoder="stand-in", reads="inputs", width=16, weights_sha256="0" * 64)


class Convolutional(Encoder):
    """MobileNetV2 with an eighth of its channels: batch norms, depthwise and 1x1 convolutions, dropout at the end."""

    width = 1280

    def __init__(self) -> None:
        super().__init__()
        self.net = torchvision.models.mobilenet_v2(width_mult=0.125)
        del self.net.classifier
        norms = [module for module in self.net.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:  # statistics as after training: with those of a new network next to nothing comes through
            norm.momentum = 1.0
        self.net.features(torch.rand(16, 3, 64, 64))
        for norm in norms:
            norm.momentum = 0.1

    def blocks(self) -> list[nn.Module]:
        return list(self.net.features)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.net.features(x).mean(dim=(2, 3))


class Transformer(Encoder):
    """torchvision's ViT, whose attention reads weights without calling their layers."""

    width = 16

    def __init__(self) -> None:
        super().__init__()
        self.net = torchvision.models.VisionTransformer(32, 8, 3, 2, 16, 32, dropout=0.1)
        self.net.heads = nn.Identity()

    def blocks(self) -> list[nn.Module]:
        return list(self.net.encoder.layers)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.net(x)


class Words(Encoder):
    """BERT on token ids."""

    width = 16

    def __init__(self) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        self.net = BertModel(config, add_pooling_layer=False)

    def blocks(self) -> list[nn.Module]:
        return list(self.net.encoder.layer)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        mask = torch.arange(x.shape[1]) < lengths[:, None]
        return self.net(x, attention_mask=mask.long()).last_hidden_state[:, 0]


ALL_MODALITIES: dict[str, type[Encoder]] = {"convolutional": Convolutional, "transformer": Transformer, "words": Words}


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FusedClassifier]:
    """Builds a classifier of one stand-in (or an encoder's class), and a tiny encoder of sound beside it."""

    def make(kind: str | type[Encoder] = "convolutional", spec: EncoderSpec = TUNED) -> FusedClassifier:
        name = "text" if kind == "words" else "image"
        network = ALL_MODALITIES[kind] if isinstance(kind, str) else kind

        def choose(modality, spec):
            return network() if modality == name else build_encoder(modality, spec)

        monkeypatch.setattr(classifier, "build_encoder", choose)
        torch.manual_seed(0)
        specs = {name: spec, "audio": EncoderSpec(encoder="tiny", reads="inputs")}
        return FusedClassifier(specs, 3, FusionConfig(embed_dim=8, hidden=8))

    return make


@pytest.fixture
def batch_of() -> Callable[..., dict[str, Present]]:
    return make_batch


def make_batch(model: FusedClassifier, seed: int = 0) -> dict[str, Present]:
    """Four rows with everything."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(4)
    sound = Present(rows, torch.randn(4, 20, 16, generator=generator), torch.full((4,), 20))
    if "text" in model.modalities:
        words = torch.randint(0, 50, (4, 7), generator=generator)
        return {"text": Present(rows, words, torch.tensor([7, 3, 5, 7])), "audio": sound}
    pictures = torch.rand(4, 3, 32, 32, generator=generator)
    return {"image": Present(rows, pictures, torch.ones(4).long()), "audio": sound}
