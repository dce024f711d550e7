"""The smallest change that the test rows of a model can show: what `crossmodal gate power` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from data_contracts.refs import EvalReport, Pairing
from flows.history import list_runs, run_refs
from flows.request import Request
from tasks.display_table import DisplayTable
from tasks.errors import CrossmodalError, UsageError
from tasks.gate.comparison import champion_of
from tasks.gate.power import ModePower, assume_pairing, measure_power
from tasks.problems.registry import figure_text, get_metric, get_problem

AGREEMENT = 0.9
"""Share of the rows to which two models give the same answer, where it is not known."""


@dataclass(frozen=True)
class Power:
    """Per mode, and what it rests on."""

    model: str
    metric: str
    rows: int
    clusters: int | None
    agreement: float | None
    """None: as it was measured with numbers, or by clusters."""
    run: str | None
    """Whose evaluation it rests on; None where agreement and rows are assumed."""
    modes: tuple[ModePower, ...]

    def describe(self) -> str:
        """What it rests on, in one line."""
        where = f"as in run {self.run}" if self.run else "assumed"
        agree = (
            "" if self.agreement is None else f", on {self.agreement:.1%} of which both models answer alike ({where})"
        )
        clusters = "" if self.clusters is None else f" in {self.clusters:,} clusters"
        known = agree or f" ({where})"
        return f"{self.model}: {self.metric} on {self.rows:,} test rows{clusters}{known}"

    def table(self) -> DisplayTable:
        """One line a mode."""
        return DisplayTable.of(
            {
                "gate.mode": found.mode,
                "promoted in 80 % of the runs": _change(found, self.metric),
                "a model as good is promoted in": f"{found.equal_promoted:.0%}",
                "rows that are enough": None if found.enough_rows is None else f"{found.enough_rows:,}",
            }
            for found in self.modes
        )

    def as_json(self) -> Mapping[str, object]:
        """For scripts."""
        return asdict(self)


def _change(found: ModePower, metric: str) -> str | None:
    if found.smallest_change is None:
        return None
    return f"from {figure_text(found.smallest_change, metric, sign=True)} on"


def find_power(request: Request, rows: int | None = None, agreement: float | None = None) -> Power:
    """By the last evaluation of the model against a champion; else of its last evaluation's rows, or of `rows`, and of an
    agreement that is assumed. UsageError where nothing is known."""
    gate = request.config.gate
    evaluated = _evaluations(request)
    report = next(iter(evaluated.values()), None)
    asked = request.config.data.problem
    problem = get_problem(report.problem if report else "multiclass" if asked == "auto" else asked)
    metric = problem.gate_metric if gate.metric == "auto" else gate.metric
    if rows is None and agreement is None:
        for run, one in evaluated.items():
            pairing = champion_of(one)
            if pairing is not None and metric in pairing.differences:
                return _power(request, metric, pairing, run)
    if get_metric(metric).unit != "share":
        raise UsageError(
            f"gate.metric={metric}: how far two models differ is known only once a run compared two of them"
        )
    known = rows or (report.rows if report else None)
    if known is None:
        raise UsageError(
            f"model {request.name!r}: no run of it has been evaluated yet; say how many test rows there will be with --rows"
        )
    assumed = assume_pairing(known, AGREEMENT if agreement is None else agreement, metric, gate)
    return _power(request, metric, assumed, None)


def _power(request: Request, metric: str, pairing: Pairing, run: str | None) -> Power:
    by_rows = pairing.differing is not None and pairing.clusters is None and get_metric(metric).unit == "share"
    return Power(
        model=request.name,
        metric=metric,
        rows=pairing.rows,
        clusters=pairing.clusters,
        agreement=1 - (pairing.differing or 0) / pairing.rows if by_rows else None,
        run=run,
        modes=tuple(measure_power(pairing, metric, request.config.gate)),
    )


def _evaluations(request: Request) -> dict[str, EvalReport]:
    """Of the model's runs that came to one, newest first."""
    found = {}
    for record in list_runs(request.store.root, model=request.name):
        try:
            report = run_refs(request.store, record.run).report
        except (CrossmodalError, ValueError):  # what a killed run or another release left
            continue
        if report is not None:
            found[record.run] = report
    return found
