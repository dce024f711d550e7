"""The contracts are a leaf: they import nothing of ours, and Great Expectations only when an expectation is built."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import data_contracts

ROOT = Path(data_contracts.__file__).parent.parent
PRODUCT = [
    path for folder in ("data_contracts", "tasks", "flows", "deployments") for path in (ROOT / folder).rglob("*.py")
]


def test_expectations_are_imported_without_great_expectations_pandas_or_tasks() -> None:
    script = (
        "import sys, data_contracts.expectations.samples, data_contracts.expectations.features\n"
        "print([name for name in ('great_expectations', 'pandas', 'tasks') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def makes_validated_ref(tree: ast.AST) -> bool:
    """Whether the code makes a ValidatedRef, other than by reading back a stored one (`model_validate(found.ref)`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Attribute) and called.attr.startswith(("model_validate", "model_construct")):
                if called.attr == "model_validate" and ast.unparse(node.args[0]).endswith(".ref"):
                    continue
                called = called.value
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
            if name == "ValidatedRef":
                return True
    return False


@pytest.mark.parametrize(
    "code",
    [
        "ValidatedRef(uri='')",
        "refs.ValidatedRef()",
        "ValidatedRef.model_validate({})",
        "ValidatedRef.model_construct()",
        "refs.ValidatedRef.model_validate_json(text)",
    ],
)
def test_the_search_sees_every_way_of_making_one(code: str) -> None:
    assert makes_validated_ref(ast.parse(code))


@pytest.mark.parametrize(
    "code", ["def stage(valid: ValidatedRef) -> None: read(valid.uri)", "ValidatedRef.model_validate(found.ref)"]
)
def test_the_search_lets_readers_read(code: str) -> None:
    assert not makes_validated_ref(ast.parse(code))


def test_only_validate_makes_a_validated_ref() -> None:
    makers = {path.relative_to(ROOT).as_posix() for path in PRODUCT if makes_validated_ref(ast.parse(path.read_text()))}
    assert makers == {"tasks/validate/validate.py"}
