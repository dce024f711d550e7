"""Sounds: int16 (T,), mono at one rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from data_contracts.expectations.features import FeatureSpec
from data_contracts.refs import InputName
from tasks.modalities import Decode, Medium, ModalitySpec, NearDuplicates, Params, Prepare, PresetEncoder

if TYPE_CHECKING:
    import numpy as np
    import torch

    from tasks.config import RunConfig, TrainConfig
    from tasks.media.thumbnails import Picture
    from tasks.modeling.encoder_base import Encoder
    from tasks.modeling.encoder_spec import EncoderSpec
    from tasks.modeling.fusion.classifier import Present
    from tasks.modeling.pretrained.adapter import Settings
    from tasks.modeling.pretrained.locate import Place


class Audio(ModalitySpec):
    """Speech, music, machines."""

    name = "audio"
    columns = ("audio", "audio_path")
    suffixes = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".m4a", ".aac", ".wma")
    borrowed_from = ("video", "audio_from_video")
    values_help = "a path, bytes, or (array, rate in Hz)"
    media_keys = ("sample_rate_hz", "max_audio_s", "max_file_mb")
    media_modules = ("tasks.media.audio",)
    libraries = ("av", "numpy", "soundfile", "soxr")
    signature_modules = ("tasks.media.near_duplicates.sounds",)
    size_unit = "seconds"
    measures = MappingProxyType({"duration": "s", "loudness": "dBFS"})
    corruptions = ("noise", "telephone")
    families = ("hf",)
    presets = MappingProxyType(
        {
            "fast": PresetEncoder("hf:openai/whisper-tiny", "Apache-2.0", 37.8),
            "medium": PresetEncoder("hf:openai/whisper-base", "Apache-2.0", 72.6),
            "best": PresetEncoder("hf:openai/whisper-small", "Apache-2.0", 241.7),
        }
    )
    tiny_keys = ("n_mels", "hop_ms", "window_ms", "max_frames")
    tiny_dtype = "float32"
    pretrained_dtype = "int16"
    classical_scaling = 1.0
    varies_in_length = True
    batch_rows = 4
    network_modules = ("tasks.modeling.augment_audio", "tasks.modeling.rng")

    def encode(self, value: object) -> bytes | None:
        """WAV of samples with their rate."""
        from tasks.media.in_memory import sound_bytes

        return sound_bytes(value)

    def example(self) -> object:
        """A second of a constant."""
        import numpy as np

        return np.ones(8000, np.int16), 8000

    def sample(self, number: int) -> tuple[str, bytes]:
        """A WAV of a second that rises in pitch."""
        from tasks.media.in_memory import sound_bytes
        from tasks.media.synthetic import make_sound

        data = sound_bytes(make_sound(number))
        assert data is not None  # it is samples with their rate
        return ".wav", data

    def decoder(self) -> Decode:
        """WAV, FLAC, MP3 and the like, and the sound of a clip."""
        from tasks.media.audio import decode_audio

        return decode_audio

    def restore(self, data: bytes, shape: Sequence[int]) -> np.ndarray:
        """int16 (T,)."""
        import numpy as np

        return np.frombuffer(data, dtype="<i2").reshape(shape)

    def size(self, shape: Sequence[int], rate_hz: int) -> float:
        """Seconds."""
        return shape[0] / (rate_hz or 1)

    def measure(self, medium: Medium, rate_hz: int) -> dict[str, float]:
        """Duration and loudness."""
        from tasks.modeling.media_statistics import measure_sound

        return measure_sound(medium, rate_hz)

    def thumbnail(self, medium: Medium, rate_hz: int) -> Picture:
        """Waveform and spectrogram."""
        from tasks.media.thumbnails import draw_sound

        return {"audio": draw_sound(medium, rate_hz), "seconds": len(medium) / max(rate_hz, 1)}

    def circumstances(self, medium: Medium, rate_hz: int) -> dict[str, float]:
        """Duration, loudness, and the share of silence."""
        from tasks.modeling.media_statistics import measure_silence

        return {**self.measure(medium, rate_hz), "silence": measure_silence(medium, rate_hz)}

    def player(self, medium: Medium, rate_hz: int) -> str | None:
        """WAV."""
        from tasks.media.thumbnails import play_sound

        return play_sound(medium, rate_hz)

    def near_duplicates(self) -> NearDuplicates:
        """Hashes of the spectrum over time, confirmed by the waveform."""
        from tasks.media.near_duplicates.sounds import match_sounds, sign_sound

        return NearDuplicates(3.0, sign_sound, match_sounds)

    def corrupt(self, medium: Medium, rate_hz: int, name: str, severity: int, rng: np.random.Generator) -> np.ndarray:
        """Noisy, or over the telephone."""
        from tasks.media.corruptions import corrupt_sound

        return corrupt_sound(medium, rate_hz, name, severity, rng)

    def prepare_tiny(self, params: Params) -> Prepare:
        """A log-mel spectrogram."""
        from tasks.media.encoder_inputs import log_mel

        return lambda pcm, rate_hz: log_mel(pcm, rate_hz, params)

    def prepare_pretrained(self, spec: EncoderSpec, params: Params) -> Prepare:
        """int16 (T',) at the encoder's own rate."""
        from tasks.media.encoder_inputs import resample

        target_hz = spec.settings["rate_hz"]
        return lambda pcm, rate_hz: resample(pcm, rate_hz, target_hz)

    def tiny_features(self, name: InputName, config: RunConfig) -> FeatureSpec:
        """Log-mel is ln(power + 1e-6), so at least ln(1e-6)."""
        params = config.extract
        return FeatureSpec(name, "float32", rf"^\d+x{params.n_mels}$", params.max_frames, math.log(1e-6) - 0.01, 20)

    def pretrained_features(self, name: InputName, spec: EncoderSpec, config: RunConfig) -> FeatureSpec:
        """Samples of sound."""
        longest = math.ceil(config.media.max_audio_s * spec.settings["rate_hz"]) + 1
        return FeatureSpec(name, "int16", r"^\d+$", longest, -32_768, 32_767)

    def tiny_network(self, spec: EncoderSpec) -> Encoder:
        """Convolutions over log-mel frames."""
        from tasks.modeling.encoders import TinyAudio

        return TinyAudio()

    def classical_network(self) -> Encoder:
        """MFCC and their change."""
        from tasks.modeling.classical import ClassicalAudio

        return ClassicalAudio()

    def pretrained_settings(self, encoder: str, place: Place) -> Settings:
        """Of transformers' models of sound."""
        from tasks.modeling.pretrained.hf_audio import audio_settings

        return audio_settings(encoder, place)

    def augment(self, part: Present, spec: EncoderSpec, config: TrainConfig, generator: torch.Generator) -> Present:
        """Warped, coloured and masked; spectrograms for a pretrained encoder, whose scale is its own, are only masked."""
        from tasks.modeling.augment_audio import change_sound, mask_sound

        if spec.encoder == "tiny":
            return change_sound(part, config.pitch, generator)
        if part.values.ndim == 3:
            return part._replace(values=mask_sound(part.values, part.lengths, generator))
        return part


SPEC = Audio()
