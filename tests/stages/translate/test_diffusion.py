"""Pictures by pipelines of diffusers, tiny and random: that they are drawn, the same each time, and from safetensors only."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.config import load_config
from tasks.config_translate import TranslateConfig
from tasks.errors import EnvironmentFailed, UsageError
from tasks.translate.generators import choose
from tasks.translate.generators.base import Asked
from tasks.translate.generators.choose import asked_of, identity_of, load_generator, require_generator

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = (*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>")


def asked_for(folder: Path, **settings: Any) -> TranslateConfig:
    section = {"source": "text", "target": "image", "generator": f"diffusers:{folder}", **settings}
    return load_config({"translate": section}).translate


def make_pipeline(folder: Path, is_large: bool = False) -> Path:
    """A pipeline of random weights that draws 16 by 16 pixels; `is_large`: of SDXL's form, with two text encoders."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (the extra diffusion)")
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer(vocab={word: place for place, word in enumerate(WORDS)}, merges=[], model_max_length=16)
    text = CLIPTextConfig(
        vocab_size=len(WORDS), hidden_size=16, projection_dim=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=16, bos_token_id=len(WORDS) - 2, eos_token_id=len(WORDS) - 1,
    )  # fmt: skip
    more = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 40,
    }
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
        cross_attention_dim=32 if is_large else 16, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **(more if is_large else {}),
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 16), norm_num_groups=4, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    parts = {"unet": unet, "vae": vae, "text_encoder": CLIPTextModel(text), "tokenizer": tokenizer}
    parts["scheduler"] = diffusers.EulerAncestralDiscreteScheduler(steps_offset=1)  # draws noise at each step, too
    if is_large:
        parts |= {"text_encoder_2": CLIPTextModelWithProjection(text), "tokenizer_2": tokenizer}
        made = diffusers.StableDiffusionXLPipeline(**parts, add_watermarker=False)
    else:
        made = diffusers.StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    made.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("is_large", [False, True])
def test_a_text_has_one_picture_whatever_is_drawn_beside_it(is_large: bool, tmp_path: Path) -> None:
    config = asked_for(make_pipeline(tmp_path / "pipeline", is_large), num_inference_steps=2)
    asked = asked_of(config, require_generator(config))
    pipeline = load_generator(config.generator, asked)
    cat, dog, again = pipeline.generate([pipeline.prepare(text, 0) for text in ("a cat", "a dog", "a cat")])
    assert cat == again != dog
    pixels = np.asarray(Image.open(io.BytesIO(cat)))
    assert pixels.shape == (16, 16, 3)
    assert len(np.unique(pixels)) > 20
    load_generator.cache_clear()
    assert load_generator(config.generator, asked).generate(["a cat"]) == [cat]
    larger = load_generator(config.generator, asked.model_copy(update={"image_px": 32}))
    assert Image.open(io.BytesIO(larger.generate(["a cat"])[0])).size == (32, 32)


@pytest.mark.slow
def test_no_tensor_is_filled_at_random_and_no_damaged_file_is_read(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_pipeline(tmp_path / "pipeline")
    asked = Asked(num_inference_steps=1)
    for part in ("text_encoder/model", "unet/diffusion_pytorch_model"):
        path = folder / f"{part}.safetensors"
        whole = path.read_bytes()
        weights = load_file(path)
        del weights[max(weights)]
        for damaged in (lambda kept=weights, to=path: save_file(kept, to), lambda to=path: to.write_bytes(b"damaged")):
            damaged()
            load_generator.cache_clear()
            with pytest.raises(
                EnvironmentFailed, match=r"generator diffusers:.*: (its (weights|files) cannot|1 tensors)"
            ):
                load_generator(f"diffusers:{folder}", asked)
        path.write_bytes(whole)
    load_generator.cache_clear()
    assert load_generator(f"diffusers:{folder}", asked).generate(["a cat"])


# -- refused before any work; a folder as such a pipeline has it needs no diffusers ---


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What lies in a pipeline's folder, as far as it is looked at before it is loaded."""
    monkeypatch.setattr(choose, "find_spec", lambda name: True)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    index = {"_class_name": "StableDiffusionPipeline", "safety_checker": [None, None], "unet": ["diffusers", "UNet"]}
    (tmp_path / "pipeline/unet").mkdir(parents=True)
    (tmp_path / "pipeline/model_index.json").write_text(json.dumps(index))
    (tmp_path / "pipeline/unet/config.json").write_text("{}")
    (tmp_path / "pipeline/unet/diffusion_pytorch_model.safetensors").write_bytes(b"weights")
    return tmp_path / "pipeline"


def test_without_the_extra_one_line_says_what_brings_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "find_spec", lambda name: None if name == "diffusers" else True)
    with pytest.raises(EnvironmentFailed, match=r"'diffusers' is not installed.*pip install 'crossmodal\[diffusion\]'"):
        require_generator(asked_for(folder))


def test_what_is_no_pipeline_or_would_run_code_is_refused(folder: Path) -> None:
    assert require_generator(asked_for(folder)) is not None
    index = folder / "model_index.json"
    known = json.loads(index.read_text())
    for changed, said in (
        ({**known, "_class_name": "FluxPipeline"}, "is a FluxPipeline; diffusers takes StableDiffusionPipeline"),
        ({**known, "unet": ["my_unet", "UNet"]}, "its part unet is of 'my_unet'; no code from a folder is run"),
        ([], "is a None; diffusers takes"),
    ):
        index.write_text(json.dumps(changed))
        with pytest.raises(UsageError, match=said):
            require_generator(asked_for(folder))
    index.write_text("{")
    with pytest.raises(UsageError, match=r"model_index\.json cannot be read"):
        require_generator(asked_for(folder))
    index.write_text(json.dumps(known))
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(UsageError, match=r"has no \.safetensors file; no pickle is ever loaded"):
        require_generator(asked_for(folder))
    index.unlink()
    with pytest.raises(UsageError, match=r"has no model_index\.json, so is no pipeline of diffusers"):
        require_generator(asked_for(folder))
    with pytest.raises(UsageError, match="there is no folder"):
        require_generator(asked_for(folder / "none"))
    with pytest.raises(UsageError, match="crossmodal fetch diffusers:somebody/painter"):
        require_generator(asked_for(Path("somebody/painter")))


def test_what_it_is_asked_and_every_file_enter_its_fingerprint(folder: Path) -> None:
    first = identity_of(asked_for(folder))
    assert str(folder) not in str(first)
    assert first == identity_of(asked_for(folder, voice="de"))
    others = [identity_of(asked_for(folder, **{name: value})) for name, value in
              {"num_inference_steps": 9, "guidance_scale": 0.0, "image_px": 64}.items()]  # fmt: skip
    (folder / "unet/config.json").write_text("{ }")
    others.append(identity_of(asked_for(folder)))
    assert all(first != other for other in others)


@pytest.mark.parametrize("setting", ["num_inference_steps=0", "image_px=100", "image_px=4096", "guidance_scale=-1"])
def test_settings_have_sane_bounds(setting: str) -> None:
    with pytest.raises(UsageError, match=setting.partition("=")[0]):
        load_config({}, [f"translate.{setting}"])
