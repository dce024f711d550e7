"""Frozen encoders: published with the model, once for all versions, and refused or fetched anew where a byte is another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks import progress
from tasks.errors import EnvironmentFailed
from tasks.modeling.card import read_card
from tasks.modeling.pretrained.describe import identify_encoder
from tasks.modeling.pretrained.packaged import is_packaged, packaged_encoder
from tasks.modeling.pretrained.weights import frozen_encoder
from tasks.publish import registry, versions
from tests.support.registries import client_of

MakeCase = Callable[..., Any]


def weights_of(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("**/encoders/*/model.safetensors") if "trash" not in path.parts)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()  # another name of the same file stays as it was
    path.write_bytes(content)


def test_versions_hold_one_backbone_and_need_no_other(make_case: MakeCase, bert: Path, quick: None) -> None:
    first = make_case(encoder=bert)
    first.publish()
    make_case(seed=1, champion=first.checkpoint, run_id="run-2", accuracy=0.95, encoder=bert).publish()
    store, uri = first.place
    found = weights_of(store.root)
    assert len(found) == 3, "that of the store, and one artifact of each version"
    assert len({path.stat().st_ino for path in found}) == 1
    champion = registry.fetch_champion("tiny", "champion", store, uri)
    assert (champion.version, champion.name) == ("2", "tiny")
    folder = store.path(champion.uri)
    spec = read_card(folder).encoders["text"]
    expected = frozen_encoder("text", spec).state_dict()
    shutil.rmtree(bert)
    assert is_packaged("text", spec, folder)
    here = packaged_encoder(folder)
    config = first.request.config.encoders
    assert identify_encoder("text", here, "head", config).weights_sha256 == spec.weights_sha256
    from tasks.modeling.pretrained import weights

    weights._frozen.clear()
    again = frozen_encoder("text", spec.model_copy(update={"encoder": here})).state_dict()
    assert all(np.array_equal(again[name], tensor) for name, tensor in expected.items())


def test_a_damaged_encoder_is_fetched_again_or_refused(make_case: MakeCase, bert: Path, quick: None) -> None:
    case = make_case(encoder=bert)
    case.publish()
    store, uri = case.place
    kept, published = weights_of(store.root)
    flip(kept)
    champion = registry.fetch_champion("tiny", "champion", store, uri)
    assert kept.read_bytes() == published.read_bytes()
    flip(published)
    flip(kept)
    lines: list[str] = []
    with progress.listening_to_lines(lambda line, level: lines.append(line)):
        registry.fetch_champion("tiny", "champion", store, uri)
    (line,) = lines
    assert "the encoder at" in line
    assert f"it is taken from {read_card(store.path(champion.uri)).encoders['text'].encoder} instead" in line
    flip(kept)
    flip(bert / "model.safetensors")
    with pytest.raises(EnvironmentFailed, match=r"tiny version 1: the encoder at .* is damaged .*publish again"):
        registry.fetch_champion("tiny", "champion", store, uri)
    flip(bert / "model.safetensors")
    # Where a model's folder is all there is, as in a release, a damaged encoder is not loaded.
    folder = store.root / "release"
    shutil.copytree(store.path(champion.uri), folder)
    spec = read_card(folder).encoders["text"]
    shutil.copytree(bert, folder / "encoders" / str(spec.weights_sha256))
    flip(folder / "encoders" / str(spec.weights_sha256) / "model.safetensors")
    damaged = spec.model_copy(update={"encoder": packaged_encoder(folder), "settings": spec.settings | {"px": 1}})
    with pytest.raises(EnvironmentFailed, match=r"frozen text encoder .* is damaged .*export the model again"):
        frozen_encoder("text", damaged)


def test_a_damaged_artifact_is_never_promoted(
    make_case: MakeCase, bert: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.publish import publish

    case = make_case(encoder=bert)
    real = publish.log_encoders

    def damaged(*arguments: Any) -> None:
        real(*arguments)
        flip(weights_of(case.request.store.root / "mlartifacts")[0])

    monkeypatch.setattr(publish, "log_encoders", damaged)
    with pytest.raises(EnvironmentFailed, match=r"encoder at .* is damaged"):
        case.publish()
    assert registry.show_model("tiny", *case.place)[0]["status"] == "failed"
    assert registry.fetch_champion("tiny", "champion", *case.place) is None


def test_encoders_stay_behind_where_the_config_says_so(make_case: MakeCase, bert: Path, quick: None) -> None:
    case = make_case(encoder=bert)
    config = case.request.config
    left_out = config.model_copy(update={"publish": config.publish.model_copy(update={"include_encoders": False})})
    release = case.publish(request=type(case.request)(left_out, *case.place))
    store = case.request.store
    assert weights_of(store.root) == []
    assert versions.FROZEN not in client_of(case).get_model_version("tiny", "1").tags
    card = json.loads((store.path(release.uri) / "model.json").read_text())
    assert card["encoders"]["text"]["reads"] == "embedding"
    assert not is_packaged("text", read_card(store.path(release.uri)).encoders["text"], store.path(release.uri))


def test_a_store_of_another_machine_has_the_encoder_once(make_case: MakeCase, bert: Path, quick: None) -> None:
    from tasks.store import Store

    case = make_case(encoder=bert)
    case.publish()
    other = Store(case.request.store.root.parent / "other")
    other.prepare()
    shutil.rmtree(bert)
    champion = registry.fetch_champion("tiny", "champion", other, case.request.tracking_uri)
    assert is_packaged("text", read_card(other.path(champion.uri)).encoders["text"], other.path(champion.uri))
    assert len(weights_of(other.root)) == 1


class Killed(BaseException):
    """Like SIGKILL: nothing of ours catches it."""


@pytest.mark.parametrize("before", [0, 2])
def test_killed_while_encoders_are_logged_and_run_again(
    make_case: MakeCase, bert: Path, quick: None, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    from tasks.publish import logged_files

    case, linked, real = make_case(encoder=bert), [], logged_files.link_file

    def killed(path: Path, target: Path) -> None:
        if len(linked) == before:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"half of ")
            raise Killed
        linked.append(path)
        real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(logged_files, "link_file", killed)
        with pytest.raises(Killed):
            case.publish()
    assert registry.fetch_champion("tiny", "champion", *case.place) is None
    assert case.publish().version == "1"
    kept, published = weights_of(case.request.store.root)
    assert kept.samefile(published)
    assert registry.show_model("tiny", *case.place)[0]["status"] == "verified"
