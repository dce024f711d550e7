"""The stages' signatures: those of the protocols, of the plain functions and of Prefect's tasks are one."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.prefect_stages import prefect_stages
from flows.stages import Monitor, Stages
from tasks.monitor.task import monitor_task

PROTOCOLS: dict[str, type] = typing.get_type_hints(Stages)
ROOT = Path(__file__).parents[2]


def parameters_of(function: Callable[..., Any]) -> tuple[list[tuple[str, object]], list[str], object]:
    """(those without a default, the names of those with one, what is returned), types resolved."""
    hints = typing.get_type_hints(inspect.unwrap(getattr(function, "fn", function)))
    signature = inspect.signature(function).parameters.values()
    required = [(one.name, hints[one.name]) for one in signature if one.default is one.empty and one.name != "self"]
    return required, [one.name for one in signature if one.default is not one.empty], hints["return"]


def test_every_stage_is_a_protocol_that_says_what_it_takes() -> None:
    assert set(PROTOCOLS) == {field.name for field in dataclasses.fields(Stages)}
    for protocol in PROTOCOLS.values():
        assert typing.Protocol in protocol.__mro__
        required, optional, returned = parameters_of(protocol.__call__)  # type: ignore[operator]
        assert required
        parameters = inspect.signature(protocol.__call__).parameters.values()  # type: ignore[operator]
        by_name = {one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}
        assert set(optional) == by_name, "what most callers leave out is named by those who do not"
        kinds = {one.kind for one in parameters if one.name not in by_name}
        assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD}, "no *args and no **kwargs"
        assert Any not in [returned, *(hint for _, hint in required)]


@pytest.mark.parametrize("stages", [Stages(), prefect_stages()], ids=["plain", "Prefect"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_implementation_has_the_protocols_signature(name: str, stages: Stages) -> None:
    expected, _, returned = parameters_of(PROTOCOLS[name].__call__)  # type: ignore[operator]
    required, optional, found = parameters_of(getattr(stages, name))
    actual = dict(expected)
    assert [one for one in required if one[0] in actual] == required == expected[: len(required)]
    assert set(actual) - {name for name, _ in required} <= set(optional)
    assert found == returned


def test_the_monitor_stage_has_the_protocols_signature() -> None:
    expected, _, returned = parameters_of(Monitor.__call__)
    required, _, found = parameters_of(monitor_task)
    assert [name for name, _ in required] == [name for name, _ in expected]
    assert found == returned


WRONG = {
    "checkpoint and features swapped": "stages.evaluate(valid, checkpoint, features, None, config, store)",
    "no store": "stages.gate(report, config)",
    "one argument too many": "stages.ingest(raw, config, store, 3)",
    "another ref": "stages.validate_samples(raw, config, store)",
    "another stage as a task": "Stages(gate=evaluate_task)",
    "another stage under the cache's verification": 'Stages(ingest=_verified(gate_task, "clean", keyed(ingest_key)))',
}
RIGHT = "stages.evaluate(valid, features, checkpoint, None, config, store)"
SNIPPET = """
from data_contracts.refs import CheckpointRef, CleanRef, EvalReport, RawRef, ValidatedRef
from flows.prefect_stages import _verified
from flows.stages import Features, Stages
from tasks.config import RunConfig
from tasks.evaluate.task import evaluate_task
from tasks.gate.task import gate_task
from tasks.ingest.ingest import ingest_key
from tasks.store import Store
from tasks.task_options import keyed


def call(
    stages: Stages, raw: RawRef, clean: CleanRef, valid: ValidatedRef, features: Features, checkpoint: CheckpointRef,
    report: EvalReport, config: RunConfig, store: Store,
) -> None:
"""


@pytest.mark.slow
def test_mypy_refuses_a_wrong_call(tmp_path: Path) -> None:
    path = tmp_path / "snippet.py"
    first = SNIPPET.count("\n") + 1
    path.write_text(SNIPPET + "".join(f"    {line}\n" for line in (RIGHT, *WRONG.values())))
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    refused = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert refused == set(range(first + 1, first + 1 + len(WRONG))), done.stdout
