"""timm's networks, from folders as timm and as transformers write them, against timm itself."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

from tasks.config import EncodersConfig
from tasks.encoder_ids import parse_encoder
from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.pretrained.describe import describe_encoder, identify_encoder
from tasks.modeling.pretrained.families import build_pretrained
from tasks.modeling.pretrained.fuse_conv_bn import fold_norms
from tasks.modeling.pretrained.locate import TIMM
from tests.support.families import load, pictures

# One of each kind of head: pooled tokens, attention pooling, pooled convolutions, a layer before the classifier.
NETWORKS = [
    "test_vit",
    "test_vit3",
    "test_efficientnet",
    "test_convnext",
    "test_resnet",
    "test_mambaout",
    "mobilenetv3_small_050",
]
LITE2 = Path(__file__).resolve().parents[4].parent / "shared" / "weights" / "efficientnet_lite2"


def as_timm_writes(name: str, folder: Path) -> Any:
    """A random network in a folder as on the hub; the network."""
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=7).eval()
    save_for_hf(network, folder, safe_serialization=True)
    return network


def vectors(network: Any, x: torch.Tensor) -> torch.Tensor:
    """What the classifier of a network of timm is fed."""
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        found: torch.Tensor = network.forward_head(network.forward_features((x - mean) / std), pre_logits=True)
        return found.flatten(1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_folder_of_timm_gives_what_its_classifier_is_fed(tmp_path: Path, name: str) -> None:
    network = as_timm_writes(name, tmp_path)
    side = network.pretrained_cfg["input_size"][-1]
    x, encoder = pictures(2, side), load("image", tmp_path)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(x, torch.ones(2)), vectors(network, x), atol=1e-4, rtol=1e-4)
    assert identify_encoder("image", f"hf:{tmp_path}", "head", EncodersConfig()).model_type == TIMM


def test_a_folder_of_transformers_is_read_alike(tmp_path: Path) -> None:
    network = as_timm_writes("test_resnet", tmp_path / "timm")
    path = tmp_path / "timm" / "config.json"
    record = json.loads(path.read_text())
    path.write_text(
        json.dumps({key: value for key, value in record.items() if key != "model_args"})
    )  # which transformers cannot read
    config = TimmWrapperConfig.from_pretrained(tmp_path / "timm")
    wrapped = TimmWrapperForImageClassification.from_pretrained(tmp_path / "timm", config=config)
    wrapped.save_pretrained(tmp_path / "wrapped")
    assert json.loads((tmp_path / "wrapped" / "config.json").read_text())["model_type"] == TIMM
    x = pictures(2, 160)
    with torch.inference_mode():
        found = load("image", tmp_path / "wrapped")(x, torch.ones(2))
    torch.testing.assert_close(found, vectors(network, x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["test_vit", "test_vit3", "test_convnext"])
def test_a_picture_of_another_side_is_read_and_positions_are_interpolated(tmp_path: Path, name: str) -> None:
    as_timm_writes(name, tmp_path)
    with torch.inference_mode():
        encoder = load("image", tmp_path, px=96)
        assert encoder(pictures(2, 40), torch.ones(2)).isfinite().all()
    if name != "test_convnext":
        own = load_file(tmp_path / "model.safetensors")["pos_embed"]
        assert encoder.state_dict()["network.pos_embed"].shape[1] < own.shape[1]


def test_frames_are_read_one_by_one_and_layers_are_counted(tmp_path: Path) -> None:
    as_timm_writes("test_vit", tmp_path)
    x = pictures(6, 160).view(2, 3, 3, 160, 160)
    single = load("image", tmp_path)
    with torch.inference_mode():
        found = load("video", tmp_path)(x, torch.tensor([3, 2]))
        seen = single(x.flatten(0, 1), torch.ones(6)).view(2, 3, -1)
    torch.testing.assert_close(found, torch.stack([seen[0].mean(0), seen[1, :2].mean(0)]), atol=1e-5, rtol=1e-4)
    spec = describe_encoder("image", f"hf:{tmp_path}", "head", EncodersConfig.model_validate({"layers": [1, "last"]}))
    assert spec.width == 2 * single.width
    held = sum(parameter.numel() for block in single.blocks() for parameter in block.parameters())
    assert held >= 0.9 * sum(parameter.numel() for parameter in single.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "resnet_of_nobody"}, "has no network 'resnet_of_nobody'"),
        ({"architecture": "hf-hub:evil/model"}, "has no network 'hf-hub:evil/model'"),
        ({"architecture": None}, "names no architecture"),
        ({"model_args": {"checkpoint_path": "evil.pth"}}, "checkpoint_path is not a setting"),
        ({"model_args": {"pretrained": True}}, "pretrained is not a setting"),
        ({"model_args": {"act_layer": {"x": 1}}}, "act_layer is not a setting"),
        ({"pretrained_cfg": {"input_size": [1, 32, 32]}}, "reads 1 x"),
    ],
)
def test_a_config_that_names_no_network_or_something_to_load_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    as_timm_writes("test_resnet", tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UsageError, match=message):
        load("image", tmp_path)


def test_a_card_cannot_make_timm_fetch_or_unpickle(tmp_path: Path) -> None:
    as_timm_writes("test_resnet", tmp_path)
    spec = describe_encoder("image", f"hf:{tmp_path}", "head", EncodersConfig())
    hostile = {"file": "evil.pth", "url": "https://evil.example/x.pth", "hf_hub_id": "evil/model"}
    settings = spec.settings | {"pretrained_cfg": spec.settings["pretrained_cfg"] | hostile}
    encoder: Any = build_pretrained("image", spec.model_copy(update={"settings": settings}))
    assert not {value for key, value in encoder.network.pretrained_cfg.items() if key in hostile and value}


@pytest.mark.parametrize("spoil", ["lost", "shape", "foreign", "bytes"])
def test_weights_that_do_not_fit_are_told(tmp_path: Path, spoil: str) -> None:
    as_timm_writes("test_resnet", tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    if spoil == "lost":
        del weights["conv1.0.weight"]
    elif spoil == "shape":
        weights["conv1.0.weight"] = weights["conv1.0.weight"][:1]
    elif spoil == "foreign":
        weights["stem.weight"] = torch.zeros(2)
    save_file(weights, path)
    if spoil == "bytes":
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(EnvironmentFailed, match=str(tmp_path)):
        load("image", tmp_path)


def test_ids_of_timm_and_sentence_transformers_are_short_for_those_of_the_hub() -> None:
    found = parse_encoder("timm:vit_small_patch16_dinov3.lvd1689m@main", "image")
    assert (found.family, found.name, found.version) == ("hf", "timm/vit_small_patch16_dinov3.lvd1689m", "main")
    assert parse_encoder("st:all-MiniLM-L6-v2", "text").name == "sentence-transformers/all-MiniLM-L6-v2"
    for encoder, modality, message in (
        ("timm:x", "text", "timm has no encoder of text"),
        ("st:x", "image", "st has no encoder of image"),
        ("timm:a/b", "image", "short for hf:timm/NAME"),
        ("timm:../x", "image", "short for hf:timm/NAME"),
        ("timm:", "image", "write hf:ID"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_encoder(encoder, modality)  # type: ignore[arg-type]


def test_a_missing_timm_is_named_with_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_timm_writes("test_resnet", tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(EnvironmentFailed, match=r"pip install 'crossmodal\[timm\]'"):
        load("image", tmp_path)


@pytest.mark.shared
@pytest.mark.skipif(not LITE2.is_dir(), reason="no ../shared/weights/efficientnet_lite2")
def test_a_real_network_is_read_in_half_precision_as_float32() -> None:
    spec = describe_encoder("image", f"hf:{LITE2}", "head", EncodersConfig(image_px=160))
    assert (spec.width, spec.settings["px"], spec.settings["mean"]) == (1280, 160, [0.5] * 3)
    encoder = load("image", LITE2, px=160)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    wrapped = TimmWrapperForImageClassification.from_pretrained(LITE2, dtype=torch.float32).eval()
    x = pictures(1, 160)
    with torch.inference_mode():
        found = wrapped.timm_model.classifier(encoder(x, torch.ones(1)))
        expected = wrapped(pixel_values=(x - 0.5) / 0.5).logits
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["test_resnet", "test_byobnet", "test_efficientnet", "ghostnet_050"])
def test_folding_norms_for_answers_loses_no_activation(name: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0).eval()
    for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        assert isinstance(norm.running_mean, torch.Tensor)
        norm.running_mean.uniform_(-1, 1)
    folded = copy.deepcopy(network)
    fold_norms(folded)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x := pictures(2, 96)), network(x), atol=1e-3, rtol=1e-3)
