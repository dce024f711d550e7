"""A champion that cannot be compared with is reported before anything is extracted or trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_contracts.refs import ChampionRef
from flows import pipeline
from flows.pipeline import run_pipeline
from flows.request import Request, make_request
from flows.run_state import RunState
from flows.stages import Stages
from tasks.config import RunConfig, load_config
from tasks.errors import DataError, EnvironmentFailed, UsageError
from tests.support.cards import card_of
from tests.support.data import TINY

FROZEN = {"text": {"encoder": "hf:/gone/bert", "reads": "embedding", "width": 32, "weights_sha256": "a" * 64}}
NUMBERS = {"targets": [{"name": "label", "problem": "regression", "labels": []}], "labels": []}


class Reached(Exception):
    """The run came to where work is done."""


def reached(*_: Any) -> Any:
    raise Reached


@pytest.fixture
def attempt(make_data: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunState]:
    """attempt(**card) runs up to extraction against a champion with that card; attempt() without one."""
    overrides = [*TINY, "runtime.workers=1", "split.min_test_per_class=0", "name=small"]
    config: RunConfig = load_config({}, [*overrides, f"data.path={make_data(60)}"])
    request: Request = make_request(config, str(tmp_path / "store"), None, "run-1")

    def attempt(**card: Any) -> RunState:
        params = config.subset("media", "extract", "encoders", "fusion")
        record = card_of(("a", "b"), ("text",), config=params) | card
        folder = request.store.path("champions/k")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.json").write_text(json.dumps(record))
        ref = ChampionRef(uri="champions/k", sha256="0" * 64, rows=0, name="small", version="3", model_sha256="1" * 64)
        monkeypatch.setattr(pipeline, "fetch_champion", lambda *_: ref)
        run_state = RunState()
        run_pipeline(request, Stages(extract=reached, train=reached), run_state)
        return run_state

    return attempt


@pytest.mark.parametrize(
    ("card", "error", "message"),
    [
        (NUMBERS, UsageError, r"version 3: the champion is of data\.problem=regression"),
        ({"labels": ["x", "y"]}, UsageError, r"the champion knows 'x', 'y', .* none in common; .*--set name="),
        (
            {"encoders": FROZEN},
            EnvironmentFailed,
            r"version 3: the champion cannot be compared with: .*hf:/gone/bert.*--set encoders\.text=.*--set name=",
        ),
    ],
)
def test_it_is_told_early(
    attempt: Callable[..., RunState], card: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        attempt(**card)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage", [{"config": {}}, {"modalities": ["audio"]}, {"labels": None}, {"encoders": {"text": {}}}]
)
def test_a_damaged_card_is_one_line(attempt: Callable[..., RunState], damage: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"^model .*model\.json: damaged \(.+\); train again$") as caught:
        attempt(**damage)
    assert "\n" not in str(caught.value)


def test_a_champion_that_can_be_compared_with_stops_nothing(attempt: Callable[..., RunState]) -> None:
    with pytest.raises(Reached):
        attempt()
    with pytest.raises(Reached):
        attempt(labels=["b", "new"])
