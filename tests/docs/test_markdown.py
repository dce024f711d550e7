"""Every Markdown file of the repository: its tables are tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.markdown import tables_of
from tests.support.paths import ROOT

FILES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_line_of_a_table_is_a_row_of_it(file: Path) -> None:
    for head, *rows in tables_of(file.read_text(encoding="utf-8")):
        assert rows, f"{file.name}: {head} has no rows"


@pytest.mark.parametrize(
    "broken",
    [
        "| a | b |\n\n|---|---|\n\n| 1 | 2 |\n",
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n| 3 | 4 |\n",
        "| a | b |\n|---|---|\n| 1 | 2 | 3 |\n",
        "| a | b |\n|---|---|---|\n| 1 | 2 |\n",
        "| a | b |\n|---|---|\n| `x|y` | 2 |\n",
    ],
)
def test_a_broken_table_is_noticed(broken: str) -> None:
    with pytest.raises(AssertionError, match=r"^rows (outside|of other)"):
        tables_of(broken)


def test_the_cells_of_a_table_are_what_a_reader_sees() -> None:
    text = "# x\n\n| a | b |\n|:-:|---|\n| *1* \\| `2` | [c](d) |\n\n```\n| no table |\n```\n\n    | nor this\n"
    assert tables_of(text) == [[["a", "b"], ["1 | 2", "c"]]]
