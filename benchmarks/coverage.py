"""How often the interval of each figure contains the truth: 93 to 97 %, or the report says that there are too few rows.

    python -m benchmarks.coverage [--repeats 400] [--problems multiclass multilabel regression groups]

Every cell draws so many test sets of n rows and asks the product's own scorers for intervals. Half of the sets are of a strong
model and half of a weak one; half of calibrated models and half of overconfident ones (logits x 2). The truth is what the same
scorer finds on 200,000 rows, but the calibration error of a calibrated model, which is 0. Of m intervals a coverage of 95 % is
seen as 95 +- 1.96 * sqrt(0.95 * 0.05 / m): by so much a cell may pass the band (2 points for 400) without being marked `!`.

`groups` is about differences of two equal models on rows that come in groups: how often the interval excludes 0, with every row
for itself and by group. Rows of a group are alike in how hard they are, and in which model suits them. Groups are of one size,
or of very different ones (the largest 20 times the smallest), or one of them has 40 % of the rows.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import machine
from tasks.problems.metric import TOO_FEW_ROWS, Floats, Metric
from tasks.problems.multiclass_metrics import ClassCounts, ClassScorer, score_classes
from tasks.problems.multilabel_metrics import LabelScorer
from tasks.problems.regression import NumberScorer
from tasks.problems.scoring import MIN_CLUSTERS, AnyScorer

ROWS = (50, 100, 500, 2_000)
CLASSES = (2, 10, 50)
TRUTH_ROWS = 200_000
LOW, HIGH = 93.0, 97.0
OVERCONFIDENT = 2.0
GROUPS = ((5, 100), (6, 80), (10, 50), (20, 25), (50, 10), (100, 20))
SIZES = ("equal", "unequal", "one large")
BY_ROW = 400
"""Pairs that are looked at by row, which takes a bootstrap."""
LARGE = 0.4
"""Share of the rows that the one large group has."""
GROUP_SPREAD = 0.7
"""Of what rows of a group share, where what each row has for itself spreads by 1."""
RAREST = 0.1
"""Rows of the rarest class for one of the most frequent one, where they are imbalanced; between them a geometric row."""
SKILLS = {2: (1.0, 2.0), 10: (2.2, 3.2), 50: (2.8, 3.8)}
"""Classes to how far a weak and a strong model's score of the true class stands above the noise: about 75 and 92 % right."""
Rng = np.random.Generator
Draw = Callable[[int, Rng], AnyScorer]


@dataclass(frozen=True)
class Model:
    """A population of rows that one model answers."""

    name: str
    """What its calibration error is listed under."""
    draw: Draw
    calibrated: bool = False


@dataclass
class Cell:
    """What was seen of one metric in one place of the grid."""

    sets: int = 0
    intervals: int = 0
    covered: int = 0

    def text(self) -> str:
        """`95`, `95 (few: 12)` where 12 % of the sets had no interval, `few` where most had none; `!` beyond the band."""
        few = 100 * (1 - self.intervals / self.sets)
        if few > 50:
            return "few"
        share = 100 * self.covered / self.intervals
        slack = 196 * (0.95 * 0.05 / self.intervals) ** 0.5
        mark = "" if LOW - slack <= share <= HIGH + slack else "!"
        return f"{share:.0f}{mark}" + (f" (few: {few:.0f})" if few >= 1 else "")


@dataclass
class Grid:
    """Metric, shape and column to a cell."""

    columns: list[str]
    cells: dict[tuple[str, str], dict[str, Cell]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Cell))
    )

    def print(self, title: str) -> None:
        """As a Markdown table."""
        print(f"\n{title}\n\n| metric | rows | {' | '.join(self.columns)} |\n|---|---|{'---|' * len(self.columns)}")
        for (metric, shape), found in self.cells.items():
            line = [found[column].text() if column in found else "" for column in self.columns]
            print(f"| {metric} | {shape} | {' | '.join(line)} |", flush=True)


def shares(classes: int, balanced: bool) -> Floats:
    """(C,) of the rows."""
    weights = np.ones(classes) if balanced else RAREST ** (np.arange(classes) / (classes - 1))
    return np.asarray(weights / weights.sum(), np.float64)


