"""Clips: uint8 (N, H, W, 3), RGB frames evenly spaced in time."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from data_contracts.expectations.features import FeatureSpec
from data_contracts.refs import InputName
from tasks.modalities import Decode, Knobs, Medium, ModalitySpec, NearDuplicates, Prepare
from tasks.modality_specs.image import SIDE_PX, pixels_to_model

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


class Video(ModalitySpec):
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
    families = ("torchvision", "hf")
    tiny_keys = pretrained_keys = ("video_px",)
    tiny_defaults = MappingProxyType({"video_px": SIDE_PX})
    has_pixels = has_frames = True
    batch_rows = 4
    network_modules = ("tasks.modeling.augment_images", "tasks.modeling.color_ops", "tasks.modeling.rng")

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

    def prepare_tiny(self, knobs: Knobs) -> Prepare:
        """Small square frames."""
        from tasks.media.encoder_inputs import small_frames

        return lambda clip, rate_hz: small_frames(clip, rate_hz, knobs)

    def prepare_pretrained(self, spec: EncoderSpec, knobs: Knobs) -> Prepare:
        """Square frames of the side and by the filter that the encoder was trained with."""
        from tasks.media.encoder_inputs import square_frames

        side = knobs["video_px"] or spec.settings["px"]
        return lambda clip, rate_hz: square_frames(clip, side, spec.settings["resample"])

    def tiny_features(self, name: InputName, config: RunConfig) -> FeatureSpec:
        """Square frames."""
        return _square_frames(name, config.extract.video_px or SIDE_PX)

    def pretrained_features(self, name: InputName, spec: EncoderSpec, config: RunConfig) -> FeatureSpec:
        """Square frames."""
        return _square_frames(name, config.extract.video_px or spec.settings["px"])

    def tiny_network(self, spec: EncoderSpec) -> Encoder:
        """One small network for all frames, and attention over them."""
        from tasks.modeling.encoders import TinyVideo

        return TinyVideo()

    def pretrained_settings(self, encoder: str, place: Place) -> Settings:
        """Of transformers' models of clips, and of images frame by frame."""
        from tasks.modeling.pretrained.hf_image import picture_settings

        return picture_settings(encoder, place, clips=True)

    def to_model(self, values: Tensor) -> Tensor:
        """(P, N, S, S, 3) uint8 to (P, N, 3, S, S) in [0, 1]; embeddings as they are."""
        return pixels_to_model(values)

    def augment(self, part: Present, spec: EncoderSpec, config: TrainConfig, generator: torch.Generator) -> Present:
        """Moved and recoloured, all frames alike."""
        from tasks.modeling.augment_images import change_pictures

        return part._replace(values=change_pictures(part.values, config, generator))


def _square_frames(name: InputName, side: int) -> FeatureSpec:
    return FeatureSpec(name, "uint8", rf"^\d+x{side}x{side}x3$", None, 0, 255)


SPEC = Video()
