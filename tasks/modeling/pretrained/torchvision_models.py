"""torchvision's classification models of pictures and of clips, their heads taken off."""

from __future__ import annotations

from typing import Any

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.vision_transformer import interpolate_embeddings

from data_contracts.refs import Modality
from tasks.encoder_ids import RANDOM, EncoderId
from tasks.errors import EnvironmentFailed, UsageError
from tasks.modalities import MODALITIES
from tasks.modeling.pretrained.adapter import Pixels, Pretrained, Settings, pick_frames
from tasks.modeling.pretrained.fuse_conv_bn import fold_norms
from tasks.modeling.pretrained.locate import Place

CLIP_FRAMES = 16  # what torchvision's networks of clips were trained on
_POSITIONS = "encoder.pos_embedding"
_SPARE = ("num_batches_tracked",)


def torchvision_settings(modality: Modality, encoder: str, parsed: EncoderId) -> Settings:
    """What the network of an id sees: from the transforms that torchvision keeps beside its weights."""
    transforms = weights_entry(encoder, parsed).transforms()
    clips = parsed.name in _clip_networks()
    if clips and not MODALITIES[modality].has_frames:
        raise UsageError(f"encoder {encoder}: {parsed.name} reads clips; use it for encoders.video")
    return {
        "adapter": "torchvision-clips" if clips else "torchvision-pictures",
        "network": parsed.name,
        "px": int(transforms.crop_size[0]),
        "mean": list(transforms.mean),
        "std": list(transforms.std),
        "resample": 3 if transforms.interpolation.value == "bicubic" else 2,
        **({"frames": CLIP_FRAMES} if clips else {}),
    }


def weights_entry(encoder: str, parsed: EncoderId) -> Any:
    """What torchvision says of the weights of an id, the default ones where it names none.

    Raises UsageError for a network or for weights that torchvision does not have.
    """
    if parsed.name not in [*_clip_networks(), *torchvision.models.list_models(module=torchvision.models)]:
        raise UsageError(f"encoder {encoder}: torchvision {torchvision.__version__} has no network {parsed.name!r}")
    entries = torchvision.models.get_model_weights(parsed.name)
    if parsed.version in (None, RANDOM) or parsed.names_file:
        return entries.DEFAULT
    if parsed.version not in entries.__members__:
        known = ", ".join([*entries.__members__, RANDOM])
        raise UsageError(f"encoder {encoder}: {parsed.version!r} is neither a .safetensors file nor one of {known}")
    return entries[str(parsed.version)]


def _clip_networks() -> list[str]:
    return list(torchvision.models.list_models(module=torchvision.models.video))


class _Torchvision(Pretrained):
    """A network of torchvision, its last layer with weights replaced by nothing."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        name = settings["network"]
        self.network = torchvision.models.get_model(name, weights=None, **_options(name, settings["px"]))
        self._head, self.width = _strip_head(self.network)
        self.pixels = Pixels(settings["px"], settings["mean"], settings["std"], settings["resample"])

    def load(self, place: Place) -> None:
        """Reads a state dict as torchvision names it; the head's tensors are left out."""
        try:
            weights = load_file(place.root)
        except (OSError, SafetensorError) as error:
            raise EnvironmentFailed(f"weights {place.root}: cannot be read ({error}); fetch them again") from None
        own = self.network.state_dict()
        places = own.get(_POSITIONS)
        if places is not None and _POSITIONS in weights and weights[_POSITIONS].shape != places.shape:
            weights = dict(interpolate_embeddings(self.pixels.px, self.network.patch_size, weights))
        fitting = {name: weights[name] for name in own if name in weights and weights[name].shape == own[name].shape}
        lost = [name for name in own if name not in fitting and not name.endswith(_SPARE)]
        if lost:
            raise EnvironmentFailed(
                f"weights {place.root}: {len(lost)} of {len(own)} tensors are not there or of another shape, for example "
                f"{lost[0]}; is it a state dict of torchvision's {type(self.network).__name__}?"
            )
        self.network.load_state_dict(fitting, strict=False)

    def freeze_for_inference(self) -> None:
        """As for all, with the batch norms folded into the convolutions."""
        super().freeze_for_inference()
        fold_norms(self.network)
        self.requires_grad_(False)


class Pictures(_Torchvision):
    """A classifier of pictures."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.network.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1], (B,) unused -> (B, width)."""
        x = self.pixels(x).contiguous(memory_format=torch.channels_last)
        return self.joined(self.network(x).flatten(1))


class Clips(_Torchvision):
    """A classifier of clips, which are brought to as many frames as it was trained on."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.frames = int(settings["frames"])

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, N, 3, S, S) in [0, 1], (B,) frames -> (B, width)."""
        clips = pick_frames(x, lengths, self.frames)
        pixels = self.pixels(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        return self.joined(self.network(pixels.transpose(1, 2)).flatten(1))


def _options(name: str, px: int) -> dict[str, Any]:
    """What some networks take as arguments: their side, or to leave out what is trained beside the head."""
    if name in ("inception_v3", "googlenet"):  # these also shift ImageNet's mean to the one they were trained with
        return {"aux_logits": False, "transform_input": True, "init_weights": False}
    if name.startswith("vit_"):
        return {"image_size": px}
    return {"input_size": (px, px)} if name.startswith("maxvit") else {}


def _strip_head(network: nn.Module) -> tuple[str, int]:
    """Replaces the last layer that has weights, the classifier, by nothing; its name, and how wide its input was."""
    kinds = (nn.Linear, nn.Conv2d, nn.Conv3d)
    name, head = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, kinds)][-1]
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    return name, int(head.in_features if isinstance(head, nn.Linear) else head.in_channels)
