"""How often the gate promotes, rejects or leaves open, and where a year of weekly retrains ends, by simulation.

    python -m benchmarks.gate [--repeats 400] [--chains 100] [--resamples 500] [--pictures docs]

Two classes of equal size; the champion is right on 85 % of the rows, at the start of a year on 90 %. Decisions and intervals
are the product's own: scorers, tasks.evaluate.losses.find_losses, the metrics, `percentiles` and `widen`, and
tasks.gate.comparison.compare_models. The one shortcut: rows that are alike are drawn as counts (a multinomial), which gives the
same resamples as drawing rows, some hundred times faster. "Agreement" is the share of rows on which both models give the same
answer; with two classes the others are those that one of them has right. A change cannot be larger than that share: such cells
are left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import EvalReport, Pairing
from tasks.config import GateConfig
from tasks.evaluate.comparison import against
from tasks.evaluate.losses import find_losses
from tasks.gate.comparison import compare_models, next_anchor
from tasks.gate.gate import decide
from tasks.problems.metric import Floats, Indices
from tasks.problems.multiclass_metrics import ClassCounts, ClassScorer
from tasks.problems.registry import get_metric
from tasks.problems.scoring import percentiles, widen

METRIC = "macro_f1"
CHAMPION = 0.85
START = 0.9
ROWS = (50, 200, 1_000, 10_000)
AGREEMENTS = (0.80, 0.85, 0.90, 0.95, 0.98)
CHANGES = (-3, -2, -1, 0, 1, 2, 3)
WEEKS = 52
SHA = "0" * 64
MODES = {"better": GateConfig(mode="better"), "not-worse": GateConfig()}
GATES = {**MODES, "not-worse, gate.anchor = off": GateConfig(anchor="off")}
Rng = np.random.Generator
Answers = NDArray[np.bool_]
"""(N,) whether a model is right."""


def pair_of(ours: Answers, theirs: Answers, truth: Indices) -> tuple[ClassScorer, ClassScorer]:
    """The scorers of two models that are right on these rows."""
    sure = np.full((len(truth), 2), 0.5)
    return ClassScorer(sure, truth, np.where(ours, truth, 1 - truth)), ClassScorer(
        sure, truth, np.where(theirs, truth, 1 - truth)
    )


def counts_of(cells: NDArray[np.int64], model: int) -> ClassCounts:
    """What the metrics are computed from, of counts (R, 8) by class, candidate right and champion right."""
    table = cells.reshape(-1, 2, 2, 2)  # class, candidate, champion
    right = table[:, :, 1, :].sum(axis=2) if model == 0 else table[:, :, :, 1].sum(axis=2)
    support = table.sum(axis=(2, 3))
    answers = right + (support - right)[:, ::-1]
    return ClassCounts(int(cells[0].sum()), right, support, answers, np.zeros((len(cells), 1)))


def compare_answers(
    ours: Answers, theirs: Answers, truth: Indices, resamples: int, rng: Rng, confidence: float = 0.95
) -> Pairing:
    """What tasks.evaluate.comparison.compare finds, with intervals of resampled counts."""
    compute = get_metric(METRIC).compute
    assert compute is not None
    cells = np.bincount(truth * 4 + ours * 2 + theirs, minlength=8)
    value, other = (float(compute(counts_of(cells[None], model))[0]) for model in (0, 1))
    drawn = rng.multinomial(len(truth), cells / len(truth), size=resamples)
    draws = compute(counts_of(drawn, 0)) - compute(counts_of(drawn, 1))
    pair = pair_of(ours, theirs, truth)
    differing = pair[0].count_differing(pair[1])
    bounds = percentiles(draws, confidence, value - other)
    low, high = widen(bounds, value - other, confidence, differing=differing)
    return Pairing(
        version="1",
        model_sha256=SHA,
        rows=len(truth),
        metrics={METRIC: other},
        differences={METRIC: (value - other, low, high)},
        differing=differing,
        effective_rows=pair[0].effective_rows(),
    )


def report_of(
    ours: Answers, theirs: Answers, truth: Indices, resamples: int, rng: Rng, anchor: Answers | None = None
) -> EvalReport:
    """The report of a candidate, without what the gate does not read."""
    pair = pair_of(ours, theirs, truth)
    present = np.full(len(truth), "image")
    found = compare_answers(ours, theirs, truth, resamples, rng)
    best = None if anchor is None else compare_answers(ours, anchor, truth, resamples, rng)
    return EvalReport.model_construct(
        problem="multiclass",
        rows=len(truth),
        metrics={"test": {METRIC: found.metrics[METRIC] + found.differences[METRIC][0]}},  # type: ignore[operator]
        losses=find_losses(pair, ("0", "1"), present, None, GateConfig().min_slice_rows),
        anchor=None if best is None else best.model_copy(update={"version": "0"}),
        **against(found),
    )


def outcome_of(report: EvalReport, gate: GateConfig) -> str:
    """promote, reject or inconclusive, of the lines that compare models."""
    return decide(compare_models(report, gate))


# -- one decision ---


def draw_pair(rows: int, agreement: float, change: float, rng: Rng) -> tuple[Answers, Answers, Indices]:
    """Candidate and champion on new rows: `change` in points."""
    apart, gain = 1 - agreement, change / 100
    only_ours, only_theirs = (apart + gain) / 2, (apart - gain) / 2
    both = CHAMPION - only_theirs
    cell = rng.choice(4, rows, p=[1 - both - apart, only_theirs, only_ours, both])
    return cell >= 2, cell % 2 == 1, rng.permutation(np.arange(rows) % 2)


@dataclass(frozen=True)
class Cell:
    """One line of the table."""

    rows: int
    agreement: float
    change: float
    shares: dict[str, Counter[str]]
    """Mode to the number of each outcome."""

    def share(self, mode: str, outcome: str = "promote") -> float:
        """Of all tries."""
        return self.shares[mode][outcome] / self.shares[mode].total()


def is_possible(agreement: float, change: float) -> bool:
    """Whether models can agree so often and differ so much."""
    return abs(change) / 100 <= 1 - agreement + 1e-9


def simulate(
    rows: int, agreement: float, change: float, repeats: int, resamples: int, modes: dict[str, GateConfig]
) -> Cell:
    """One cell of the table."""
    rng = np.random.default_rng([rows, round(100 * agreement), round(100 * (change + 50))])
    shares: dict[str, Counter[str]] = {mode: Counter() for mode in modes}
    for _ in range(repeats):
        report = report_of(*draw_pair(rows, agreement, change, rng), resamples, rng)
        for mode, gate in modes.items():
            shares[mode][outcome_of(report, gate)] += 1
    return Cell(rows, agreement, change, shares)


def table(repeats: int, resamples: int) -> Iterator[Cell]:
    """Every possible cell."""
    for rows in ROWS:
        for agreement in AGREEMENTS:
            for change in CHANGES:
                if is_possible(agreement, change):
                    yield simulate(rows, agreement, change, repeats, resamples, MODES)


# -- a year ---

Kind = Literal["equal", "decaying", "continued"]
KINDS: tuple[Kind, ...] = ("equal", "decaying", "continued")
DECAY = 0.1
"""Points a week."""


@dataclass
class Model:
    """A model is right on a row where z * sqrt(shared) + own * sqrt(1 - shared) lies below its quality's quantile: `z` is the
    row's difficulty, the same for all models, `own` (N,) the model's luck with each row."""

    quality: float
    own: Floats
    shown: float = field(default=math.nan)
    """Share of right answers on the test rows that it was promoted on."""

    def answers(self, difficulty: Floats, shared: float) -> Answers:
        """(N,) whether it is right."""
        latent = math.sqrt(shared) * difficulty + math.sqrt(1 - shared) * self.own
        return np.asarray(latent < NormalDist().inv_cdf(self.quality))


@dataclass(frozen=True)
class Year:
    """Where chains of weekly retrains ended; shares of right answers."""

    quality: Floats
    """(chains,) of the champion at the end."""
    shown: Floats
    """What it was published with."""
    promotions: Floats


def run_year(
    kind: Kind, fixed: bool, rows: int, gate: GateConfig, chains: int, resamples: int, shared: float = 0.75
) -> Year:
    """Chains of 52 weeks. equal: every candidate is as good as the first champion. decaying: of the k-th week it is 0.1 k
    points worse. continued: it is 0.1 points worse than the champion that it was continued from, and much like it.

    `fixed`: the same test rows every week. `shared`: see Model; 0.75 gives two models of 90 % an agreement of about 92 %.
    """
    ends = [
        _run_chain(kind, fixed, rows, gate, resamples, shared, np.random.default_rng([rows, n])) for n in range(chains)
    ]
    quality, shown, promotions = (np.array(values) for values in zip(*ends, strict=True))
    return Year(quality, shown, promotions)


def _run_chain(
    kind: Kind, fixed: bool, rows: int, gate: GateConfig, resamples: int, shared: float, rng: Rng
) -> tuple[float, float, int]:
    difficulty, truth = rng.normal(size=rows), rng.permutation(np.arange(rows) % 2)
    champion = Model(START, rng.normal(size=rows))
    champion.shown = float(champion.answers(difficulty, shared).mean())
    anchor, promotions, alike = champion, 0, 0.9
    for week in range(1, WEEKS + 1):
        if not fixed:  # what a model does with new rows is drawn anew, as much alike as the models are
            difficulty, before = rng.normal(size=rows), anchor.own
            tie = float(np.mean(before * champion.own)) if champion is not anchor else 1.0
            anchor.own = rng.normal(size=rows)
            if champion is not anchor:
                champion.own = _mix(anchor.own, min(max(tie, 0.0), 1.0), rng)
        if kind == "continued":
            candidate = Model(champion.quality - DECAY / 100, _mix(champion.own, alike, rng))
        else:
            worse = DECAY / 100 * week if kind == "decaying" else 0.0
            candidate = Model(START - worse, rng.normal(size=rows))
        ours, theirs, best = (model.answers(difficulty, shared) for model in (candidate, champion, anchor))
        report = report_of(ours, theirs, truth, resamples, rng, None if anchor is champion else best)
        if outcome_of(report, gate) != "promote":
            continue
        if next_anchor(report, gate) is None:
            anchor = candidate
        champion, promotions = candidate, promotions + 1
        champion.shown = float(ours.mean())
    return champion.quality, champion.shown, promotions


def _mix(own: Floats, correlation: float, rng: Rng) -> Floats:
    return np.asarray(correlation * own + math.sqrt(1 - correlation**2) * rng.normal(size=len(own)))


# -- groups ---


def false_alarms(groups: int, size: int, within: float, repeats: int, seed: int = 0) -> tuple[float, float]:
    """Share of equal pairs whose interval of the difference excludes 0: resampled by rows, and by groups.

    `within` is the correlation of what both models do on rows of one group.
    """
    rng, rows = np.random.default_rng([seed, groups, size]), groups * size
    clusters = np.repeat(np.arange(groups), size)
    found = np.zeros(2)
    for _ in range(repeats):
        difficulty, truth = rng.normal(size=rows), rng.permutation(np.arange(rows) % 2)
        ours, theirs = (Model(START, _in_groups(clusters, within, rng)).answers(difficulty, 0.5) for _ in range(2))
        pair = pair_of(ours, theirs, truth)
        for place, of in enumerate((None, clusters)):
            _, low, high = pair[0].differences(pair[1], seed, clusters=of)[METRIC]
            found[place] += low > 0 or high < 0
    return float(found[0] / repeats), float(found[1] / repeats)


def _in_groups(clusters: Indices, within: float, rng: Rng) -> Floats:
    of_group = rng.normal(size=int(clusters.max()) + 1)[clusters]
    return np.asarray(math.sqrt(within) * of_group + math.sqrt(1 - within) * rng.normal(size=len(clusters)))
