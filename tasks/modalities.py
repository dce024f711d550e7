"""The one table of modalities. Adding one: a decoder in tasks/media, an encoder family in tasks/modeling, a row."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from data_contracts.modalities import in_order, modality_of
from data_contracts.refs import InputName, Modality


@dataclass(frozen=True)
class ModalitySpec:
    """What ingest and extract need to know of one modality."""

    name: Modality
    columns: tuple[str, ...]
    """Names under which a manifest may give it, in order of preference."""
    suffixes: tuple[str, ...]
    """File endings by which a folder per class is recognised."""
    media_keys: tuple[str, ...]
    """The knobs of MediaConfig that change its canonical form."""
    extract_keys: tuple[str, ...]
    """The knobs of ExtractConfig that change its tiny features."""
    media_modules: tuple[str, ...]
    """The modules whose code shapes its canonical form."""
    libraries: tuple[str, ...]
    """Distributions whose version may change its canonical form."""
    feature_dtype: str


MODALITIES: dict[Modality, ModalitySpec] = {
    "image": ModalitySpec(
        "image",
        ("image", "img", "image_path"),
        (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".ppm"),
        ("image_px", "image_from_video", "max_pixels", "max_file_mb"),
        ("image_px",),
        ("tasks.media.image", "tasks.media.video"),
        ("av", "numpy", "pillow", "simplejpeg"),
        "uint8",
    ),
    "text": ModalitySpec(
        "text",
        ("text", "text_path"),
        (".txt",),
        ("max_text_chars", "max_file_mb"),
        ("max_text_bytes",),
        ("tasks.media.text",),
        ("charset-normalizer",),
        "uint8",
    ),
    "audio": ModalitySpec(
        "audio",
        ("audio", "audio_path"),
        (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".m4a", ".aac", ".wma"),
        ("sample_rate_hz", "max_audio_s", "max_file_mb"),
        ("n_mels", "hop_ms", "window_ms", "max_frames"),
        ("tasks.media.audio",),
        ("av", "numpy", "soundfile", "soxr"),
        "float32",
    ),
    "video": ModalitySpec(
        "video",
        ("video", "video_path"),
        (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".3gp", ".wmv", ".flv", ".ogv"),
        ("video_frames", "video_px", "max_video_s", "max_video_frames", "max_pixels", "max_file_mb"),
        ("video_px",),
        ("tasks.media.video",),
        ("av", "numpy"),
        "uint8",
    ),
}
"""What can be decoded and trained on, in the order in which names are joined: image+text+audio+video."""


def spec_of(name: InputName) -> ModalitySpec:
    """The row of an input's kind."""
    return MODALITIES[modality_of(name)]


def joined(modalities: Collection[InputName]) -> str:
    """`image+image_2+audio`: the names in their order."""
    return "+".join(in_order(modalities))