def classified(rows: int, rng: Rng, classes: int, balanced: bool, skill: float, sharpness: float) -> AnyScorer:
    """One class a row: a score for each class, with noise, and the chance of every class given all scores; logits times
    `sharpness`."""
    prior = shares(classes, balanced)
    truth = rng.choice(classes, rows, p=prior)
    scores = rng.normal(size=(rows, classes))
    scores[np.arange(rows), truth] += skill
    logits = sharpness * (np.log(prior) + skill * scores)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return score_classes(weights / weights.sum(axis=1, keepdims=True), truth)


def labelled(rows: int, rng: Rng, labels: int, balanced: bool, skill: float, sharpness: float) -> AnyScorer:
    """Sets of labels, of which 30 % of the rows have the most frequent one; some rows have more labels than others."""
    prior = np.full(labels, 0.3) if balanced else 0.3 * RAREST ** (np.arange(labels) / max(labels - 1, 1))
    odds = np.log(prior / (1 - prior))
    truth = rng.random((rows, labels)) < 1 / (1 + np.exp(-odds - 0.5 * rng.normal(size=(rows, 1))))
    logits = sharpness * (odds + skill * (rng.normal(size=(rows, labels)) + skill * truth - skill / 2))
    chances = 1 / (1 + np.exp(-logits))
    return LabelScorer(chances, chances >= 0.5, truth)


def numbered(rows: int, rng: Rng, heavy: bool, noise: float) -> AnyScorer:
    """Numbers, with errors that are normal or, heavy, of Student's t with 5 degrees of freedom."""
    truth = rng.normal(size=rows)
    errors = rng.standard_t(5, rows) if heavy else rng.normal(size=rows)
    return NumberScorer(truth + noise * errors, truth)


def calibrations(draw: Callable[..., AnyScorer], skills: Sequence[float]) -> list[Model]:
    """Weak and strong, calibrated and overconfident."""
    return [
        Model(name, partial(draw, skill=skill, sharpness=sharpness), sharpness == 1)
        for name, sharpness in (("calibrated", 1.0), ("overconfident", OVERCONFIDENT))
        for skill in skills
    ]


def populations(problem: str) -> Iterator[tuple[str, str, list[Model]]]:
    """(shape, column, models) of each place of a problem's grid, but for n."""
    if problem == "regression":
        for heavy in (False, True):
            models = [Model("", partial(numbered, heavy=heavy, noise=noise)) for noise in (0.3, 0.8)]
            yield ("heavy tails" if heavy else "normal errors"), "a number", models
        return
    for balanced in (True, False):
        for classes in CLASSES:
            if problem == "multiclass":
                draw, skills = partial(classified, classes=classes, balanced=balanced), SKILLS[classes]
            else:
                draw, skills = partial(labelled, labels=classes, balanced=balanced), (1.5, 2.5)
            shape = "balanced" if balanced else "imbalanced"
            yield shape, f"{classes} {'classes' if problem == 'multiclass' else 'labels'}", calibrations(draw, skills)


def find_truth(model: Model, rng: Rng) -> dict[str, float]:
    """Each metric of the population."""
    found = {name: value for name, value in model.draw(TRUTH_ROWS, rng).score().items() if value is not None}
    return found | ({"ece": 0.0} if model.calibrated and "ece" in found else {})


