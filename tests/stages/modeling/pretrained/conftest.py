"""Encoders with tiny random weights, saved as the real ones come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers as hf
from transformers import PreTrainedConfig


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """make_folder(Model, config, processor) saves a random model, and its processor's settings, as transformers does."""

    def make(kind: type, config: PreTrainedConfig, processor: object = None, name: str = "model") -> Path:
        torch.manual_seed(0)
        folder = tmp_path / name
        kind(config).save_pretrained(folder)
        if processor is not None:
            processor.save_pretrained(folder)  # type: ignore[attr-defined]
        return folder

    return make


@pytest.fixture
def whisper(make_folder: Callable[..., Path]) -> Path:
    """A random Whisper of three layers that reads clips of one second."""
    small = {"d_model": 32, "encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 2}
    rest = {"decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "vocab_size": 50}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = hf.WhisperConfig(max_source_positions=50, num_mel_bins=16, **small, **rest, **tokens)
    extractor = hf.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    return make_folder(hf.WhisperForConditionalGeneration, config, extractor)
