"""Presets: what they name exists, is as large as they say, and gives way to what a config names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from data_contracts.modalities import ALL_MODALITIES
from flows.cli import main
from flows.commands.options import RunInput
from tasks.config import load_config, with_settings
from tasks.encoder_ids import parse_encoder
from tasks.encoder_presets import PRESETS, encoder_of_each, encoders_of
from tasks.errors import UsageError
from tasks.modalities import MODALITIES, Preset, PresetEncoder
from tasks.modeling.pretrained import fetch

ROOT = Path(__file__).resolve().parents[2]
SIZES: dict[str, dict[str, Any]] = {
    "hf:facebook/dinov2-small": {"model_type": "dinov2", "hidden_size": 384, "num_attention_heads": 6},
    "hf:facebook/dinov2-base": {"model_type": "dinov2", "hidden_size": 768, "num_attention_heads": 12},
    "st:all-MiniLM-L6-v2": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
    "hf:BAAI/bge-base-en-v1.5": {},
    "hf:BAAI/bge-large-en-v1.5": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
    "hf:openai/whisper-tiny": {"d_model": 384, "layers": 4, "heads": 6},
    "hf:openai/whisper-base": {"d_model": 512, "layers": 6, "heads": 8},
    "hf:openai/whisper-small": {"d_model": 768, "layers": 12, "heads": 12},
}
"""What their config.json files say of their shapes."""


def chosen_by(*settings: str) -> dict[str, str]:
    encoders = load_config({}, list(settings)).encoders
    return {name: getattr(encoders, name) for name in ALL_MODALITIES}


def test_a_preset_fills_in_what_is_not_named() -> None:
    left_open = {**dict.fromkeys(ALL_MODALITIES, "auto"), "tabular": "tiny"}
    assert chosen_by() == left_open == chosen_by("encoders.preset=offline")
    found = chosen_by("encoders.preset=fast", "encoders.text=off")
    assert found == {
        "image": "torchvision:mobilenet_v2",
        "text": "off",
        "audio": "hf:openai/whisper-tiny",
        "video": "torchvision:mobilenet_v2",
        "tabular": "tiny",
    }
    assert load_config({"encoders": {"preset": "medium", "image": "tiny"}}).encoders.image == "tiny"


@pytest.mark.parametrize("value", ["medum", '["fast"]', "3", '{"a": 1}'])
def test_another_word_is_refused_with_those_that_there_are(value: str) -> None:
    with pytest.raises(UsageError, match=r"encoders\.preset.*offline.*best"):
        load_config({}, [f"encoders.preset={value}"])


def test_one_preset_takes_the_place_of_another_and_leaves_what_was_named() -> None:
    config = load_config({}, ["encoders.preset=fast", "encoders.text=classical"])
    again = with_settings(config, {"encoders.preset": "best"})
    assert again.encoders.image == "hf:facebook/dinov2-base"
    assert again.encoders.text == "classical"
    assert with_settings(again, {"encoders.preset": "offline"}).encoders.image == "tiny"
    chosen = load_config({}, ["encoders.image=classical", "encoders.text=off", "encoders.audio=tiny"])
    switched = with_settings(chosen, {"encoders.preset": "fast"})
    assert switched.encoders.image == "torchvision:mobilenet_v2"
    assert (switched.encoders.text, switched.encoders.audio) == ("off", "hf:openai/whisper-tiny")
    assert with_settings(chosen, {"encoders.preset": "offline"}).encoders == chosen.encoders
    named = {"encoders.preset": "fast", "encoders.image": "classical"}
    assert with_settings(chosen, named).encoders.image == "classical"
    assert with_settings(config, {"seed": 3}).encoders == config.encoders


def test_the_option_is_an_override_before_the_others() -> None:
    assert RunInput(preset="fast", overrides=["seed=1"]).overrides == ["encoders.preset=fast", "seed=1"]
    assert RunInput(overrides=["seed=1"]).overrides == ["seed=1"]


@pytest.mark.parametrize("preset", PRESETS[1:])
def test_every_modality_with_pretrained_encoders_has_one_that_can_read_it(preset: Preset) -> None:
    chosen = encoder_of_each(preset)
    assert set(chosen) == {name for name, spec in MODALITIES.items() if spec.families}
    for name, spec in MODALITIES.items():
        if spec.families:
            assert parse_encoder(chosen[name], name).is_pretrained


@pytest.mark.parametrize("each", {found.encoder: found for name in PRESETS for found in encoders_of(name)}.values())
def test_they_are_as_large_as_they_say(each: PresetEncoder) -> None:
    import torch
    from torchvision.models import get_model_weights
    from transformers import BertConfig, BertModel, Dinov2Config, Dinov2Model, WhisperConfig, WhisperModel

    if each.encoder == "torchvision:mobilenet_v2":
        parameters = get_model_weights("mobilenet_v2").DEFAULT.meta["num_params"]  # type: ignore[attr-defined]
    else:
        shape = dict(SIZES[each.encoder])
        with torch.device("meta"):
            if "d_model" in shape:
                layers, heads, ffn = shape.pop("layers"), shape.pop("heads"), 4 * shape["d_model"]
                each_side = {"layers": layers, "attention_heads": heads, "ffn_dim": ffn}
                both = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in each_side.items()}
                network: torch.nn.Module = WhisperModel(WhisperConfig(**shape, **both))
            elif "model_type" in shape:
                del shape["model_type"]
                network = Dinov2Model(Dinov2Config(**shape, image_size=518, patch_size=14))
            else:
                network = BertModel(BertConfig(**shape))
        parameters = sum(parameter.numel() for parameter in network.parameters())
    assert each.parameters_m == pytest.approx(parameters / 1e6, abs=0.06)


def test_the_table_in_the_docs_is_this_one() -> None:
    page = (ROOT / "docs/encoders.md").read_text()
    for preset in PRESETS[1:]:
        (row,) = re.findall(rf"^\| `{preset}` \|.*$", page, re.MULTILINE)
        image, text, audio = (MODALITIES[name].presets[preset] for name in ("image", "text", "audio"))
        assert image == MODALITIES["video"].presets[preset]
        cells = [f"`{each.encoder}` ({each.licence}) | {each.size_mb}" for each in (image, text, audio)]
        assert row == f"| `{preset}` | {' | '.join(cells)} |"


def test_fetch_brings_each_encoder_of_a_preset_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network is not there in tests: what would go to it is replaced."""
    asked: list[str] = []

    def fetched(encoder: str) -> fetch.Fetched:
        asked.append(encoder)
        return fetch.Fetched(Path("/cache"), 1_000_000)

    monkeypatch.setattr(fetch, "fetch_encoder", fetched)
    with pytest.raises(SystemExit) as ended:
        main(["fetch", "preset:medium", "--json"])
    assert ended.value.code == 0
    assert asked == [each.encoder for each in encoders_of("medium")] == list(dict.fromkeys(asked))
    assert [json.loads(line)["encoder"] for line in capsys.readouterr().out.splitlines()] == asked


@pytest.mark.parametrize(
    ("name", "message"), [("preset:medum", "they are offline, fast"), ("preset:offline", "nothing")]
)
def test_a_preset_that_is_none_or_empty_is_refused(name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fetch", name])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
