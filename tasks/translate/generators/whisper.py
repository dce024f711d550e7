"""Speech to text by Whisper (Radford et al., 2022), its decoding greedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoFeatureExtractor, WhisperForConditionalGeneration

from tasks.errors import EnvironmentFailed
from tasks.media.encoder_inputs import resample
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.tokenization import load_tokenizer
from tasks.modeling.pretrained.transformers_models import LOCAL, one_line
from tasks.translate.generators.base import Asked
from tasks.translate.generators.loading import load_network


class Whisper:
    """A Whisper model; what is longer than 30 s is cut there, as its encoder reads no more."""

    batch_rows = 8

    def __init__(self, generator: str, place: Place, asked: Asked) -> None:
        self.most = asked.max_new_tokens
        self.network = load_network(WhisperForConditionalGeneration, generator, place)
        self.tokenizer = load_tokenizer(generator, place)
        try:
            self.extractor: Any = AutoFeatureExtractor.from_pretrained(place.root, **LOCAL)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EnvironmentFailed(
                f"generator {generator}: no processor of sound in its folder ({one_line(error)})"
            ) from None

    def prepare(self, medium: Any, rate_hz: int) -> NDArray[np.float32]:
        """int16 (T,) -> float32 (T',) in [-1, 1) at the model's rate."""
        pcm = resample(np.asarray(medium, np.int16), rate_hz, int(self.extractor.sampling_rate))
        return np.asarray(pcm, np.float32) / np.float32(32_768)

    def generate(self, prepared: Sequence[Any]) -> list[bytes]:
        """What is said in each sound."""
        sounds = self.extractor(
            list(prepared), sampling_rate=self.extractor.sampling_rate, return_tensors="pt", return_attention_mask=True
        )
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            ids = self.network.generate(
                sounds.input_features.to(device),
                attention_mask=sounds.attention_mask.to(device),
                do_sample=False,
                num_beams=1,
                max_new_tokens=self.most,
            )
        texts = self.tokenizer.batch_decode(ids.cpu(), skip_special_tokens=True)
        return [text.strip().encode() for text in texts]
