"""The page of one refused row: what was wrong, its cells, what its media look like."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from data_contracts.row_examples import QuarantinedRow
from tasks.pages import page_template
from tasks.reporting.thumbnails import Thumbnails
from tasks.store import replace_file


class RefusedMedium(BaseModel, frozen=True):
    """One of its media."""

    name: str
    how: str
    """Where the picture comes from, or why there is none."""
    seen: Thumbnails | None = None
    """What the report shows of a medium."""
    source: str | None = None
    """A data URI."""


class RefusedRow(BaseModel, frozen=True):
    """A row that was not used."""

    run: str
    row: int
    """Its 1-based position in the manifest."""
    facts: QuarantinedRow
    cells: dict[str, object] = {}
    """As the manifest holds them."""
    read: dict[str, object] = {}
    """What was made of them."""
    media: list[RefusedMedium] = []


def write_refused(path: Path, row: RefusedRow) -> None:
    """`path` holds the page, in one step."""
    template = page_template(Path(__file__).with_name("row_page.html.j2"))
    replace_file(path, template.render(row=row).encode())
