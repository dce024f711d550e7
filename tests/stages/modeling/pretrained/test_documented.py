"""Every family of transformers that docs/encoders.md names, in the modality for which it names it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from data_contracts.refs import Modality
from tasks.config import EncodersConfig
from tasks.errors import UsageError
from tasks.modeling.pretrained.describe import describe_encoder, require_place
from tasks.modeling.pretrained.tokenization import tokenizer_of
from tests.support import families
from tests.support.families import LENGTHS, MEAN, SMALL, STD, TEXT, TOKENS, VISION, load

PAGE = Path(__file__).resolve().parents[4] / "docs" / "encoders.md"
MakeFolder = Callable[..., Path]
SIDE = {"image_size": 32, "patch_size": 8}
POOLED: dict[str, tuple[type, Callable[[], Any]]] = {
    "DeiT": (hf.DeiTModel, lambda: hf.DeiTConfig(**SIDE, **SMALL)),
    "ResNet": (
        hf.ResNetModel,
        lambda: hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"),
    ),
    "Swin": (
        hf.SwinModel,
        lambda: hf.SwinConfig(
            image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
        ),
    ),
    "SigLIP": (hf.SiglipVisionModel, lambda: hf.SiglipVisionConfig(**SIDE, **SMALL)),
}
CLIPS: dict[str, tuple[type, Callable[[], Any], type]] = {
    "TimeSformer": (
        hf.TimesformerModel,
        lambda: hf.TimesformerConfig(image_size=32, patch_size=16, num_frames=4, **SMALL),
        hf.VideoMAEImageProcessor,
    ),
    "ViViT": (
        hf.VivitModel,
        lambda: hf.VivitConfig(image_size=32, tubelet_size=[2, 16, 16], num_frames=4, **SMALL),
        hf.VivitImageProcessor,
    ),
}
TESTED: dict[str, set[str]] = {
    "image": {"ViT", "DINOv2", "CLIP", "ConvNeXt", *POOLED},
    "text": {"BERT", "RoBERTa", "ModernBERT", "MiniLM", "CLIP", "SigLIP"},
    "audio": {"wav2vec 2.0", "HuBERT", "WavLM", "Audio Spectrogram Transformer", "Whisper"},
    "video": {"VideoMAE", *CLIPS},
}
"""Those that test_families.py compares with transformers, and those below. MiniLM is a BERT of another size."""


def named(modality: str) -> set[str]:
    """The names in the page's table; torchvision's own, which test_torchvision.py tries, are left out."""
    rows = re.findall(rf"^\| {modality} \| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    families = [
        row.rpartition("; ")[2] if "torchvision" in row else row for row in rows if "every classifier" not in row
    ]
    name = r"Audio Spectrogram Transformer|wav2vec 2\.0|[A-Z]\w*[A-Z]\w*|[A-Z]\w+"
    return {found for row in families for found in re.findall(name, row)}


@pytest.mark.parametrize("modality", TESTED)
def test_every_family_on_the_page_is_tried(modality: str) -> None:
    assert named(modality) == TESTED[modality]
    assert len(VISION) == 4
    assert {"bert", "roberta", "modernbert"} <= set(TEXT)
    tried = Path(__file__).with_name("test_families.py").read_text(encoding="utf-8")
    assert all(
        word in tried for word in ("speech", "spectrograms", "whisper", "clip_reads_a_text", "clips_are_brought")
    )


@pytest.mark.parametrize("name", POOLED)
def test_pictures_are_what_the_network_sees(make_folder: MakeFolder, name: str) -> None:
    kind, config = POOLED[name]
    folder = make_folder(kind, config(), families.processor())
    x, reference = families.pictures(), kind.from_pretrained(folder).eval()  # type: ignore[attr-defined]
    with torch.inference_mode():
        output = reference(pixel_values=families.normalised(x))
        expected = output.last_hidden_state[:, 0] if name == "DeiT" else output.pooler_output.flatten(1)
        torch.testing.assert_close(load("image", folder)(x, torch.ones(3)), expected, atol=1e-5, rtol=1e-4)
        assert load("video", folder)(x[None], torch.tensor([3])).isfinite().all()


@pytest.mark.parametrize("name", CLIPS)
def test_clips_are_what_the_network_sees(make_folder: MakeFolder, name: str) -> None:
    kind, config, processor = CLIPS[name]
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    folder = make_folder(
        kind, config(), processor(image_mean=MEAN, image_std=STD, rescale_factor=1 / 255, offset=False, **size)
    )
    x, reference = families.pictures(4)[None], kind.from_pretrained(folder).eval()  # type: ignore[attr-defined]
    with torch.inference_mode():
        expected = reference(pixel_values=families.normalised(x)).last_hidden_state[:, 0]
        torch.testing.assert_close(load("video", folder)(x, torch.tensor([4])), expected, atol=1e-5, rtol=1e-4)


def siglip(folder: Path, pad_token: str | None) -> Path:
    """A SigLIP with both towers, and a tokenizer whose padding token is not the one that the config names."""
    text = {"vocab_size": 50, "max_position_embeddings": 16, "projection_size": 24, "pad_token_id": 1, **SMALL}
    text |= {"bos_token_id": 2, "eos_token_id": 3}
    torch.manual_seed(0)
    hf.SiglipModel(hf.SiglipConfig(text_config=text, vision_config=SIDE | SMALL)).save_pretrained(folder)
    words = Tokenizer(WordLevel({"<pad>": 0, "<unk>": 1, "one": 2, "two": 3}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    hf.PreTrainedTokenizerFast(tokenizer_object=words, pad_token=pad_token, unk_token="<unk>").save_pretrained(folder)
    settings = folder / "tokenizer_config.json"  # its class asks for sentencepiece, as that of the real ones does
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"tokenizer_class": "SiglipTokenizer"}))
    families.processor().save_pretrained(folder)
    return folder


def test_siglip_reads_a_text_padded_to_its_length(tmp_path: Path) -> None:
    folder = siglip(tmp_path / "siglip", "<pad>")
    reference = hf.SiglipModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        encoder = load("text", folder)
        found = encoder(TOKENS, LENGTHS)
        padded = torch.zeros(2, 16, dtype=torch.long)
        padded[0, :5], padded[1, :3] = TOKENS[0], TOKENS[1, :3]
        expected = reference.text_model(input_ids=padded).pooler_output
    assert encoder.width == 24
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert load("image", folder).width == 32
    spec = describe_encoder("text", f"hf:{folder}", "full", EncodersConfig())
    assert tokenizer_of(require_place("text", spec), spec, 99)("one two three " * 9).tolist() == [2, 3, 1] * 5 + [2]


REFUSED: dict[str, tuple[Modality, Callable[[MakeFolder, Path], Path], str]] = {
    "a text tower without padding": ("text", lambda _, path: siglip(path, None), "has no padding token"),
    "text by a network of pictures": (
        "text",
        lambda make, _: make(hf.ViTModel, VISION["vit"][1](), families.processor()),
        r"its network cannot be built \(vit reads no text\); choose another for encoders\.text",
    ),
    "text by a network of sound": (
        "text",
        lambda make, _: make(hf.Wav2Vec2Model, hf.Wav2Vec2Config(**families.SPEECH)),
        r"its network cannot be built \(wav2vec2 reads no text\)",
    ),
    "pictures of no fixed side": (
        "image",
        lambda make, _: make(
            hf.Siglip2VisionModel,
            hf.Siglip2VisionConfig(num_patches=16, patch_size=8, **SMALL),
            hf.Siglip2ImageProcessor(),
        ),
        "its processor names no side",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_one_line_of_its_own_modality(
    make_folder: MakeFolder, tmp_path: Path, case: str
) -> None:
    modality, make, message = REFUSED[case]
    with pytest.raises(UsageError, match=message) as caught:
        load(modality, make(make_folder, tmp_path / "other"))
    assert "\n" not in str(caught.value)
    assert "0 px" not in str(caught.value)


@pytest.mark.parametrize("modality", ["text", "audio"])
def test_a_config_that_describes_no_network_says_nothing_of_pixels(make_folder: MakeFolder, modality: Modality) -> None:
    if modality == "text":
        folder = make_folder(hf.BertModel, TEXT["bert"][1]())
    else:
        config = hf.Wav2Vec2Config(**families.SPEECH)
        folder = make_folder(hf.Wav2Vec2Model, config, hf.Wav2Vec2FeatureExtractor())
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"num_attention_heads": 2', '"num_attention_heads": 5'))
    with pytest.raises(
        UsageError, match=rf"^{modality} encoder .*: its network cannot be built \(.+\); choose"
    ) as caught:
        load(modality, folder)
    assert "px" not in str(caught.value).partition(": its")[2]


@pytest.mark.parametrize(("name", "message"), [("bert", "no tokenizer in"), ("modernbert", r"no tokenizer that .* \(")])
def test_a_folder_without_a_tokenizer_is_told(make_folder: MakeFolder, name: str, message: str) -> None:
    folder = make_folder(TEXT[name][0], TEXT[name][1]())
    spec = describe_encoder("text", f"hf:{folder}", "head", EncodersConfig())
    with pytest.raises(UsageError, match=rf"^encoder hf:.*: {message}"):
        tokenizer_of(require_place("text", spec), spec, 9)
