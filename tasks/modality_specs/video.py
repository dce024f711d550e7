"""Clips: uint8 (N, H, W, 3), RGB frames evenly spaced in time."""

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


class Video(PixelSpec):
    """Recordings of a camera."""

    name = "video"
    columns = ("video", "video_path")
    suffixes = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".3gp", ".wmv", ".flv", ".ogv")
    media_keys = ("video_frames", "video_px", "max_video_s", "max_video_frames", "max_pixels", "max_file_mb")
    media_modules = ("tasks.media.video",)
    libraries = ("av", "numpy")
    signature_modules = ("tasks.media.near_duplicates.clips",)
    size_unit = "frames"
    measures = MappingProxyType({"width": "px", "height": "px", "frames": "", "brightness": "0-1"})
    tiny_keys = pretrained_keys = ("video_px",)
    tiny_defaults = MappingProxyType({"video_px": SIDE_PX})
    has_frames = True
    shape_prefix = r"\d+x"
    batch_rows = 4

    def sample(self, number: int) -> tuple[str, bytes]:
        """An MP4 of coloured patches that move."""
        from tasks.media.synthetic import clip_bytes, make_pictures

        return ".mp4", clip_bytes(make_pictures(number, 8))

    def decoder(self) -> Decode:
        """Whatever PyAV reads."""
        from tasks.media.video import decode_video

        return decode_video

    def size(self, shape: Sequence[int], rate_hz: int) -> float:
        """Frames."""
        return float(shape[0])

    def measure(self, medium: Medium, rate_hz: int) -> dict[str, float]:
        """Sides, frames and brightness."""
        from tasks.modeling.media_statistics import measure_clip

        return measure_clip(medium)

    def thumbnail(self, medium: Medium, rate_hz: int) -> Picture:
        """A filmstrip."""
        from tasks.media.thumbnails import draw_clip

        return {"video": draw_clip(medium)}

    def near_duplicates(self) -> NearDuplicates:
        """Perceptual hashes of frames, and motion."""
        from tasks.media.near_duplicates.clips import match_clips, sign_clip
        from tasks.media.near_duplicates.signatures import IMAGE_PX

        return NearDuplicates(
            4.0,
            lambda frames, rate_hz: sign_clip(frames),
            lambda signatures, read: match_clips(signatures),
            is_compared=lambda shape: min(shape[1:3]) >= IMAGE_PX,
        )

    def corrupt(self, medium: Medium, rate_hz: int, name: str, severity: int, rng: np.random.Generator) -> np.ndarray:
        """Each frame as a picture."""
        from tasks.media.corruptions import corrupt_clip

        return corrupt_clip(medium, name, severity, rng)

    def prepare_tiny(self, params: Params) -> Prepare:
        """Small square frames."""
        from tasks.media.encoder_inputs import small_frames

        return lambda clip, rate_hz: small_frames(clip, rate_hz, params)

    def prepare_pretrained(self, spec: EncoderSpec, params: Params) -> Prepare:
        """Square frames of the side and by the filter that the encoder was trained with."""
        from tasks.media.encoder_inputs import square_frames

        side = params["video_px"] or spec.settings["px"]
        return lambda clip, rate_hz: square_frames(clip, side, spec.settings["resample"])

    def tiny_network(self, spec: EncoderSpec) -> Encoder:
        """One small network for all frames, and attention over them."""
        from tasks.modeling.encoders import TinyVideo

        return TinyVideo()

    def classical_network(self) -> Encoder:
        """Of every frame what is read of pictures."""
        from tasks.modeling.classical import ClassicalVideo

        return ClassicalVideo()

    def augment(self, part: Present, spec: EncoderSpec, config: TrainConfig, generator: torch.Generator) -> Present:
        """Moved and recoloured, all frames alike."""
        from tasks.modeling.augment_images import change_pictures

        return part._replace(values=change_pictures(part.values, config, generator))


SPEC = Video()
