"""The stages' signatures: those of the protocols, of the plain functions and of Prefect's tasks are one.

That a wrong call of them is refused, mypy says in `make lint`: tests/support/stage_calls.py.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any

import pytest

from flows.prefect_stages import prefect_stages
from flows.stages import Monitor, Stages
from tasks.monitor.task import monitor_task

PROTOCOLS: dict[str, type] = typing.get_type_hints(Stages)


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
