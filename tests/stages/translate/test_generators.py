"""Generators: what ids may say, what is refused before any work, and that each family really generates."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tasks.config import load_config
from tasks.config_translate import TranslateConfig
from tasks.errors import EnvironmentFailed, UsageError
from tasks.generator_ids import parse_generator
from tasks.translate.generators import choose
from tasks.translate.generators.base import Asked
from tasks.translate.generators.choose import identity_of, load_generator, require_generator

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "picture", "of", "some", "thing")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("wisper:folder", "did you mean 'whisper'?"),
        ("retrieve", "did you mean 'retrieval'?"),
        ("whisper", "write whisper:ID_OR_FOLDER[@REVISION]"),
        ("espeak-ng:en", "write espeak-ng"),
        ("imagenet-labels:mobilenet_v2@random", "random weights say nothing"),
        ("", "write one of whisper:"),
    ],
)
def test_an_id_that_names_no_generator_is_refused_with_what_may_be_written(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match="generator") as caught:
        load_config({}, [f"translate.generator={text}"])
    assert hint in str(caught.value)


def test_a_generator_reads_and_makes_what_it_can() -> None:
    with pytest.raises(UsageError, match="whisper is audio to text, and source is image"):
        load_config({"translate": {"source": "image", "target": "text", "generator": "whisper:x"}})
    with pytest.raises(UsageError, match="source and target are both text"):
        load_config({"translate": {"source": "text", "target": "text"}})


def test_a_relative_folder_is_seen_from_where_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    asked = ["translate.source=audio", "translate.target=text", "translate.generator=whisper:./models"]
    config = load_config({}, asked)
    assert config.translate.generator == f"whisper:{tmp_path}/models"
    assert parse_generator(config.translate.generator).encoder == f"hf:{tmp_path}/models"


def asked_for(source: str, target: str, generator: str) -> TranslateConfig:
    return load_config({"translate": {"source": source, "target": target, "generator": generator}}).translate


def test_files_that_are_not_there_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        require_generator(asked_for("audio", "text", f"whisper:{tmp_path}/none"))
    with pytest.raises(UsageError, match="crossmodal fetch hf:somebody/captioner"):
        require_generator(asked_for("image", "text", "caption:somebody/captioner"))
    with pytest.raises(UsageError, match="there is no file"):
        require_generator(asked_for("image", "text", f"imagenet-labels:mobilenet_v2@{tmp_path}/none.safetensors"))


def test_another_architecture_is_refused(bert: Path) -> None:
    with pytest.raises(UsageError, match="is a bert model; whisper takes whisper"):
        require_generator(asked_for("audio", "text", f"whisper:{bert}"))


def test_text_to_speech_needs_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EnvironmentFailed, match="espeak-ng: the program is not on this machine"):
        require_generator(asked_for("text", "audio", "espeak-ng"))


def test_only_what_a_family_reads_enters_its_fingerprint(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(choose.FAMILIES, "whisper", replace(choose.FAMILIES["whisper"], architectures=("bert",)))
    config = asked_for("audio", "text", f"whisper:{bert}")
    assert identity_of(config) == identity_of(config.model_copy(update={"voice": "de", "top_k": 9}))
    assert identity_of(config) != identity_of(config.model_copy(update={"max_new_tokens": 9}))
    assert str(bert) not in str(identity_of(config))


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_speech_is_the_same_each_time_and_a_text_is_never_an_option() -> None:
    speech = load_generator("espeak-ng", Asked(voice="en"))
    first, again, other = speech.generate([speech.prepare(text, 0) for text in ("seven", "seven", "--version")])
    assert first == again != other
    samples, rate_hz = soundfile.read(io.BytesIO(first))
    assert rate_hz > 8000
    assert 0.2 < len(samples) / rate_hz < 3
    assert np.abs(samples).max() > 0.05
    with pytest.raises(EnvironmentFailed, match=r"is translate\.voice one of its"):
        load_generator("espeak-ng", Asked(voice="nobody")).generate([b"seven"])


# -- networks, tiny and random: that they load and write, not that they know anything ---


def save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertTokenizerFast

    inner = Tokenizer(models.WordPiece({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    BertTokenizerFast(tokenizer_object=inner).save_pretrained(folder)


def make_git(folder: Path) -> Path:
    from transformers import BertTokenizerFast, CLIPImageProcessor, GitConfig, GitForCausalLM, GitProcessor

    save_tokenizer(folder)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 16, "patch_size": 8}
    config = GitConfig(
        vision_config=vision, vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, bos_token_id=2, eos_token_id=3, pad_token_id=0, max_position_embeddings=64,
    )  # fmt: skip
    pictures = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    GitProcessor(pictures, BertTokenizerFast.from_pretrained(folder)).save_pretrained(folder)
    GitForCausalLM(config).save_pretrained(folder)
    return folder


def make_blip(folder: Path) -> Path:
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )  # fmt: skip

    save_tokenizer(folder)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**shape, "vocab_size": len(WORDS), "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
    text |= {"pad_token_id": 0, "max_position_embeddings": 64, "encoder_hidden_size": 16, "projection_dim": 16}
    vision = {**shape, "image_size": 16, "patch_size": 8, "projection_dim": 16}
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16, image_text_hidden_size=16)
    pictures = BlipImageProcessor(size={"height": 16, "width": 16})
    BlipProcessor(pictures, BertTokenizerFast.from_pretrained(folder)).save_pretrained(folder)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("make", [make_git, make_blip])
def test_a_captioner_of_each_family_writes_the_same_each_time(make: Any, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    folder = make(tmp_path / "captioner")
    asked = asked_for("image", "text", f"caption:{folder}")
    assert require_generator(asked) is not None
    captioner = load_generator(asked.generator, Asked(max_new_tokens=5))
    pictures = [captioner.prepare(np.full((20, 24, 3), value, np.uint8), 0) for value in (0, 200)]
    found = captioner.generate(pictures)
    assert len(found) == 2
    assert found == captioner.generate(pictures)
    assert all(set(text.decode().split()) <= set(WORDS) for text in found)
    (folder / "model.safetensors").write_bytes(b"damaged")
    load_generator.cache_clear()
    with pytest.raises(EnvironmentFailed, match="its weights cannot be read"):
        load_generator(asked.generator, Asked(max_new_tokens=5))


def test_labels_are_the_names_that_torchvision_keeps(tmp_path: Path) -> None:
    import torchvision
    from safetensors.torch import save_file

    network = torchvision.models.get_model("squeezenet1_1", weights=None)
    weights = network.state_dict()
    weights["classifier.1.bias"][7] = 1e4  # whatever the picture, the first; then the eighth
    weights["classifier.1.bias"][281] = 2e4
    save_file(weights, tmp_path / "weights.safetensors")
    labels = load_generator(f"imagenet-labels:squeezenet1_1@{tmp_path / 'weights.safetensors'}", Asked(top_k=2))
    assert labels.generate([labels.prepare(np.zeros((40, 30, 3), np.uint8), 0)]) == [b"tabby, cock"]
    del weights["classifier.1.bias"]
    save_file(weights, tmp_path / "headless.safetensors")
    with pytest.raises(EnvironmentFailed, match="a classifier names nothing without its head"):
        load_generator(f"imagenet-labels:squeezenet1_1@{tmp_path / 'headless.safetensors'}", Asked(top_k=2))


@pytest.mark.shared
@pytest.mark.slow
def test_whisper_hears_what_espeak_says(shared_data: Path) -> None:
    """Real weights, a synthetic voice: what goes in comes out."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    spoken = load_generator("espeak-ng", Asked(voice="en")).generate([b"one two three four five"])
    samples, rate_hz = soundfile.read(io.BytesIO(spoken[0]), dtype="int16")
    whisper = load_generator(f"whisper:{shared_data.parent / 'weights/whisper-tiny-en'}", Asked(max_new_tokens=24))
    (heard,) = whisper.generate([whisper.prepare(samples, rate_hz)])
    assert re.sub(r"\D", "", heard.decode()) == "12345"
