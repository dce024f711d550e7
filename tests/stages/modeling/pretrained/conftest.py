"""Encoders with tiny random weights, saved as the real ones come: a state dict of torchvision, a folder of transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedConfig, PreTrainedTokenizerFast

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "words", "of", "a", "b", "it", "is", "low", "high"]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture
def squeezenet(tmp_path: Path) -> Path:
    """Random weights of torchvision's squeezenet1_1."""
    torch.manual_seed(0)
    path = tmp_path / "squeezenet1_1.safetensors"
    save_file(torchvision.models.get_model("squeezenet1_1").state_dict(), path)
    return path


def write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    ).save_pretrained(folder)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A folder with a BERT of two layers, in half precision, and its tokenizer."""
    torch.manual_seed(0)
    folder = tmp_path / "bert"
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, **SMALL)
    BertModel(config).half().save_pretrained(folder)
    write_tokenizer(folder)
    return folder


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
