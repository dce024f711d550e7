"""What a run has come to know, and how long its stages took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from pydantic import Field

from data_contracts.refs import Decision, Ref, Split
from data_contracts.run_refs import RunRefs
from data_contracts.run_summary import ExtractedOn, InferenceSummary
from tasks import run_log
from tasks.validate.outcome import TableCheck

Clock = Callable[[], float]


class RunState(RunRefs, frozen=False):
    """What a run has come to know, filled by its stages; a failed run leaves the later fields empty."""

    splits: dict[Split, int] = Field(default_factory=dict)
    docs: dict[str, str] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    """Broken expectations of severity warning on other tables than the samples, whose own are in `valid`."""
    test_uses: float | None = None
    """How many verdicts on this model its test rows had decided before."""
    extracted_on: ExtractedOn | None = None
    """Where features were computed last; None: in this process, or none were."""
    inference: InferenceSummary | None = None
    """Inference cost, where it was measured."""
    decision: Decision | None = None
    reason: str | None = None
    before: frozenset[str] = frozenset()
    """Store paths of what was there when the run began."""
    seconds: dict[str, float] = Field(default_factory=dict)
    clock: Clock = time.perf_counter
    keep: Callable[[RunRefs], None] = lambda refs: None
    """Called after every stage, so that a run that is killed leaves what it had."""

    def refs(self) -> RunRefs:
        """What the stages have handed on."""
        return RunRefs(**{name: getattr(self, name) for name in RunRefs.model_fields})

    def note(self, table: str, check: TableCheck) -> None:
        """Keeps where a table's Data Docs are, and what they warn of."""
        self.docs[table] = check["docs"]
        self.warnings += check["warnings"]
        run_log.log_table_warnings(table, check["warnings"])

    def reused(self, ref: Ref | None) -> bool:
        """Whether the store held a stage's result before this run."""
        return ref is not None and ref.uri in self.before

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the block's wall time to the stage's seconds."""
        start = self.clock()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + self.clock() - start
            self.keep(self.refs())
