"""Encoders with tiny random weights, saved as the real ones come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
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
