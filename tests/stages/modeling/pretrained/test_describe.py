"""Where encoders are, what they are, and what is said when they are not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.config import EncodersConfig
from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.pretrained.describe import describe_encoder, find_again, identify_encoder, require_place
from tasks.modeling.pretrained.locate import Place

CONFIG = EncodersConfig()


def test_an_identity_follows_the_bytes_and_not_the_place(squeezenet: Path, tmp_path: Path) -> None:
    def identity(path: Path) -> object:
        return identify_encoder("image", f"torchvision:squeezenet1_1@{path}", "head", CONFIG)

    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(squeezenet.read_bytes())
    first = identity(squeezenet)
    assert identity(moved) == first
    changed = bytearray(squeezenet.read_bytes())
    changed[-1] ^= 1
    squeezenet.write_bytes(changed)
    assert identity(squeezenet) != first


def test_a_tokenizer_is_part_of_an_identity(bert: Path) -> None:
    first = identify_encoder("text", f"hf:{bert}", "full", CONFIG)
    (bert / "tokenizer_config.json").write_text("{}")
    second = identify_encoder("text", f"hf:{bert}", "full", CONFIG)
    assert first.inputs_sha256 != second.inputs_sha256
    assert first.weights_sha256 != second.weights_sha256


def test_identities_are_found_without_torch(squeezenet: Path, bert: Path) -> None:
    code = (
        "import sys\n"
        "from tasks.config import load_config\n"
        "from tasks.extract.extract import features_fingerprint\n"
        f"config = load_config({{}}, ['encoders.image=torchvision:squeezenet1_1@{squeezenet}', 'encoders.text=hf:{bert}',"
        " 'encoders.audio=tiny'])\n"
        "for name in ('image', 'text', 'audio'): print(features_fingerprint(name, 'x', config))\n"
        "assert not {'torch', 'torchvision', 'transformers'} & set(sys.modules)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[4])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split())) == 3


def test_a_spec_says_all_that_rebuilds_the_network(squeezenet: Path, bert: Path) -> None:
    image = describe_encoder("image", f"torchvision:squeezenet1_1@{squeezenet}", "head", EncodersConfig(image_px=64))
    assert (image.reads, image.width, image.settings["px"]) == ("embedding", 512, 64)
    text = describe_encoder("text", f"hf:{bert}", "full", CONFIG)
    assert (text.reads, text.width, text.settings["pooling"]) == ("inputs", 32, "mean")
    assert str(bert) not in str(text.settings)
    scratch = describe_encoder("image", "torchvision:resnet18@random", "head", CONFIG)
    assert (scratch.reads, scratch.width, scratch.weights_sha256) == ("inputs", 512, None)


@pytest.mark.parametrize(
    ("modality", "encoder", "message"),
    [
        ("image", "torchvision:resnet18@/nowhere/x.safetensors", "there is no file '/nowhere/x.safetensors'"),
        ("image", "torchvision:resnet18@/nowhere/x.pth", "no pickle is ever loaded"),
        ("image", "torchvision:resnet18", "crossmodal fetch torchvision:resnet18$"),
        ("image", "torchvision:resnet17@random", "has no network 'resnet17'"),
        ("image", "torchvision:r3d_18@random", "reads clips"),
        ("text", "hf:no/such-model", "crossmodal fetch hf:no/such-model$"),
        ("text", "hf:./no/such/folder", "there is no folder './no/such/folder'"),
        ("text", "hf:a/b/c/d", "neither a folder nor the id of a model"),
    ],
)
def test_what_is_not_there_is_told_with_a_way_out(
    modality: str, encoder: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match=message):
        describe_encoder(modality, encoder, "head", CONFIG)  # type: ignore[arg-type]


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_half_a_folder_is_told(bert: Path, lost: str) -> None:
    (bert / lost).unlink()
    with pytest.raises(UsageError, match=r"config\.json|\.safetensors file"):
        describe_encoder("text", f"hf:{bert}", "head", CONFIG)


def test_weights_that_changed_are_refused(squeezenet: Path) -> None:
    encoder = f"torchvision:squeezenet1_1@{squeezenet}"
    spec = describe_encoder("image", encoder, "head", CONFIG)
    copy = squeezenet.with_name("copy.safetensors")
    copy.write_bytes(squeezenet.read_bytes())
    assert find_again("image", spec, "tiny") == encoder
    squeezenet.write_bytes(squeezenet.read_bytes()[:-4] + b"0000")
    with pytest.raises(EnvironmentFailed, match="has changed"):
        require_place("image", spec)
    with pytest.raises(EnvironmentFailed, match=r"not here any more: .* has changed .*--set encoders\.image="):
        find_again("image", spec, "tiny")
    assert find_again("image", spec, f"torchvision:squeezenet1_1@{copy}") == f"torchvision:squeezenet1_1@{copy}"


def test_weights_by_name_tell_what_inputs_are_prepared(monkeypatch: pytest.MonkeyPatch, squeezenet: Path) -> None:
    place = Place(squeezenet, (squeezenet,))
    monkeypatch.setattr("tasks.modeling.pretrained.describe.locate_encoder", lambda *_: place)

    def name(encoder: str) -> str:
        return identify_encoder("image", f"torchvision:{encoder}", "full", CONFIG).name

    assert name("vit_b_16@IMAGENET1K_SWAG_E2E_V1") == "vit_b_16@IMAGENET1K_SWAG_E2E_V1"
    assert {name(f"vit_b_16{end}") for end in ("", "@random", "@weights.safetensors")} == {"vit_b_16"}


def test_the_models_own_files_are_named_first_where_both_are_gone(squeezenet: Path) -> None:
    spec = describe_encoder("image", f"torchvision:squeezenet1_1@{squeezenet}", "head", CONFIG)
    squeezenet.unlink()
    with pytest.raises(EnvironmentFailed, match=re.escape(f"there is no file '{squeezenet}'")):
        find_again("image", spec, "torchvision:squeezenet1_1@/elsewhere.safetensors")
