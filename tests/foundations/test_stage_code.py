"""No module of ours is forgotten: what a stage imports is on its list of what computes, or among what computes nothing."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tasks.fingerprint import code_fingerprint, find_modules
from tasks.modalities import MODALITIES
from tasks.stage_code import STAGES
from tasks.unkeyed_code import COMPUTES_NOTHING
from tests.support.imports import ROOT, all_imports


def covers(patterns: tuple[str, ...], module: str) -> bool:
    return any(fnmatchcase(module, pattern) or module == pattern.removesuffix(".*") for pattern in patterns)


def missing(modules: dict[str, Path], *lists: tuple[str, ...]) -> list[str]:
    """Those on none of the lists; a package whose __init__.py is but a docstring needs no place on one."""
    return sorted(
        name for name, path in modules.items() if not any(covers(one, name) for one in lists) and not _only_says(path)
    )


def _only_says(path: Path) -> bool:
    body = ast.parse(path.read_text()).body
    return path.name == "__init__.py" and all(isinstance(node, ast.Expr) for node in body)


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_imports_is_on_a_list(stage: str) -> None:
    code = STAGES[stage]
    found = missing(all_imports(code.root), code.modules, code.unused, COMPUTES_NOTHING)
    assert not found, (
        f"{', '.join(found)}: what computes results of {stage} is named in STAGES[{stage!r}].modules in tasks/stage_code.py, "
        "the rest in its `unused`, or in COMPUTES_NOTHING"
    )


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_module_that_a_decoder_imports_is_on_a_list(modality: str) -> None:
    named = MODALITIES[modality].media_modules  # type: ignore[index]
    assert missing(all_imports(*named), named, STAGES["media"].modules, COMPUTES_NOTHING) == []


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_module_that_a_modality_computes_with_is_on_a_list(modality: str) -> None:
    spec = MODALITIES[modality]  # type: ignore[index]
    for named, stage in (
        (spec.network_modules, "train"),
        (spec.tiny_modules, "tiny_inputs"),
        (spec.signature_modules, "near_duplicates"),
    ):
        code = STAGES[stage]
        assert missing(all_imports(*named), named, code.modules, code.unused, COMPUTES_NOTHING) == []


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_list_names_exists_once_and_is_imported(stage: str) -> None:
    code = STAGES[stage]
    imported = all_imports(code.root)
    for pattern in (*code.modules, *code.unused):
        assert any(covers((pattern,), name) for name in imported), f"{pattern}: not imported by {code.root}"
    assert all(path.is_file() for _, path in find_modules(code.modules))
    exact = [name for name in code.modules if not name.endswith(".*")]
    both = [name for name in exact if covers(code.unused + COMPUTES_NOTHING, name)]
    assert both == []
    assert len(set(code.modules)) == len(code.modules)


def test_what_computes_nothing_exists() -> None:
    for name in COMPUTES_NOTHING:
        place = ROOT.joinpath(*name.removesuffix(".*").split("."))
        assert place.is_dir() or place.with_suffix(".py").is_file(), name


def test_every_key_takes_the_fingerprint_of_a_known_stage() -> None:
    """And every stage is taken by a key: the names in all calls of code_fingerprint are those of STAGES."""
    named: set[str] = set()
    for path in (ROOT / "tasks").rglob("*.py"):
        tree = ast.parse(path.read_text())
        if any(isinstance(node, ast.ImportFrom) and node.module == "tasks.fingerprint" for node in ast.walk(tree)):
            texts = {
                node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
            assert texts & STAGES.keys(), path
            named |= texts & STAGES.keys()
    assert named == STAGES.keys()


def test_each_stage_has_a_fingerprint_of_its_own() -> None:
    assert len({code_fingerprint(stage) for stage in STAGES}) == len(STAGES)