def measure(problem: str, repeats: int, sizes: Sequence[int]) -> None:
    """One problem's grid is printed."""
    found = list(populations(problem))
    columns = dict.fromkeys(f"{column}, n = {rows:,}" for _, column, _ in found for rows in sizes)
    grid = Grid(list(columns))
    for shape, column, models in found:
        for place, model in enumerate(models):
            truth = find_truth(model, np.random.default_rng((place, 0)))
            for rows in sizes:
                rng = np.random.default_rng((place, rows))
                for _ in range(repeats // len(models)):
                    ranges = model.draw(rows, rng).intervals(seed=0)
                    for metric, value in truth.items():
                        name = f"{metric}, {model.name}" if metric == "ece" else metric
                        cell = grid.cells[name, shape][f"{column}, n = {rows:,}"]
                        cell.sets += 1
                        if metric in ranges:
                            low, high = ranges[metric]
                            cell.intervals += 1
                            cell.covered += low <= value <= high
    grid.print(problem)


class TwoMetrics(ClassScorer):
    """The product's scorer without metrics that are not looked at here, which would be drawn, too."""

    @property
    def metrics(self) -> tuple[Metric[Any, ClassCounts], ...]:
        """Accuracy and macro F1."""
        return tuple(metric for metric in super().metrics if metric.name in ("accuracy", "macro_f1"))


def group_sizes(groups: int, size: int, kind: str) -> NDArray[np.int64]:
    """(G,) rows of each group, `size` on average."""
    weights = np.ones(groups)
    if kind == "unequal":
        weights = np.geomspace(1, 20, groups)
    elif kind == "one large":
        weights[0] = LARGE / (1 - LARGE) * (groups - 1)
    return np.asarray(np.maximum((weights / weights.sum() * groups * size).round(), 1), np.int64)


def equal_pair(sizes: NDArray[np.int64], rng: Rng) -> tuple[AnyScorer, AnyScorer]:
    """Two models that are right on about 85 % of the rows of two classes; a group suits either of them by chance."""
    hard = np.repeat(rng.normal(1.6, GROUP_SPREAD, len(sizes)), sizes)
    suits = np.repeat(rng.normal(0, GROUP_SPREAD, len(sizes)), sizes)
    truth = rng.integers(0, 2, int(sizes.sum()))

    def answers(sign: int) -> AnyScorer:
        """Those of one of the two."""
        right = hard + sign * suits / 2 + rng.normal(size=len(truth)) > 0
        return TwoMetrics(np.full((len(truth), 2), 0.5), truth, np.where(right, truth, 1 - truth))

    return answers(1), answers(-1)


def measure_groups(repeats: int, seed: int) -> None:
    """How often the interval of a difference of 0 excludes 0 is printed, by number and size of the groups."""
    print(
        "\ngroups\n\n| groups of rows | sizes | accuracy, by row | by group | macro_f1, by group |\n|---|---|---|---|---|"
    )
    for groups, size in GROUPS:
        for kind in SIZES:
            sizes = group_sizes(groups, size, kind)
            rng, clusters = np.random.default_rng((groups, size, seed)), np.repeat(np.arange(groups), sizes)
            excluded: dict[tuple[str, str], list[bool]] = defaultdict(list)
            for number in range(repeats):
                ours, theirs = equal_pair(sizes, rng)
                found = {"group": ours.differences(theirs, 0, clusters=clusters)}
                if kind == "equal" and number < BY_ROW:
                    found["row"] = ours.differences(theirs, 0)
                for by, differences in found.items():
                    for metric, (_, low, high) in differences.items():
                        excluded[metric, by].append(not low <= 0 <= high)
            shares = {key: f"{100 * np.mean(values):.1f} %" for key, values in excluded.items()}
            if groups < MIN_CLUSTERS:
                shares |= {(metric, "group"): "few" for metric in ("accuracy", "macro_f1")}
            cells = [shares.get(key, "") for key in (("accuracy", "row"), ("accuracy", "group"), ("macro_f1", "group"))]
            print(f"| {groups} of {size} | {kind} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """The coverage of every interval is printed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--seed", type=int, default=0, help="of groups")
    parser.add_argument("--problems", nargs="+", default=["multiclass", "multilabel", "regression", "groups"])
    options = parser.parse_args()
    hardware = machine("numpy", "scipy")
    print(f"{hardware}; {options.repeats} test sets a cell; percent of the intervals that contain the truth")
    print(
        f"few: {TOO_FEW_ROWS}, or too few groups (percent of the sets); ! beyond {LOW:.0f} to {HIGH:.0f} % by more than chance"
    )
    for problem in options.problems:
        if problem == "groups":
            measure_groups(options.repeats, options.seed)
            continue
        measure(problem, options.repeats, options.rows)


if __name__ == "__main__":
    main()
