"""Two numbers that only fall: how many dicts of anything there are, and how long a function is."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.imports import ROOT

ANY_DICTS = 43
"""Lines with `dict[str, Any]`: arguments of libraries, JSON of no fixed keys, a row of somebody's table. Lower it with them; a
record with known keys is a TypedDict, a dataclass or a model."""
LONGEST = 60
"""Lines of a function: one screen."""


def _sources() -> list[Path]:
    return [path for folder in ("data_contracts", "tasks", "flows") for path in sorted((ROOT / folder).rglob("*.py"))]


def test_a_record_has_a_type_of_its_own() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in _sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if "dict[str, Any]" in line
    ]
    assert len(found) == ANY_DICTS, found


def test_a_function_fits_on_one_screen() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in _sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
        if node.end_lineno - node.lineno >= LONGEST
    ]
    assert not found, found
