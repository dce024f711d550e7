"""Fetching: what is asked of the network, what is kept, and what is said when it is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import huggingface_hub
import pytest
import torchvision
from safetensors import safe_open

from flows.cli import main
from tasks.config import EncodersConfig
from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.pretrained.describe import describe_encoder, identify_encoder
from tasks.modeling.pretrained.fetch import ALLOW_PATTERNS, IGNORE_PATTERNS, fetch_encoder
from tasks.modeling.pretrained.weights import frozen_encoder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def answer_with(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[dict[str, Any]]:
    """Puts an answer in the place of the network; gives what was asked."""
    asked: list[dict[str, Any]] = []

    def get(entry: Any, **options: Any) -> Any:
        asked.append({"entry": str(entry), **options})
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", get)
    return asked


def test_weights_are_checked_converted_and_fetched_once(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    asked = answer_with(monkeypatch, torchvision.models.get_model("squeezenet1_1").state_dict())
    fetched = fetch_encoder("torchvision:squeezenet1_1")
    assert fetched == fetch_encoder("torchvision:squeezenet1_1")
    assert [(ask["check_hash"], ask["weights_only"]) for ask in asked] == [(True, True)]
    assert [path.name for path in fetched.path.parent.iterdir()] == ["squeezenet1_1.safetensors"]
    with safe_open(fetched.path, "pt") as file:
        assert file.metadata() == {"weights": "SqueezeNet1_1_Weights.IMAGENET1K_V1"}
    spec = describe_encoder("image", "torchvision:squeezenet1_1", "head", EncodersConfig())
    assert frozen_encoder("image", spec).width == spec.width == 512


def test_weights_by_name_are_other_files(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer_with(monkeypatch, torchvision.models.get_model("squeezenet1_1").state_dict())
    fetch_encoder("torchvision:squeezenet1_1@IMAGENET1K_V1")
    assert asked[0]["entry"] == "SqueezeNet1_1_Weights.IMAGENET1K_V1"
    with pytest.raises(UsageError, match=r"get them with crossmodal fetch torchvision:squeezenet1_1$"):
        identify_encoder("image", "torchvision:squeezenet1_1", "head", EncodersConfig())


@pytest.mark.parametrize("error", [URLError("no route to host"), RuntimeError("invalid hash value")])
def test_a_network_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, home: Path, error: Exception) -> None:
    answer_with(monkeypatch, error)
    with pytest.raises(
        EnvironmentFailed, match=r"could not be fetched \(.*(no route|invalid hash).*\); check the network"
    ):
        fetch_encoder("torchvision:resnet18")
    assert not [path for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("tiny", "nothing to fetch"),
        ("torchvision:resnet18@random", "nothing to fetch"),
        ("torchvision:resnet18@x.safetensors", "nothing to fetch"),
        ("torchvision:resnet17", "has no network 'resnet17'"),
        ("torchvision:resnet18@IMAGENET22K", "neither a .safetensors file nor one of IMAGENET1K_V1"),
        ("resnet18", "an encoder is tiny, classical, auto, off"),
    ],
)
def test_what_cannot_be_fetched_is_told(encoder: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fetch_encoder(encoder)


def test_no_code_and_no_pickle_is_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch, bert: Path) -> None:
    asked: list[dict[str, Any]] = []

    def download(name: str, **options: Any) -> str:
        asked.append({"name": name, **options})
        return str(bert)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert fetch_encoder("hf:someone/bert@v1").path == bert
    first, second = asked
    assert first == {
        "name": "someone/bert", "revision": "v1",
        "allow_patterns": list(ALLOW_PATTERNS), "ignore_patterns": list(IGNORE_PATTERNS),
    }  # fmt: skip
    assert second == {"name": "someone/bert", "revision": "v1", "local_files_only": True}
    assert not [pattern for pattern in ALLOW_PATTERNS if pattern.endswith((".py", ".bin", ".pt", ".pkl"))]


def test_of_a_pipeline_every_part_is_fetched_and_no_second_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[dict[str, Any]] = []
    (tmp_path / "hub/unet").mkdir(parents=True)
    (tmp_path / "hub/model_index.json").write_text(
        '{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}'
    )
    (tmp_path / "hub/unet/diffusion_pytorch_model.safetensors").write_bytes(b"1234")

    def download(name: str, **options: Any) -> str:
        asked.append({"name": name, **options})
        return str(tmp_path / "hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    fetched = fetch_encoder("diffusers:someone/painter@v1")
    assert fetched.path == tmp_path / "hub"
    assert fetched.size_bytes > 4
    assert [(each["name"], each["revision"]) for each in asked] == [("someone/painter", "v1")] * 2

    patterns = {name: asked[0][name] for name in ("allow_patterns", "ignore_patterns")}

    def is_fetched(path: str) -> bool:
        return bool(list(huggingface_hub.utils.filter_repo_objects([path], **patterns)))

    assert all(map(is_fetched, ("model_index.json", "vae/config.json", "unet/diffusion_pytorch_model.safetensors")))
    assert not any(
        map(is_fetched, ("whole.safetensors", "unet/model.fp16.safetensors", "unet/model.bin", "unet/code.py"))
    )


def test_the_command_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    answer_with(monkeypatch, torchvision.models.get_model("squeezenet1_1").state_dict())
    with pytest.raises(SystemExit) as done:
        main(["fetch", "torchvision:squeezenet1_1"])
    assert done.value.code == 0
    assert capsys.readouterr().out.startswith("torchvision:squeezenet1_1: 4.9 MB at ")
    answer_with(monkeypatch, URLError("no route to host"))
    with pytest.raises(SystemExit) as done:
        main(["fetch", "torchvision:resnet18"])
    assert done.value.code == 4
    assert "no route to host" in capsys.readouterr().err
