"""CONTRIBUTING.md's checklists name what there is, and all of it; the other files that a new developer starts from work."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_contracts.modalities import ALL_MODALITIES
from tests.support.paths import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w./-]+/[\w.-]+|\w+\.(?:md|txt|toml))(?::(\w+))?`", PAGE)))
TARGETS = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
NOT_A_TABLE = {
    "tasks/ingest/sources/digits.py",  # a data set with three modalities
    "tasks/media/thumbnails.py",  # forms in which a page shows a medium: a modality names the one that suits it
    "tasks/reporting/thumbnails.py",
}


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def names_in(file: Path) -> set[str]:
    """What a module defines at its top."""
    found = set[str]()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[":".join(named) for named in NAMED])
def test_what_the_page_names_exists(path: str, name: str) -> None:
    assert (ROOT / path).exists(), path
    if name:
        assert name in names_in(ROOT / path), f"{path} has no {name}"


def test_each_checklist_has_steps_with_code_and_a_test() -> None:
    for title in (
        "Add a modality",
        "Add an encoder family",
        "Add a rule to the gate",
        "Add a metric",
        "Add a problem",
        "Add a source of data",
    ):
        steps = section(title)
        assert steps.count("- [ ]") >= 3, title
        assert "`tasks/" in steps, title
        assert "`tests/" in steps, title
    assert len(NAMED) >= 40
    assert len(PAGE.splitlines()) <= 90, "one page"


def tables_of_modalities() -> set[str]:
    """Modules that hold something for each kind: a table, a sequence, or a class with a field for each."""
    found = set()
    for package in ("data_contracts", "tasks", "flows"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                parts: list[Any] = []
                if isinstance(node, ast.Dict):
                    parts = [key.value for key in node.keys if isinstance(key, ast.Constant)]
                elif isinstance(node, ast.Tuple | ast.List):
                    parts = [part.value for part in node.elts if isinstance(part, ast.Constant)]
                elif isinstance(node, ast.ClassDef):
                    fields = [part.target for part in node.body if isinstance(part, ast.AnnAssign)]
                    parts = [field.id for field in fields if isinstance(field, ast.Name)]
                if len(set(ALL_MODALITIES) & set(parts)) >= 3:
                    found.add(str(file.relative_to(ROOT)))
    return found - NOT_A_TABLE


def test_no_table_of_modalities_is_left_out() -> None:
    found = tables_of_modalities()
    assert found == {"data_contracts/refs.py"}, "the names, once; all else is in tasks/modality_specs"


def test_every_make_target_that_is_named_exists() -> None:
    pages = PAGE + (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / ".ci/run").read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^ *)make ((?:[a-z-]+ ?)+)", pages, re.MULTILINE)
    assert {"install", "docs", "lint", "test", "test-slow"} <= {word for line in named for word in line.split()}
    assert {word for line in named for word in line.split()} <= TARGETS


def test_every_hook_calls_a_tool_of_the_project() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local", "another is downloaded"
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert set(hooks) == {"format", "lint", "types", "imports", "reference"}
    for hook in hooks.values():
        assert hook["language"] == "system", "others install packages of their own"
        program, *arguments = hook["entry"].split()
        assert program.startswith(".venv/bin/")
        assert shutil.which(Path(program).name, path=str(Path(sys.executable).parent)), program
        assert all((ROOT / argument).is_file() for argument in arguments if argument.endswith(".py"))
        assert set(hook) <= {"id", "name", "entry", "language", "types", "types_or", "pass_filenames"}


def test_the_devcontainer_makes_the_environment() -> None:
    record = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    make, target = record["postCreateCommand"].split()
    assert (make, target in TARGETS) == ("make", True)
    requires_python = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    (version,) = re.findall(r"/python:(3\.\d+)-", record["image"])
    assert requires_python == f">={version}"
    packages = re.findall(r"missing\+=\((\w+)\)", (ROOT / ".ci/run").read_text(encoding="utf-8"))
    assert packages == ["chromium", "postgresql"]
    assert all(package in record["onCreateCommand"] for package in packages)
