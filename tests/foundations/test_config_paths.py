"""A relative path in a profile is relative to its file, one that was typed to the current folder; all end absolute."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.request import find_profile, profile_files, resolve_config
from tasks.config import RunConfig, load_config, read_profile
from tasks.config_paths import absolute_path, absolute_paths
from tasks.errors import UsageError
from tasks.modeling.pretrained.locate import locate_encoder

PROFILE = """
[data]
path = "photos/manifest.csv"
allowed_roots = ["../media", "/srv/media"]
expectations = "rules.json"
[encoders]
image = "torchvision:squeezenet1_1@weights/net.safetensors"
text = "hf:models/bert"
audio = "hf:someone/wav2vec@v1"
video = "torchvision:resnet18@random"
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    folder = tmp_path / "team"
    (folder / "models" / "bert").mkdir(parents=True)
    (folder / "rules.json").write_text("[]")
    (folder / "mine.toml").write_text(PROFILE)
    return folder / "mine.toml"


def paths_of(config: RunConfig) -> dict[str, object]:
    data, encoders = config.data, config.encoders
    return {
        "path": data.path,
        "roots": data.allowed_roots,
        "expectations": data.expectations,
        **{kind: encoders.of(kind) for kind in ("image", "text", "audio", "video")},
    }


def test_every_path_of_a_profile_is_seen_from_its_file_wherever_it_is_used(
    profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = profile.parent
    expected = {
        "path": f"{folder}/photos/manifest.csv",
        "roots": (f"{folder}/../media", "/srv/media"),
        "expectations": f"{folder}/rules.json",
        "image": f"torchvision:squeezenet1_1@{folder}/weights/net.safetensors",
        "text": f"hf:{folder}/models/bert",
        "audio": "hf:someone/wav2vec@v1",
        "video": "torchvision:resnet18@random",
    }
    for place, named in ((tmp_path, "team/mine.toml"), (folder, "mine.toml"), (Path("/"), str(profile))):
        monkeypatch.chdir(place)
        assert paths_of(resolve_config(named, None, [])) == expected, place


def test_what_is_typed_is_seen_from_the_current_folder(
    profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "bert").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    typed = ["data.path=a.csv", 'data.allowed_roots=["b"]', "encoders.text=hf:bert", "encoders.image=torchvision:x@./w"]
    config = resolve_config(str(profile), None, typed)
    here = tmp_path / "here"
    assert paths_of(config) | {"audio": "", "video": "", "expectations": ""} == {
        "path": f"{here}/a.csv",
        "roots": (f"{here}/b",),
        "expectations": "",
        "image": f"torchvision:x@{here}/w",
        "text": f"hf:{here}/bert",
        "audio": "",
        "video": "",
    }
    assert resolve_config(str(profile), "c.csv", []).data.path == f"{here}/c.csv"
    assert load_config({}, ['data={"path": "d.csv"}']).data.path == f"{here}/d.csv"


def test_addresses_and_empty_text_stay_and_a_home_folder_is_one() -> None:
    folder = Path("/team")
    for text in ("s3://bucket/m.parquet", "builtin:digits", "", "/abs/m.csv"):
        assert absolute_path(text, folder) == text
    assert absolute_path("~/m.csv", folder) == str(Path.home() / "m.csv")


@pytest.mark.parametrize(
    "values", [{"data": 3}, {"data": {"path": 3}}, {"data": {"allowed_roots": "x"}}, {"encoders": []}]
)
def test_what_has_the_wrong_type_is_left_for_the_config_to_refuse(values: dict[str, object]) -> None:
    assert absolute_paths(values, Path("/team")) == values
    with pytest.raises(UsageError):
        load_config(values | {"data": 3})


def test_a_hub_id_never_depends_on_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "someone" / "bert").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with pytest.raises(UsageError, match="crossmodal fetch hf:someone/bert"):
        locate_encoder("text", "hf:someone/bert")


def test_the_stores_own_profiles_come_before_the_shipped_ones(tmp_path: Path) -> None:
    own = tmp_path / "profiles"
    own.mkdir()
    for name in ("digits", "photos"):
        (own / f"{name}.toml").write_text('[data]\npath = "x.csv"\n')
    files = profile_files(str(tmp_path))
    assert list(files) == ["defaults", "digits", "photos"]
    assert find_profile("digits", str(tmp_path)) == own / "digits.toml"
    assert find_profile("digits", str(tmp_path / "other")) != own / "digits.toml"
    assert read_profile(own / "photos.toml") == {"data": {"path": f"{own}/x.csv"}}
