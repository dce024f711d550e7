"""What a run calls, in which order and with whose results, beside the text in task_graph.txt: a change shows in review."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import prefect
import pytest
from pydantic import BaseModel

from data_contracts.refs import (
    ChampionRef,
    CheckpointRef,
    CleanRef,
    EvalReport,
    FeatureRef,
    RawRef,
    ReleaseRef,
    ValidatedRef,
    Verdict,
)
from flows.pipeline import evaluate_champion, run_pipeline
from flows.request import make_request
from flows.run_state import RunState
from flows.stages import Stages
from tasks.config import load_config
from tasks.extract.shards import ShardRef
from tests.support.data import write_learnable

PAGE = Path(__file__).with_name("task_graph.txt")
ROOT = Path(__file__).parents[2]
PRODUCED_BY: dict[type, str] = {
    RawRef: "scan",
    CleanRef: "ingest",
    ValidatedRef: "validate_samples",
    ShardRef: "validate_samples",
    FeatureRef: "extract",
    CheckpointRef: "train",
    ChampionRef: "(registry)",
    EvalReport: "evaluate",
    Verdict: "gate",
    ReleaseRef: "publish",
}
"""Which stage a ref comes from; the champion's comes from the registry."""
PROMOTED = 'gate.rules=[{"metric": "accuracy", "min": 0}]'
RUNS: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "the first run, which is promoted": (run_pipeline, (PROMOTED,)),
    "a run that fails the gate, against the champion": (
        run_pipeline,
        ("seed=1", 'gate.rules=[{"metric": "accuracy", "min": 2}]'),
    ),
    "only the champion is evaluated": (evaluate_champion, (PROMOTED,)),
}


def sources_of(value: Any) -> Iterator[str]:
    """The stages whose results a value holds."""
    if type(value) in PRODUCED_BY:
        yield PRODUCED_BY[type(value)]
    elif isinstance(value, Mapping):
        yield from sources_of(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from sources_of(part)
    elif dataclasses.is_dataclass(value):
        yield from sources_of(tuple(getattr(value, field.name) for field in dataclasses.fields(value)))
    elif isinstance(value, BaseModel):
        yield from sources_of(tuple(getattr(value, name) for name in type(value).model_fields))


def recorded(lines: list[str]) -> Stages:
    """The plain stages, each of which adds a line when it is called."""

    def record(name: str, stage: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            found = dict.fromkeys(sources_of(arguments))
            lines.append(f"{name:<21}{'<- ' + ', '.join(found) if found else ''}".rstrip())
            return stage(*arguments, **named)

        return call

    plain = Stages()
    names = [field.name for field in dataclasses.fields(Stages)]
    return Stages(**{name: record(name, getattr(plain, name)) for name in names})


def prefect_tasks() -> list[str]:
    """Every task of tasks/*/task.py, with what Prefect does when it fails or is called again."""
    lines = []
    for file in sorted(ROOT.glob("tasks/*/task.py")):
        module = importlib.import_module(f"tasks.{file.parent.name}.task")
        for task in filter(lambda one: isinstance(one, prefect.Task), vars(module).values()):
            again = "from its cache key" if task.cache_key_fn is not None else "runs again"
            lines.append(f"{task.name:<21}{task.retries} retries, {again}")
    return lines


def test_the_graph_is_the_one_that_was_reviewed(small_settings: list[str], tmp_path: Path) -> None:
    write_learnable(tmp_path / "data", 60)
    text = ["What `crossmodal retrain` calls, in order, and after the arrow whose results each stage is given."]
    for number, (title, (pipeline, changes)) in enumerate(RUNS.items()):
        lines: list[str] = []
        data = f"data.path={tmp_path}/data/manifest.csv"
        only_text = ["encoders.image=off", "encoders.audio=off", "train.epochs=2"]  # seconds less, and the same graph
        config = load_config({}, [*small_settings[1::2], data, "name=graph", *only_text, *changes])
        request = make_request(config, str(tmp_path / "store"), None, f"run-{number}")
        run_state = RunState()
        pipeline(request, recorded(lines), run_state)
        assert run_state.decision is not None
        text += ["", title, *(f"  {line}" for line in lines)]
    text += ["", "Prefect's tasks", *(f"  {line}" for line in prefect_tasks())]
    found = "\n".join(text) + "\n"
    assert found == PAGE.read_text(encoding="utf-8"), (
        f"another graph; if it is meant, put this into {PAGE.name}:\n{found}"
    )


def test_every_stage_has_its_task() -> None:
    named = {line.split()[0].replace("-", "_") for line in prefect_tasks()}
    stages = {field.name for field in dataclasses.fields(Stages)}
    assert stages <= named


def test_a_result_is_found_wherever_it_is_held() -> None:
    raw = RawRef.model_construct()
    assert list(sources_of(({"a": [raw]}, (1, "x"), dataclasses.make_dataclass("Held", ["one"])(raw)))) == [
        "scan",
        "scan",
    ]


@pytest.mark.parametrize("stage", ["train", "gate"])
def test_the_text_names_what_each_stage_is_given(stage: str) -> None:
    first = PAGE.read_text(encoding="utf-8").partition("the first run, which is promoted\n")[2].partition("\n\n")[0]
    assert any(line.split()[0] == stage and "<-" in line for line in first.splitlines())
