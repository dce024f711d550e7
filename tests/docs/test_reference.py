"""docs/reference/ is what the program says of itself now."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from flows.cli import make_app
from tasks.config import RunConfig, known_keys
from tests.support.markdown import tables_of
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    place = importlib.util.spec_from_file_location("write_reference", ROOT / "docs" / "write_reference.py")
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli.md", "config.md"])
def test_the_committed_page_is_up_to_date(reference: ModuleType, name: str) -> None:
    assert set(reference.PAGES) == {path.name for path in (ROOT / "docs/reference").iterdir()}
    written = (ROOT / "docs/reference" / name).read_text(encoding="utf-8")
    assert written == reference.PAGES[name](), f"docs/reference/{name} is out of date: make docs"


def test_every_key_has_a_row_with_type_and_default() -> None:
    tables = tables_of((ROOT / "docs/reference/config.md").read_text(encoding="utf-8"))
    rows = {row[0]: row for table in tables for row in table[1:]}
    assert set(rows) == set(known_keys(RunConfig))
    assert rows["train.epochs"][2] == str(RunConfig().train.epochs)
    assert all(kind and default and kind != "any" for _, kind, default, _ in rows.values())


def test_every_command_and_option_has_its_place() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    titles = set(re.findall(r"^## crossmodal (.+)$", page, re.MULTILINE))

    def check(command: Any, path: tuple[str, ...]) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            if inner.hidden:
                continue
            if not getattr(inner, "commands", None):
                assert " ".join([*path, name]) in titles
                body = page.partition(f"## crossmodal {' '.join([*path, name])}\n")[2].partition("\n## ")[0]
                shown = [one for one in inner.params if one.name != "help" and not getattr(one, "hidden", False)]
                assert all(f"`{one.opts[0]}`" in body for one in shown if one.param_type_name == "option")
            check(inner, (*path, name))

    check(get_command(make_app()), ())
    assert len(titles) >= 25
