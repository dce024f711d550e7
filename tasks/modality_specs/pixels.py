"""What pictures and clips share: squares of RGB pixels, one or many in time."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from data_contracts.expectations.features import FeatureSpec
from data_contracts.refs import InputName
from tasks.modalities import ModalitySpec, PresetEncoder

if TYPE_CHECKING:
    from torch import Tensor

    from tasks.config import RunConfig
    from tasks.modeling.encoder_spec import EncoderSpec
    from tasks.modeling.pretrained.adapter import Settings
    from tasks.modeling.pretrained.locate import Place

SIDE_PX = 32
"""Of the square that the tiny encoder reads, where the config says none."""


class PixelSpec(ModalitySpec):
    """A modality of pixels; its setting `NAME_px` of ExtractConfig is the side of its squares."""

    shape_prefix: ClassVar[str] = ""
    """A regular expression of what stands before a square in the shape of a feature."""
    corruptions = ("noise", "blur", "jpeg")
    families = ("torchvision", "hf", "timm")
    presets = MappingProxyType(
        {
            "fast": PresetEncoder("torchvision:mobilenet_v2", "BSD-3-Clause", 3.5),
            "medium": PresetEncoder("hf:facebook/dinov2-small", "Apache-2.0", 22.1),
            "best": PresetEncoder("hf:facebook/dinov2-base", "Apache-2.0", 86.6),
        }
    )
    has_pixels = True
    classical_scaling = 1.0
    network_modules = ("tasks.modeling.augment_images", "tasks.modeling.color_ops", "tasks.modeling.rng")

    def tiny_features(self, name: InputName, config: RunConfig) -> FeatureSpec:
        """Squares."""
        return self._squares(name, config, SIDE_PX)

    def pretrained_features(self, name: InputName, spec: EncoderSpec, config: RunConfig) -> FeatureSpec:
        """Squares."""
        return self._squares(name, config, spec.settings["px"])

    def pretrained_settings(self, encoder: str, place: Place) -> Settings:
        """Of timm's and transformers' models of images, which read clips frame by frame, and of clips."""
        from tasks.modeling.pretrained.locate import TIMM

        if place.model_type == TIMM:
            from tasks.modeling.pretrained.timm_models import timm_settings

            return timm_settings(encoder, place)
        from tasks.modeling.pretrained.hf_image import picture_settings

        return picture_settings(encoder, place, clips=self.has_frames)

    def to_model(self, values: Tensor) -> Tensor:
        """(P, ..., S, S, 3) uint8 to (P, ..., 3, S, S) in [0, 1]; embeddings as they are."""
        if values.is_floating_point():
            return values
        return values.movedim(-1, -3).float().div(255.0).contiguous()

    def _squares(self, name: InputName, config: RunConfig, default_px: int) -> FeatureSpec:
        side = getattr(config.extract, f"{self.name}_px") or default_px
        return FeatureSpec(name, "uint8", f"^{self.shape_prefix}{side}x{side}x3$", None, 0, 255)
