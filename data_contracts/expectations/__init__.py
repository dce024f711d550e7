"""Pure builders of Great Expectations expectations, one file per table. Great Expectations is imported when they run."""

from __future__ import annotations

from typing import Any, Literal

Severity = Literal["critical", "warning"]


def about(name: str, states: str, advice: str, severity: Severity = "critical") -> dict[str, Any]:
    """The arguments that every expectation of ours carries: its name, what it states, and what to do when it is broken.

    A broken `critical` expectation refuses the table; a broken `warning` is reported.
    """
    return {
        "description": f"{name}: {states}",
        "meta": {"name": name, "states": states, "advice": advice},
        "severity": severity,
    }


def gallery() -> Any:
    """Great Expectations' classes of expectations; the import takes seconds, so it happens here and not at the top."""
    import great_expectations.expectations

    return great_expectations.expectations
