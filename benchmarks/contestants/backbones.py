"""Pretrained networks as a script of transformers reads them; nothing of crossmodal is in it.

Pictures: a folder of `timm_wrapper`, the whole picture scaled to a square. Texts: the mean over the real tokens, 256 of them
at most. Sounds: Whisper's encoder over its 30 s, the mean over the positions in which there is sound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.contestants.exchange import Request, Row

MAX_TOKENS = 256
BATCH = 32
Batch = dict[str, Tensor]


class Picture(nn.Module):
    """A network of timm: paths to vectors (N, D)."""

    def __init__(self, folder: str, px: int) -> None:
        super().__init__()
        from timm.data import create_transform, resolve_data_config
        from transformers import AutoModel

        self.network = AutoModel.from_pretrained(folder)
        self.width: int = self.network.config.num_features
        known = resolve_data_config(self.network.config.pretrained_cfg)
        self.transform = cast(
            Callable[[Any], Tensor], create_transform(**{**known, "input_size": (3, px, px), "crop_pct": 1.0})
        )

    def prepare(self, paths: Sequence[str]) -> Batch:
        """Pixels (N, 3, px, px)."""
        from PIL import Image

        return {"pixels": torch.stack([self.transform(Image.open(path).convert("RGB")) for path in paths])}

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, D)"""
        return cast(Tensor, self.network(pixels).pooler_output)


class Text(nn.Module):
    """A network of transformers: texts to vectors (N, D)."""

    def __init__(self, folder: str, px: int) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        self.network = AutoModel.from_pretrained(folder, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.width: int = self.network.config.hidden_size

    def prepare(self, texts: Sequence[str]) -> Batch:
        """Tokens (N, T) and which are real (N, T)."""
        return dict(
            self.tokenizer(list(texts), return_tensors="pt", padding=True, truncation=True, max_length=MAX_TOKENS)
        )

    def forward(self, attention_mask: Tensor, **tokens: Tensor) -> Tensor:
        """(N, D)"""
        states = self.network(attention_mask=attention_mask, **tokens).last_hidden_state
        real = attention_mask[..., None].to(states.dtype)
        return cast(Tensor, (states * real).sum(1) / real.sum(1))


class Sound(nn.Module):
    """Whisper's encoder: paths to vectors (N, D)."""

    def __init__(self, folder: str, px: int) -> None:
        super().__init__()
        from transformers import WhisperFeatureExtractor, WhisperModel

        self.network = WhisperModel.from_pretrained(folder, dtype=torch.float32).get_encoder()
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        self.width: int = self.network.config.d_model

    def prepare(self, paths: Sequence[str]) -> Batch:
        """Log-mels (N, 80, 3000) and positions with sound (N,)."""
        import soundfile
        import soxr

        rate = self.extractor.sampling_rate
        waves = []
        for path in paths:
            wave, own = soundfile.read(path, dtype="float32", always_2d=True)
            waves.append(soxr.resample(wave.mean(1), own, rate))
        features = self.extractor(waves, sampling_rate=rate, return_tensors="pt").input_features
        step = 2 * self.extractor.hop_length
        return {
            "features": features,
            "positions": torch.tensor([max(math.ceil(len(wave) / step), 1) for wave in waves]),
        }

    def forward(self, features: Tensor, positions: Tensor) -> Tensor:
        """(N, D)"""
        states = self.network(features).last_hidden_state
        real = (torch.arange(states.shape[1]) < positions[:, None])[..., None].to(states.dtype)
        return cast(Tensor, (states * real).sum(1) / real.sum(1))


KINDS = {"image": Picture, "text": Text, "audio": Sound}


class Backbones(nn.Module):
    """The networks of all inputs, their vectors beside each other (N, D)."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(
            {name: KINDS[name](folder, request["px"]) for name, folder in request["inputs"].items()}
        )
        self.width: int = sum(cast(int, network.width) for network in self.networks.values())

    def prepare(self, rows: Sequence[Row]) -> dict[str, Batch]:
        """What every network reads of some rows."""
        return {
            name: cast(Any, network).prepare([row[name] for row in rows]) for name, network in self.networks.items()
        }

    def forward(self, inputs: dict[str, Batch]) -> Tensor:
        """(N, D)"""
        return torch.cat([network(**inputs[name]) for name, network in self.networks.items()], dim=1)

    def embed(self, rows: Sequence[Row]) -> Tensor:
        """(N, D), of frozen networks, a batch at a time."""
        self.eval()
        with torch.inference_mode():
            found = [self(self.prepare(part)) for part in _batches(rows)]
        return torch.cat(found).clone()


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]
