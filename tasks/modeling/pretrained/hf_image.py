"""Encoders of pictures and of clips from transformers, with the processor's own side, mean and deviation."""

from __future__ import annotations

import inspect
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel, PreTrainedModel

from tasks.errors import UsageError
from tasks.modeling.pretrained.adapter import Pixels, Settings, pick_frames
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.transformers_models import LOCAL, Transformer, one_line, portable, read_config

CLIP_NETWORKS = {"videomae": "mean", "timesformer": "first", "vivit": "first"}
"""Networks that read clips, and what of their output stands for the clip."""
_POOLING = {
    "vit": "first",
    "deit": "first",
    "vit_msn": "first",
    "dinov2": "first and mean",  # as its own linear classifier reads it
    "dinov2_with_registers": "first and mean",
    "vit_mae": "mean",
    "beit": "mean",
}
"""Of networks of tokens; the others give a pooled vector themselves: a tower of CLIP or SigLIP, a network of convolutions."""


def picture_settings(encoder: str, place: Place, clips: bool) -> Settings:
    """Config, pooling, and what the processor does to a picture. UsageError where the folder reads something else."""
    config = read_config(encoder, place)
    config = getattr(config, "vision_config", config)
    kind = config.model_type
    if kind in CLIP_NETWORKS and not clips:
        raise UsageError(f"encoder {encoder}: {kind} reads clips; use it for encoders.video")
    frames = int(config.num_frames) if kind in CLIP_NETWORKS else None
    return {
        "adapter": "hf-pictures" if frames is None else "hf-clips",
        "config": portable(config),
        "pooling": CLIP_NETWORKS.get(kind) or _POOLING.get(kind, "own"),
        **_processing(encoder, place),
        **({} if frames is None else {"frames": frames}),
    }


def _processing(encoder: str, place: Place) -> Settings:
    """Side, filter, mean and deviation for pixels in [0, 1], whatever range the processor brings them to first."""
    try:
        processor: Any = AutoImageProcessor.from_pretrained(place.root, **LOCAL)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"encoder {encoder}: no processor of pictures in its folder ({one_line(error)})") from None
    sizes = dict(processor.crop_size or {}) if getattr(processor, "do_center_crop", False) else {}
    sizes = sizes or dict(processor.size or {})
    px = sizes.get("height") or sizes.get("shortest_edge") or sizes.get("longest_edge")
    if px is None:
        raise UsageError(f"encoder {encoder}: its processor names no side ({sizes}); is it one of pictures?")
    factor = getattr(processor, "rescale_factor", 1 / 255) if getattr(processor, "do_rescale", True) else 1.0
    scale, offset = 255.0 * factor, 1.0 if getattr(processor, "offset", False) else 0.0
    normalised = getattr(processor, "do_normalize", True)
    mean = processor.image_mean if normalised else [0.0, 0.0, 0.0]
    std = processor.image_std if normalised else [1.0, 1.0, 1.0]
    return {
        "px": int(px),
        "mean": [(float(value) + offset) / scale for value in mean],
        "std": [float(value) / scale for value in std],
        "resample": 3 if int(getattr(processor, "resample", None) or 2) == 3 else 2,
    }


class _Vision(Transformer):
    """What pictures and clips share."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.pooling = settings["pooling"]
        if self.pooling == "first and mean":
            self.width *= 2
        self.pixels = Pixels(settings["px"], settings["mean"], settings["std"], settings["resample"])
        takes = inspect.signature(self.network.forward).parameters
        resized = settings["px"] != getattr(self.network.config, "image_size", settings["px"])
        self.options = {"interpolate_pos_encoding": True} if resized and "interpolate_pos_encoding" in takes else {}
        self.registers = int(getattr(self.network.config, "num_register_tokens", 0))

    def make(self, config: Any) -> PreTrainedModel:
        """The network; without its pooler where the tokens themselves are read."""
        network: Any = AutoModel.from_config(config, trust_remote_code=False)
        tokens = config.model_type in _POOLING
        if tokens and getattr(network, "pooler", None) is not None:
            network.pooler = None
        return cast(PreTrainedModel, network)

    def pool(self, output: Any) -> Tensor:
        """The output of the network -> (B, width)."""
        if self.pooling == "own":
            own: Tensor = output.pooler_output
            return own.flatten(1)
        tokens: Tensor = output.last_hidden_state
        if self.pooling == "mean":
            return tokens.mean(dim=1)
        if self.pooling == "first":
            return tokens[:, 0]
        return torch.cat([tokens[:, 0], tokens[:, 1 + self.registers :].mean(dim=1)], dim=1)


class Pictures(_Vision):
    """ViT, DINOv2, the towers of CLIP and SigLIP, ConvNeXt and others."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.network.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1], (B,) unused -> (B, width)."""
        pixels = self.pixels(x).contiguous(memory_format=torch.channels_last)
        return self.joined(self.pool(self.network(pixel_values=pixels, **self.options)))


class Clips(_Vision):
    """VideoMAE and others that read a fixed number of frames."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.frames = int(settings["frames"])
        side = getattr(self.network.config, "image_size", settings["px"])
        if settings["px"] != side and not self.options:
            raise ValueError(f"its positions are those of {side} px")

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, N, 3, S, S) in [0, 1], (B,) frames -> (B, width)."""
        clips = pick_frames(x, lengths, self.frames)
        pixels = self.pixels(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        return self.joined(self.pool(self.network(pixel_values=pixels, **self.options)))
