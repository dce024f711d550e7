"""How often the gate promotes, rejects or leaves open, and where a year of weekly retrains ends, by simulation.

    python -m benchmarks.gate [--repeats 400] [--chains 100] [--resamples 500] [--pictures docs]

Two classes of equal size; the champion is right on 85 % of the rows, at the start of a year on 90 %. Decisions and intervals
are the product's own: scorers, tasks.evaluate.slice_regressions.find_regressions, the metrics, `percentiles` and `widen`, and
tasks.gate.comparison.compare_models. The one shortcut: rows that are alike are drawn as counts (a multinomial), which gives the
same resamples as drawing rows, some hundred times faster. "Agreement" is the share of rows on which both models give the same
answer; with two classes the others are those that one of them has right. A change cannot be larger than that share: such cells
are left out.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import machine
from data_contracts.refs import EvalReport, Pairing
from tasks.config import GateConfig
from tasks.evaluate.comparison import against
from tasks.evaluate.slice_regressions import find_regressions
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
    return ClassCounts(int(cells[0].sum()), right, support, answers)


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
    low, high = widen(bounds, value - other, confidence, differing)
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
    fields = against(found)
    fields["slice_regressions"] = find_regressions(pair, ("0", "1"), present, None, GateConfig().min_slice_rows)
    if best is not None:
        fields["anchor"] = best.model_copy(update={"version": "0"})
    return EvalReport.model_construct(
        uri="evaluations/benchmark",
        sha256=SHA,
        model_sha256=SHA,
        problem="multiclass",
        intervals={},
        by_modalities={},
        majority_share=None,
        rows=len(truth),
        metrics={"test": {METRIC: found.metrics[METRIC] + found.differences[METRIC][0]}},  # type: ignore[operator]
        **fields,
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


# -- what is printed and drawn ---


def print_table(cells: Sequence[Cell]) -> None:
    """A line a cell: of every mode the share promoted, rejected and left open."""
    print(
        "| rows | agreement | true change | " + " | ".join(f"{mode}: promoted, rejected, open" for mode in MODES) + " |"
    )
    print("|---:|---:|---:|" + "---:|" * len(MODES))
    for cell in cells:
        shares = (
            " / ".join(f"{100 * cell.share(mode, outcome):.0f}" for outcome in ("promote", "reject", "inconclusive"))
            for mode in MODES
        )
        print(f"| {cell.rows:,} | {cell.agreement:.0%} | {cell.change:+g} | " + " | ".join(shares) + " |")


def print_years(chains: int, resamples: int) -> None:
    """A line a kind of chain."""
    print(
        "| candidates | test rows | gate | quality at the end: mean, 5 % | below start - margin | promotions | shown - true |"
    )
    print("|---|---|---|---:|---:|---:|---:|")
    for kind in KINDS:
        for fixed in (True, False):
            for rows in (200, 1_000):
                for name, gate in GATES.items():
                    year = run_year(kind, fixed, rows, gate, chains, resamples)
                    ends, low = 100 * year.quality, 100 * (START - GateConfig().margin) - 1e-9
                    print(
                        f"| {kind} | {rows:,} {'the same' if fixed else 'new'} | {name} | {ends.mean():.2f}, "
                        f"{np.quantile(ends, 0.05):.2f} | {np.mean(ends < low):.0%} | {year.promotions.mean():.1f} | "
                        f"{100 * (year.shown - year.quality).mean():+.2f} |",
                        flush=True,
                    )


def draw_power(folder: Path, repeats: int, resamples: int) -> None:
    """`gate-power.png`: the share promoted over the true change, 90 % agreement."""
    changes = np.arange(-4, 6.01, 1.0)
    figure, axes = _figure(2)
    for axis, mode in zip(axes, MODES, strict=True):
        for rows in ROWS:
            cells = [simulate(rows, 0.9, change, repeats, resamples, {mode: MODES[mode]}) for change in changes]
            axis.plot(changes, [100 * cell.share(mode) for cell in cells], marker="o", ms=3, label=f"{rows:,} rows")
        axis.axhline(5, color="0.6", lw=0.8, ls=":")
        axis.axvline(0 if mode == "better" else -2, color="0.6", lw=0.8, ls=":")
        axis.set(title=f"gate.mode = {mode}", xlabel="true change, points", ylim=(-2, 102))
    axes[0].set_ylabel("promoted, %")
    axes[0].legend(frameon=False)
    figure.savefig(folder / "gate-power.png")


def draw_years(folder: Path, chains: int, resamples: int) -> None:
    """`gate-years.png`: where a year ends, of each kind of chain on 1,000 rows, with the anchor and without."""
    figure, axes = _figure(1)
    labels: list[str] = []
    for kind in KINDS:
        for fixed in (True, False):
            for name, color in (("not-worse", "C0"), ("not-worse, gate.anchor = off", "C1")):
                ends = 100 * run_year(kind, fixed, 1_000, GATES[name], chains, resamples).quality
                place = len(labels) + (0.15 if color == "C1" else -0.15)
                low, high = np.quantile(ends, [0.05, 0.95])
                axes[0].plot([low, high], [place, place], color=color, lw=2)
                axes[0].plot(ends.mean(), place, "o", color=color, label=name if not labels else None)
            labels.append(f"{kind}, {'same' if fixed else 'new'} rows")
    axes[0].axvline(100 * (START - GateConfig().margin), color="0.6", lw=0.8, ls=":")
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].invert_yaxis()
    axes[0].set(xlabel="true quality of the champion after 52 weeks, % (start: 90); bars: 90 % of the years")
    axes[0].legend(frameon=False, loc="upper left")
    figure.savefig(folder / "gate-years.png")


def _figure(columns: int) -> tuple[Any, list[Any]]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=(8.4, 3.6), dpi=110, layout="constrained", squeeze=False)
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes[0])


def main() -> None:
    """Prints the tables, or draws the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400, help="decisions a cell of the table")
    parser.add_argument("--chains", type=int, default=100, help="years a line")
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--pictures", type=Path, help="a folder: draws the two curves there, and prints nothing else")
    chosen = parser.parse_args()
    if chosen.pictures is not None:
        draw_power(chosen.pictures, chosen.repeats, chosen.resamples)
        draw_years(chosen.pictures, chosen.chains, chosen.resamples)
        return
    print(machine())
    print_table(list(table(chosen.repeats, chosen.resamples)))
    print()
    print_years(chosen.chains, chosen.resamples)
    print("\nEqual pairs whose 95 % interval excludes 0 (within-group correlation 0.2), by rows and by groups:")
    for groups, size in ((20, 25), (40, 12), (10, 50)):
        by_rows, by_groups = false_alarms(groups, size, 0.2, max(chosen.repeats // 4, 20))
        print(f"  {groups} groups of {size}: {by_rows:.0%} and {by_groups:.0%}", flush=True)


if __name__ == "__main__":
    main()
