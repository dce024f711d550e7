"""The error that costs a row and not the run."""

from __future__ import annotations

from tasks.redaction import redact


class Refused(Exception):
    """A cell that cannot be used; `reason` is the code that lands in quarantine."""

    def __init__(self, reason: str, detail: str) -> None:
        detail = redact(detail)
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
