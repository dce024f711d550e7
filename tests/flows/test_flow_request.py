"""What a run of a deployment may take from its worker, and what not: relative places are nobody's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import get_args

import pytest

from flows import flow_request
from flows.flow_request import full_path, settings_of, store_of_run
from flows.request import OF_PROFILE, PresetChoice
from tasks.config import load_config
from tasks.encoder_presets import PRESETS
from tasks.errors import UsageError


@pytest.fixture(params=["a deployment", None])
def deployed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(flow_request, "deployment", SimpleNamespace(id=request.param))
    return request.param is not None


@pytest.mark.parametrize(
    ("variable", "parameter", "place"),
    [
        (None, "", ".crossmodal"),
        (None, "stores/one", "stores/one"),
        ("kept", "", "kept"),
        (None, "/srv/store", "/srv/store"),
        ("/srv/store", "", "/srv/store"),
        ("/srv/store", "here", "here"),
    ],
)
def test_a_deployment_needs_the_full_path_of_a_store(
    deployed: bool, monkeypatch: pytest.MonkeyPatch, variable: str | None, parameter: str, place: str
) -> None:
    monkeypatch.delenv("CROSSMODAL_STORE", raising=False)
    if variable is not None:
        monkeypatch.setenv("CROSSMODAL_STORE", variable)
    if deployed and not place.startswith("/"):
        with pytest.raises(UsageError, match=rf"^store '{place}': give its full path, .* CROSSMODAL_STORE"):
            store_of_run(parameter)
    else:
        assert store_of_run(parameter) == place


def test_a_deployment_needs_the_full_path_of_data(deployed: bool) -> None:
    for place in ("/data/manifest.csv", "s3://bucket/manifest.csv", ""):
        assert full_path(place) == place
    if deployed:
        with pytest.raises(UsageError, match=r"^data 'photos/manifest\.csv': give its full path"):
            full_path("photos/manifest.csv")
    else:
        assert full_path("photos/manifest.csv") == "photos/manifest.csv"


def test_the_form_s_fields_are_overrides_and_what_is_typed_wins() -> None:
    assert settings_of(OF_PROFILE, ["seed=2"], 0) == ["seed=2"]
    settings = settings_of("fast", ["encoders.text=tiny", "train.epochs=9"], 3)
    config = load_config({"encoders": {"preset": "best", "audio": "off"}}, settings)
    assert config.encoders.image == "torchvision:mobilenet_v2"
    assert (config.encoders.text, config.encoders.audio, config.train.epochs) == ("tiny", "off", 3)


def test_the_form_offers_every_preset() -> None:
    assert get_args(PresetChoice) == (OF_PROFILE, *PRESETS)
