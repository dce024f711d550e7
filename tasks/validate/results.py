"""What became of a suite of expectations, as plain values: what runs suites, renders them and decides by them share this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data_contracts.expectations import Severity


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation."""

    suite: str
    name: str
    expectation: str
    """Great Expectations' name of it."""
    column: str | None
    severity: Severity
    success: bool
    unexpected: int | None
    """Rows that break it; None where it is about the whole table."""
    rows: int | None
    examples: tuple[str, ...]
    """Up to five ids of samples that break it."""
    counts: tuple[tuple[Any, int], ...]
    """The values that break it, of the first twenty, and how often each is among them."""
    observed: Any
    states: str
    advice: str

    def describe(self) -> str:
        """What is broken, by how much, where, and what to do: one line."""
        if self.unexpected is None:
            extent = f"observed {self.observed}"
        else:
            extent = f"broken by {self.unexpected} of {self.rows} rows"
        named = f", for example {', '.join(self.examples)}" if self.examples else ""
        return f"{self.suite}: expectation {self.name} ({self.states}) {extent}{named}; {self.advice}"


@dataclass(frozen=True)
class SuiteResult:
    """The outcomes of one suite, in the order in which it was written."""

    name: str
    outcomes: tuple[Outcome, ...]

    def broken(self, severity: Severity) -> list[Outcome]:
        """The outcomes of that severity which are not met."""
        return [outcome for outcome in self.outcomes if not outcome.success and outcome.severity == severity]
