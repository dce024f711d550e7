"""What the outcomes of suites add up to: a stored validation with its Data Docs, or a refusal that says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TypedDict, cast

from tasks.errors import DataError
from tasks.redaction import redact_json
from tasks.store import Draft, Store, canonical_json, write_text
from tasks.validate.data_docs import write_docs
from tasks.validate.results import SuiteResult

KIND = "validations"
REFUSED = "refusals"
"""What did not pass: result.json and docs/ only, so that one can look at what is wrong."""


class TableCheck(TypedDict):
    """What checking one table hands back; JSON-able."""

    uri: str
    docs: str
    """Store path of the Data Docs folder (index.html)."""
    warnings: list[str]


def check_table(key: str, title: str, run: Callable[[], SuiteResult], store: Store) -> TableCheck:
    """The outcome of a suite over one stored table, from the store where it was checked before, without Great Expectations.

    Raises DataError where a critical expectation is broken.
    """
    found = store.find(KIND, key)
    if found is not None:
        return cast(TableCheck, found.ref)
    with store.create(KIND, key) as draft:
        result = run()
        conclude(draft, title, [result], (), store, key)
        check = TableCheck(uri=f"{KIND}/{key}", docs=f"{KIND}/{key}/docs", warnings=warnings_of([result]))
        draft.ref = dict(check)
    return check


def warnings_of(results: Sequence[SuiteResult]) -> list[str]:
    """One line per broken expectation of severity warning."""
    return [outcome.describe() for result in results for outcome in result.broken("warning")]


def conclude(
    draft: Draft, title: str, results: Sequence[SuiteResult], notes: Sequence[str], store: Store, key: str
) -> None:
    """Writes result.json and docs/ into the draft; raises DataError where a critical expectation is broken."""
    broken = [outcome for result in results for outcome in result.broken("critical")]
    if not broken:
        _write(draft, title, results, notes)
        return
    with store.create(REFUSED, key) as refused:
        _write(refused, f"{title}: refused", results, notes)
    more = f" ({len(broken) - 1} more broken)" if len(broken) > 1 else ""
    raise DataError(f"{broken[0].describe()}{more}; see {store.path(f'{REFUSED}/{key}/docs/index.html')}")


def _write(draft: Draft, title: str, results: Sequence[SuiteResult], notes: Sequence[str]) -> None:
    outcomes = [asdict(outcome) for result in results for outcome in result.outcomes]
    write_text(
        draft.path / "result.json", canonical_json(redact_json({"expectations": outcomes, "notes": list(notes)}))
    )
    write_docs(draft.path / "docs", title, results, notes)
