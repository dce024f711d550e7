"""Data Docs: what became of each expectation, as pages that load nothing from elsewhere and run no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.pages import page_template
from tasks.validate.results import Outcome, SuiteResult

_TABLE = "The whole table"


def write_docs(folder: Path, title: str, results: Sequence[SuiteResult], notes: Sequence[str] = ()) -> None:
    """Writes index.html, which lists every expectation, and one page per suite with its values and counts, by column."""
    template = page_template(Path(__file__).with_name("docs.html.j2"))
    folder.mkdir(parents=True)
    index = template.render(title=title, notes=notes, results=results, columns={})
    (folder / "index.html").write_text(index, encoding="utf-8")
    for result in results:
        page = template.render(title=result.name, notes=(), results=(), columns=_by_column(result.outcomes))
        (folder / f"{result.name}.html").write_text(page, encoding="utf-8")


def _by_column(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """The outcomes of each column, in the order of their first; those about the whole table come before."""
    columns: dict[str, list[Outcome]] = {_TABLE: []}
    for outcome in outcomes:
        columns.setdefault(_TABLE if outcome.column is None else outcome.column, []).append(outcome)
    return {column: found for column, found in columns.items() if found}
