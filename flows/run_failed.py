"""How a run ends that a stage refused. Loads nothing that a run needs."""

from __future__ import annotations

from data_contracts.run_summary import RunSummary
from tasks.errors import CrossmodalError


class RunFailed(Exception):
    """A run that ended with an error of ours; carries the summary that was written."""

    def __init__(self, error: CrossmodalError, summary: RunSummary) -> None:
        super().__init__(str(error))
        self.error = error
        self.summary = summary
