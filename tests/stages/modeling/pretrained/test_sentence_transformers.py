"""Folders that sentence-transformers writes, against its own vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tasks.config import EncodersConfig
from tasks.errors import UsageError
from tasks.explain.words import token_words
from tasks.modalities import MODALITIES
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.describe import describe_encoder
from tests.support.families import SMALL, MakeFolder, load

WORDS = ["[PAD]", "[UNK]", "classify", ":", "a", "red", "circle", "or", "blue"]
TEXTS = ["a red circle", "blue", "a blue circle or a red circle"]
PROMPT = "classify : "


@pytest.fixture
def bert(make_folder: MakeFolder) -> Path:
    """A random BERT with a tokenizer of a few words."""
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    return make_folder(BertModel, BertConfig(vocab_size=len(WORDS), **SMALL), fast, name="bert")


def write(bert: Path, folder: Path, mode: Any, **settings: Any) -> SentenceTransformer:
    network = Transformer(str(bert))
    modules = [network, Pooling(network.get_embedding_dimension(), mode), Normalize()]
    model = SentenceTransformer(modules=modules, device="cpu", **settings)
    model.save(str(folder))
    return model


def read(folder: Path) -> torch.Tensor:
    """(3, width) what we make of TEXTS."""
    encoder = load("text", folder)
    prepare = MODALITIES["text"].prepare_pretrained(spec_of(folder), {"max_tokens": 32})
    rows = [torch.from_numpy(prepare(text, 0)) for text in TEXTS]
    lengths = torch.tensor([len(row) for row in rows])
    with torch.inference_mode():
        return encoder(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths)


def spec_of(folder: Path) -> EncoderSpec:
    return describe_encoder("text", f"hf:{folder}", "head", EncodersConfig())


@pytest.mark.parametrize("mode", Pooling.POOLING_MODES)
def test_every_pooling_gives_its_vectors_before_their_length_is_taken_away(
    bert: Path, tmp_path: Path, mode: str
) -> None:
    model = write(bert, tmp_path / "st", mode)
    found = torch.nn.functional.normalize(read(tmp_path / "st"))
    torch.testing.assert_close(found, torch.from_numpy(model.encode(TEXTS)), atol=1e-5, rtol=1e-4)


def test_flags_of_before_say_the_same(bert: Path, tmp_path: Path) -> None:
    write(bert, tmp_path / "st", "lasttoken")
    path = tmp_path / "st" / "1_Pooling" / "config.json"
    expected = read(tmp_path / "st")
    path.write_text(
        '{"word_embedding_dimension": 32, "pooling_mode_mean_tokens": false, "pooling_mode_lasttoken": true}'
    )
    torch.testing.assert_close(read(tmp_path / "st"), expected)
    path.write_text('{"word_embedding_dimension": 32}')
    assert spec_of(tmp_path / "st").settings["pooling"] == "mean"


def test_poolings_that_are_joined_are_refused(bert: Path, tmp_path: Path) -> None:
    write(bert, tmp_path / "st", ("cls", "mean"))
    with pytest.raises(UsageError, match=r"1_Pooling/config.json asks for cls, mean; one of cls, max"):
        spec_of(tmp_path / "st")


@pytest.mark.parametrize(
    ("settings", "prompt"),
    [
        ({"prompts": {"query": "find : ", "Classification": PROMPT}}, PROMPT),
        ({"prompts": {"query": PROMPT}, "default_prompt_name": "query"}, PROMPT),
        ({"prompts": {"query": PROMPT}}, ""),
        ({}, ""),
    ],
)
def test_a_prompt_for_classification_or_by_default_stands_before_each_text(
    bert: Path, tmp_path: Path, settings: dict[str, Any], prompt: str
) -> None:
    model = write(bert, tmp_path / "st", "mean", **settings)
    assert spec_of(tmp_path / "st").prompt == prompt
    found = torch.nn.functional.normalize(read(tmp_path / "st"))
    torch.testing.assert_close(found, torch.from_numpy(model.encode(TEXTS, prompt=prompt)), atol=1e-5, rtol=1e-4)


def test_a_prompt_that_is_left_out_of_the_pooling_is_refused(bert: Path, tmp_path: Path) -> None:
    write(bert, tmp_path / "st", "mean", prompts={"classification": PROMPT})
    path = tmp_path / "st" / "1_Pooling" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"include_prompt": False}))
    with pytest.raises(UsageError, match="leaves its prompt out of the pooling"):
        spec_of(tmp_path / "st")


def test_an_explanation_counts_no_word_of_the_prompt(bert: Path, tmp_path: Path) -> None:
    write(bert, tmp_path / "st", "mean", prompts={"classification": PROMPT})
    spec = spec_of(tmp_path / "st")
    ids = MODALITIES["text"].prepare_pretrained(spec, {"max_tokens": 32})("a red circle", 0)
    assert token_words("a red circle", ids.tolist(), spec) == (["a", "red", "circle"], [-1, -1, 0, 1, 2])
