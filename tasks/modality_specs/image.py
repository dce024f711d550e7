"""Pictures: uint8 (H, W, 3), RGB."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from data_contracts.expectations.features import FeatureSpec
from data_contracts.refs import InputName
from tasks.modalities import Decode, Knobs, Medium, ModalitySpec, NearDuplicates, Prepare

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from tasks.config import RunConfig, TrainConfig
    from tasks.media.thumbnails import Picture
    from tasks.modeling.encoder_base import Encoder
    from tasks.modeling.encoder_spec import EncoderSpec
    from tasks.modeling.fusion.classifier import Present
    from tasks.modeling.pretrained.adapter import Settings
    from tasks.modeling.pretrained.locate import Place


SIDE_PX = 32
"""Of the square that the tiny encoder reads, where the config says none."""


class Image(ModalitySpec):
    """Photographs, scans, drawings."""

    name = "image"
    columns = ("image", "img", "image_path")
    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".ppm")
    column_help = """One column, or several (["front", "back"]): the inputs image, image_2 and so on, each with its own cell in
    a row."""
    borrowed_from = ("video", "image_from_video")
    media_keys = ("image_px", "image_from_video", "max_pixels", "max_file_mb")
    media_modules = ("tasks.media.image", "tasks.media.video")
    libraries = ("av", "numpy", "pillow", "simplejpeg")
    signature_modules = ("tasks.media.near_duplicates.signatures",)
    size_unit = "longest side, px"
    measures = MappingProxyType({"width": "px", "height": "px", "brightness": "0-1", "contrast": "0-1"})
    families = ("torchvision", "hf")
    tiny_keys = pretrained_keys = ("image_px",)
    tiny_defaults = MappingProxyType({"image_px": SIDE_PX})
    has_pixels = True
    network_modules = ("tasks.modeling.augment_images", "tasks.modeling.color_ops", "tasks.modeling.rng")

    def decoder(self) -> Decode:
        """JPEG, PNG and the like."""
        from tasks.media.image import decode_image

        return decode_image

    def size(self, shape: Sequence[int], rate_hz: int) -> float:
        """The longest side."""
        return float(max(shape[:2]))

    def measure(self, medium: Medium, rate_hz: int) -> dict[str, float]:
        """Sides, brightness and contrast."""
        from tasks.modeling.media_statistics import measure_picture

        return measure_picture(medium)

    def thumbnail(self, medium: Medium, rate_hz: int) -> Picture:
        """Enlarged without blur where it is tiny."""
        from tasks.media.thumbnails import draw_image

        return {"image": draw_image(medium)}

    def near_duplicates(self) -> NearDuplicates:
        """Perceptual hashes."""
        from tasks.media.near_duplicates.signatures import IMAGE_PX, match_images, sign_image

        return NearDuplicates(
            0.4,
            lambda pixels, rate_hz: sign_image(pixels),
            lambda signatures, read: match_images(signatures),
            is_compared=lambda shape: min(shape[:2]) >= IMAGE_PX,
        )

    def prepare_tiny(self, knobs: Knobs) -> Prepare:
        """A small square."""
        from tasks.media.encoder_inputs import small_picture

        return lambda picture, rate_hz: small_picture(picture, rate_hz, knobs)

    def prepare_pretrained(self, spec: EncoderSpec, knobs: Knobs) -> Prepare:
        """A square of the side and by the filter that the encoder was trained with."""
        from tasks.media.encoder_inputs import square

        side = knobs["image_px"] or spec.settings["px"]
        return lambda picture, rate_hz: square(picture, side, spec.settings["resample"])

    def tiny_features(self, name: InputName, config: RunConfig) -> FeatureSpec:
        """Squares."""
        return _squares(name, config.extract.image_px or SIDE_PX)

    def pretrained_features(self, name: InputName, spec: EncoderSpec, config: RunConfig) -> FeatureSpec:
        """Squares."""
        return _squares(name, config.extract.image_px or spec.settings["px"])

    def tiny_network(self, spec: EncoderSpec) -> Encoder:
        """A small residual network."""
        from tasks.modeling.encoders import TinyImage

        return TinyImage()

    def pretrained_settings(self, encoder: str, place: Place) -> Settings:
        """Of transformers' image models."""
        from tasks.modeling.pretrained.hf_image import picture_settings

        return picture_settings(encoder, place, clips=False)

    def to_model(self, values: Tensor) -> Tensor:
        """(P, S, S, 3) uint8 to (P, 3, S, S) in [0, 1]; embeddings as they are."""
        return pixels_to_model(values)

    def augment(self, part: Present, spec: EncoderSpec, config: TrainConfig, generator: torch.Generator) -> Present:
        """Moved and recoloured."""
        from tasks.modeling.augment_images import change_pictures

        frames = change_pictures(part.values.unsqueeze(1), config, generator)
        return part._replace(values=frames.squeeze(1))


def pixels_to_model(values: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 to (..., 3, H, W) in [0, 1]; embeddings as they are."""
    if values.is_floating_point():
        return values
    return values.movedim(-1, -3).float().div(255.0).contiguous()


def _squares(name: InputName, side: int) -> FeatureSpec:
    return FeatureSpec(name, "uint8", f"^{side}x{side}x3$", None, 0, 255)


SPEC = Image()
