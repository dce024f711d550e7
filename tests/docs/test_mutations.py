"""What make mutants names is there: a module that was moved is not silently left out."""

from __future__ import annotations

from pathlib import Path

from tests.support.mutants import MODULES

ROOT = Path(__file__).resolve().parents[2]


def test_modules_and_their_tests_are_there() -> None:
    paths = [*MODULES, *(test.partition("::")[0] for tests in MODULES.values() for test in tests)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_docs_list_every_module() -> None:
    text = (ROOT / "docs/mutations.md").read_text(encoding="utf-8")
    assert [module for module in MODULES if module not in text] == []
