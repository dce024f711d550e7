"""Pictures: uint8 (H, W, 3), RGB."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from tasks.modalities import Decode, Medium, NearDuplicates, Params, Prepare
from tasks.modality_specs.pixels import SIDE_PX, PixelSpec

if TYPE_CHECKING:
    import numpy as np
    import torch

    from tasks.config import TrainConfig
    from tasks.media.thumbnails import Picture
    from tasks.modeling.encoder_base import Encoder
    from tasks.modeling.encoder_spec import EncoderSpec
    from tasks.modeling.fusion.classifier import Present


class Image(PixelSpec):
    """Photographs, scans, drawings."""

    name = "image"
    columns = ("image", "img", "image_path")
    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".ppm")
    column_help = """One column, or several (["front", "back"]): the inputs image, image_2 and so on, each with its own cell in
    a row."""
    borrowed_from = ("video", "image_from_video")
    values_help = "a path, bytes, a PIL image, or an array of uint8"
    media_keys = ("image_px", "image_from_video", "max_pixels", "max_file_mb")
    media_modules = ("tasks.media.image", "tasks.media.video")
    libraries = ("av", "numpy", "pillow", "simplejpeg")
    signature_modules = ("tasks.media.near_duplicates.signatures",)
    size_unit = "longest side, px"
    measures = MappingProxyType({"width": "px", "height": "px", "brightness": "0-1", "contrast": "0-1"})
    tiny_keys = pretrained_keys = ("image_px",)
    tiny_defaults = MappingProxyType({"image_px": SIDE_PX})

    def encode(self, value: object) -> bytes | None:
        """PNG of a PIL image or an array."""
        from tasks.media.in_memory import picture_bytes

        return picture_bytes(value)

    def example(self) -> object:
        """A black square."""
        import numpy as np

        return np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)

    def sample(self, number: int) -> tuple[str, bytes]:
        """A PNG of coloured patches."""
        from tasks.media.in_memory import picture_bytes
        from tasks.media.synthetic import make_pictures

        data = picture_bytes(make_pictures(number, 1)[0])
        assert data is not None  # it is an array
        return ".png", data

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

    def corrupt(self, medium: Medium, rate_hz: int, name: str, severity: int, rng: np.random.Generator) -> np.ndarray:
        """Noisy, blurred or compressed."""
        from tasks.media.corruptions import PICTURES

        return PICTURES[name](medium, severity, rng)

    def prepare_tiny(self, params: Params) -> Prepare:
        """A small square."""
        from tasks.media.encoder_inputs import small_picture

        return lambda picture, rate_hz: small_picture(picture, rate_hz, params)

    def prepare_pretrained(self, spec: EncoderSpec, params: Params) -> Prepare:
        """A square of the side and by the filter that the encoder was trained with."""
        from tasks.media.encoder_inputs import square

        side = params["image_px"] or spec.settings["px"]
        return lambda picture, rate_hz: square(picture, side, spec.settings["resample"])

    def tiny_network(self, spec: EncoderSpec) -> Encoder:
        """A small residual network."""
        from tasks.modeling.encoders import TinyImage

        return TinyImage()

    def classical_network(self) -> Encoder:
        """HOG and histograms of colours."""
        from tasks.modeling.classical import ClassicalImage

        return ClassicalImage()

    def augment(self, part: Present, spec: EncoderSpec, config: TrainConfig, generator: torch.Generator) -> Present:
        """Moved and recoloured."""
        from tasks.modeling.augment_images import change_pictures

        frames = change_pictures(part.values.unsqueeze(1), config, generator)
        return part._replace(values=frames.squeeze(1))


SPEC = Image()
