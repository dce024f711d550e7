"""Small networks of every pretrained family with random weights, and what they read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from torch import Tensor

from data_contracts.refs import InputName
from tasks.config import EncodersConfig
from tasks.modeling.pretrained.adapter import Pretrained
from tasks.modeling.pretrained.describe import describe_encoder
from tasks.modeling.pretrained.weights import frozen_encoder

MakeFolder = Callable[..., Path]

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}

CLIP_SMALL = SMALL | {"projection_dim": 16}
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]

RATE_HZ = 16_000


def load(modality: InputName, folder: Path, px: int | None = None) -> Pretrained:
    spec = describe_encoder(modality, f"hf:{folder}", "head", EncodersConfig(image_px=px))
    encoder = frozen_encoder(modality, spec)
    assert spec.width == encoder.width
    return encoder


def pictures(count: int = 3, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def normalised(x: Tensor) -> Tensor:
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def waves(*samples: int) -> tuple[Tensor, Tensor, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    rows = [rng.normal(0.01, 0.1, n).astype(np.float32) for n in samples]
    x = torch.zeros(len(rows), max(samples))
    for number, row in enumerate(rows):
        x[number, : len(row)] = torch.from_numpy(row)
    return x, torch.tensor(samples), rows


def processor() -> Any:
    return hf.ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=MEAN, image_std=STD, do_resize=True, do_normalize=True
    )


VISION: dict[str, tuple[type, Callable[[], Any], str]] = {
    "vit": (hf.ViTModel, lambda: hf.ViTConfig(image_size=32, patch_size=8, **SMALL), "first"),
    "dinov2": (hf.Dinov2Model, lambda: hf.Dinov2Config(image_size=32, patch_size=8, **SMALL), "both"),
    "clip": (
        hf.CLIPModel,
        lambda: hf.CLIPConfig(
            vision_config={"image_size": 32, "patch_size": 8, **CLIP_SMALL},
            text_config={"vocab_size": 50, **CLIP_SMALL},
        ),
        "own",
    ),
    "convnext": (
        hf.ConvNextModel,
        lambda: hf.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], image_size=32),
        "own",
    ),
}

SPEECH = {
    "conv_dim": (16, 16),
    "conv_kernel": (10, 4),
    "conv_stride": (5, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    **SMALL,
}

TEXT: dict[str, tuple[type, Callable[[], Any]]] = {
    "bert": (hf.BertModel, lambda: hf.BertConfig(vocab_size=50, max_position_embeddings=64, **SMALL)),
    "roberta": (
        hf.RobertaModel,
        lambda: hf.RobertaConfig(vocab_size=50, max_position_embeddings=64, pad_token_id=1, **SMALL),
    ),
    "modernbert": (
        hf.ModernBertModel,
        lambda: hf.ModernBertConfig(
            vocab_size=50, max_position_embeddings=64, pad_token_id=0, eos_token_id=3, bos_token_id=2,
            cls_token_id=2, sep_token_id=3, **SMALL,
        ),
    ),
    "distilbert": (
        hf.DistilBertModel,
        lambda: hf.DistilBertConfig(vocab_size=50, dim=32, n_layers=2, n_heads=2, hidden_dim=64),
    ),
}  # fmt: skip

TOKENS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
LENGTHS = torch.tensor([5, 3])
