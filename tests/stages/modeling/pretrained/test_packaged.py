"""Encoders that travel with a model: their tokens, their identity, and what is said of files that were edited."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_contracts.refs import InputName
from tasks.config import EncodersConfig, FusionConfig, RunConfig
from tasks.encoder_ids import parse_encoder
from tasks.errors import CrossmodalError, DataError, EnvironmentFailed
from tasks.modeling.card import ModelCard, tokenizer_file
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.package import build_model, gather_files, load_model, save_model
from tasks.modeling.pretrained.describe import describe_encoder, identify_encoder
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.packaged import is_packaged, packaged_encoder, packaged_spec
from tasks.modeling.pretrained.tokenization import packaged_tokenizer, tokenizer_json

CONFIG = EncodersConfig(image_px=64)
TEXTS = [
    "it is low",
    "",
    " ",
    "IT  is\tLow!",
    "a" * 300,
    "of a b " * 60,
    "naïve ﬁne 漢字 🙂 \u202e[SEP]<s> </s>",
    "don't 1,000.5",
]


def card_of(**specs: EncoderSpec) -> ModelCard:
    record = {
        "format": 2,
        "labels": ["a", "b"],
        "modalities": list(specs),
        "encoders": {name: spec.model_dump(mode="json") for name, spec in specs.items()},
        "config": RunConfig(encoders=CONFIG, fusion=FusionConfig(embed_dim=8, hidden=8)).subset(
            "media", "extract", "encoders", "fusion"
        ),
    }
    return ModelCard.model_validate(record)


@pytest.fixture
def specs(bert: Path, squeezenet: Path) -> dict[InputName, EncoderSpec]:
    return {
        "image": describe_encoder("image", f"torchvision:squeezenet1_1@{squeezenet}", "full", CONFIG),
        "text": describe_encoder("text", f"hf:{bert}", "full", CONFIG),
    }


@pytest.fixture
def folder(specs: dict[InputName, EncoderSpec], tmp_path: Path) -> Path:
    model_folder, card = tmp_path / "model-folder", card_of(**specs)
    model_folder.mkdir()
    torch.manual_seed(0)
    save_model(build_model(card), model_folder, card, gather_files(card))
    return model_folder


def make_tokenizer(kind: str, folder: Path) -> Any:
    """Tokenizers of the three kinds that encoders of text have, over few words."""
    import transformers

    letters = [*"abcdefghijklmnopqrstuvwxyzILTS'!.,0123456789"]
    if kind == "wordpiece":
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "low", "is", "##is", "fine", *letters]
        words += [f"##{letter}" for letter in letters]
        return transformers.BertTokenizer({word: n for n, word in enumerate(words)}, model_max_length=20)
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    units = list(bytes_to_unicode().values())
    merges = [("l", "o"), ("i", "s"), ("Ġ", "is")]
    if kind == "roberta":
        words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *units, "lo", "is", "Ġis"]
        vocabulary = {word: n for n, word in enumerate(words)}
        return transformers.RobertaTokenizer(vocabulary, merges)
    words = [*units, *(f"{unit}</w>" for unit in units), "lo", "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer({word: n for n, word in enumerate(words)}, [("l", "o")], model_max_length=77)


@pytest.mark.parametrize("kind", ["wordpiece", "roberta", "clip"])
def test_tokens_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    make_tokenizer(kind, tmp_path).save_pretrained(tmp_path / "from")
    settings = {"config": {"model_type": kind, "max_position_embeddings": 60, "pad_token_id": 1}}
    (tmp_path / "from" / "config.json").write_text(json.dumps({"model_type": "bert" if kind == "wordpiece" else kind}))
    spec, place = EncoderSpec(encoder="hf:x", reads="inputs", settings=settings), Place(tmp_path / "from", ())
    content = tokenizer_json(place, spec)
    assert content is not None
    assert content == tokenizer_json(place, spec)
    sha256 = hashlib.sha256(content).hexdigest()
    (tmp_path / tokenizer_file(sha256)).write_bytes(content)
    packed = spec.model_copy(update={"tokenizer_sha256": sha256})
    theirs = AutoTokenizer.from_pretrained(tmp_path / "from", local_files_only=True)
    longest = min(theirs.model_max_length, 58 if kind == "roberta" else 60)
    for most in (8, 500):
        ours = packaged_tokenizer(tmp_path, packed, most)
        for text in TEXTS:
            expected = theirs(text, truncation=True, max_length=min(most, longest))["input_ids"]
            assert ours(text).tolist() == expected, text
        assert len(ours(TEXTS[4])) <= min(most, longest)


def test_an_encoder_is_the_same_without_its_files(
    specs: dict[InputName, EncoderSpec], folder: Path, bert: Path, squeezenet: Path
) -> None:
    before = {name: identify_encoder(name, spec.encoder, "full", CONFIG) for name, spec in specs.items()}
    shutil.rmtree(bert)
    squeezenet.unlink()
    here = packaged_encoder(folder)
    assert {name: identify_encoder(name, here, "full", CONFIG) for name in specs} == before
    for name, spec in specs.items():
        assert describe_encoder(name, here, "full", CONFIG) == spec.model_copy(update={"encoder": here})
        assert is_packaged(name, packaged_spec(name, folder), folder)
    load_model(folder)


def test_a_model_holds_nothing_twice(specs: dict[InputName, EncoderSpec], folder: Path) -> None:
    (name,) = card_of(**specs).files_beside()
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "model.json", name}
    assert card_of(text=specs["text"], audio=specs["text"]).files_beside() == card_of(**specs).files_beside()
    held = sum(tensor.numel() * tensor.element_size() for tensor in load_model(folder).state_dict().values())
    assert held < sum(path.stat().st_size for path in folder.iterdir()) < held + 200_000


def edit(folder: Path, content: bytes, forge: bool) -> None:
    """Puts other content in the place of the tokenizer; with `forge` the card says that it is the right one."""
    (old,) = folder.glob("tokenizer-*.json")
    old.write_bytes(content)
    if forge:
        sha256 = hashlib.sha256(content).hexdigest()
        old.rename(folder / tokenizer_file(sha256))
        card = json.loads((folder / "model.json").read_text())
        card["encoders"]["text"]["tokenizer_sha256"] = sha256
        (folder / "model.json").write_text(json.dumps(card))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"version": "1.0", "model": {"type": "BPE"}}'])
@pytest.mark.parametrize("forge", [False, True])
def test_an_edited_tokenizer_is_refused(folder: Path, content: bytes, forge: bool) -> None:
    edit(folder, content, forge)
    with pytest.raises(DataError, match="damaged"):
        packaged_tokenizer(folder, packaged_spec("text", folder), 8)
    if not forge:
        with pytest.raises(DataError, match=r"tokenizer-\w+\.json: damaged \(its sha256 is"):
            load_model(folder)


def test_a_lost_tokenizer_is_named(folder: Path) -> None:
    (path,) = folder.glob("tokenizer-*.json")
    path.unlink()
    with pytest.raises(EnvironmentFailed, match=rf"{path.name}: cannot be read"):
        load_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer_sha256": "../../etc/passwd"},
        {"settings": {"adapter": "hf-text", "config": {"model_type": "bert", "hidden_size": "x"}, "pooling": "mean"}},
        {"settings": {"adapter": "hf-text", "config": {"model_type": "bert", "hidden_size": 10**6}, "pooling": "mean"}},
        {"settings": {"adapter": "hf-text", "config": {"model_type": "bert", "hidden_act": "boo"}, "pooling": "mean"}},
        {"settings": {"adapter": "hf-text", "config": {"model_type": "bert", "torch_dtype": "boo"}, "pooling": "mean"}},
        {"settings": {"adapter": "hf-text", "config": {"model_type": "nope"}, "pooling": "mean"}},
        {"settings": {"adapter": "os-system"}},
    ],
)
def test_an_edited_card_is_refused_on_one_line(folder: Path, change: dict[str, Any]) -> None:
    card = json.loads((folder / "model.json").read_text())
    card["encoders"]["text"] |= change
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(CrossmodalError) as message:
        load_model(folder)
    assert "\n" not in str(message.value)
    assert str(message.value).startswith("model")


def test_a_frozen_encoder_does_not_travel(bert: Path, squeezenet: Path) -> None:
    for name, encoder in (("text", f"hf:{bert}"), ("image", f"torchvision:squeezenet1_1@{squeezenet}")):
        spec = describe_encoder(name, encoder, "head", CONFIG)  # type: ignore[arg-type]
        assert not is_packaged(name, spec, squeezenet.parent)  # type: ignore[arg-type]
        assert spec.tokenizer_sha256 is None


@pytest.mark.parametrize("encoder", ["model:/somewhere", "model:x"])
def test_no_config_may_say_it(encoder: str) -> None:
    assert parse_encoder(encoder, "text").family == "model"
    with pytest.raises(ValueError, match="an encoder is tiny, classical, auto, off"):
        EncodersConfig(text=encoder)


def test_a_tokenizer_that_json_does_not_hold_stays_behind(make_folder: Callable[..., Path]) -> None:
    from transformers import BertConfig, BertModel, ByT5Tokenizer

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    folder = make_folder(BertModel, BertConfig(vocab_size=400, **small), ByT5Tokenizer())
    spec = describe_encoder("text", f"hf:{folder}", "full", CONFIG)
    assert spec.tokenizer_sha256 is None
    assert not is_packaged("text", spec, folder)


SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def save_family(modality: InputName, make_folder: Callable[..., Path]) -> Path:
    """A tiny encoder of transformers with its processor."""
    import transformers as hf

    if modality == "audio":
        shape = {"conv_dim": (16, 16), "conv_kernel": (10, 4), "conv_stride": (5, 4)}
        convolved = {**shape, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
        return make_folder(hf.Wav2Vec2Model, hf.Wav2Vec2Config(**SMALL, **convolved), hf.Wav2Vec2FeatureExtractor())
    if modality == "video":
        config = hf.VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, tubelet_size=2, **SMALL)
        sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
        return make_folder(hf.VideoMAEModel, config, hf.VideoMAEImageProcessor(**sizes))
    towers = {f"{part}_config": SMALL | {"projection_dim": 16} for part in ("text", "vision")}
    towers["vision_config"] |= {"image_size": 32, "patch_size": 8}
    towers["text_config"] |= {"vocab_size": 600}
    processor = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    folder = make_folder(hf.CLIPModel, hf.CLIPConfig(**towers), processor)
    make_tokenizer("clip", folder).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("modality", ["image", "text", "audio", "video"])
def test_every_kind_of_encoder_travels(modality: InputName, make_folder: Callable[..., Path], tmp_path: Path) -> None:
    from tasks.modeling.encoder_reading import preparer

    config = EncodersConfig()
    origin = save_family(modality, make_folder)
    spec = describe_encoder(modality, f"hf:{origin}", "lora", config)
    card = card_of(**{modality: spec})
    (folder := tmp_path / "model-folder").mkdir()
    save_model(build_model(card), folder, card, gather_files(card))
    before = identify_encoder(modality, spec.encoder, "lora", config)
    medium: Any = {
        "image": np.full((20, 30, 3), 7, np.uint8),
        "text": "is it low?",
        "audio": np.arange(4000, dtype=np.int16),
        "video": np.full((3, 20, 30, 3), 7, np.uint8),
    }[modality]
    params = {"image_px": None, "video_px": None, "max_tokens": 6}
    read = preparer(modality, spec, params)(medium, 8000)
    shutil.rmtree(origin)
    here = packaged_encoder(folder)
    assert is_packaged(modality, packaged_spec(modality, folder), folder)
    assert identify_encoder(modality, here, "full", config) == before
    again = preparer(modality, describe_encoder(modality, here, "full", config), params)(medium, 8000)
    assert np.array_equal(read, again)
    load_model(folder)
