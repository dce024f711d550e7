"""The linear baseline of a head: scikit-learn's logistic regression on the same frozen features of the same training rows.

A head that a linear model beats is badly trained. So every run whose modalities are all read as embeddings shows both.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.baselines import LinearBaseline
from data_contracts.refs import FeatureRef, InputName, ValidatedRef
from tasks import progress
from tasks.evaluate.baseline_tables import BaselineRows, Floats, Table
from tasks.evaluate.comparison import ComparisonRows
from tasks.evaluate.scorers import Columns
from tasks.modeling.card import ModelCard
from tasks.problems.metric import Indices
from tasks.problems.registry import problem_of
from tasks.problems.scoring import AnyScorer
from tasks.store import Store

# Regularisation, weakest last. On standardised features the best C falls with their number: 0.001 for 1,280 of
# mobilenet_v2, about 0.1 for the 384 of a sentence encoder (benchmarks/linear_baseline.py).
GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 10.0)
WORSE = 1
"""Weaker regularisation is no longer tried after the validation loss has risen so many times in a row."""
MAX_ITERATIONS = 300
TOLERANCE = 1e-4
# Fixed, because the order of a sum depends on it. One: 9,000 x 1,280 x 10 classes took 5 s of CPU with one thread and 16 s
# with two, which wait for each other, and on a busy machine more than ten minutes.
THREADS = 1
# Training rows x width x classes that are fitted in about a minute of CPU; of more, a share of the rows is used.
BUDGET = 1_000_000_000


@dataclass(frozen=True)
class Fitted:
    """The baseline: its probabilities on the test rows, and how they came about."""

    probabilities: NDArray[np.float64]
    """(N, C) over the labels; 0 for a class without training rows."""
    c: float
    """Inverse strength of the regularisation, chosen on the validation rows."""
    rows: int
    """Training rows that were fitted."""
    width: int
    notes: tuple[str, ...]


def reads_embeddings(card: ModelCard) -> bool:
    """Whether every modality of a model reaches it as a frozen encoder's embedding."""
    return all(spec.reads == "embedding" for spec in card.encoders.values())


def fit_linear_baseline(
    valid: ValidatedRef, features: Mapping[InputName, FeatureRef], labels: tuple[str, ...], seed: int, store: Store
) -> Fitted | None:
    """Fitted on the train rows with C from the val rows; None where the train rows hold fewer than two classes.

    `labels` are those of the model; the probabilities of the test rows come in the samples' order.
    """
    progress.report("evaluate", 0, len(GRID), "logistic regression")
    notes: list[str] = []
    tables = _read_within_budget(BaselineRows.read(valid, features, labels, store), len(labels), seed, notes)
    if tables is None:
        return None
    train = tables["train"]
    fitted = best_of_grid(train, tables["val"], tables["test"].features, len(labels), notes)
    progress.report("evaluate", len(GRID), len(GRID), "logistic regression")
    probabilities, c = fitted
    return Fitted(probabilities, c, len(train.truth), train.features.shape[1], tuple(notes))


def _read_within_budget(rows: BaselineRows, classes: int, seed: int, notes: list[str]) -> dict[str, Table] | None:
    """The splits as tables, with a note where only some train rows are fitted; None where these hold fewer than two classes."""
    train = rows.places["train"]
    if len(np.unique(rows.truth[train])) < 2:
        return None
    chosen = train[within_budget(len(train), rows.width * classes, seed)]
    if len(chosen) < len(train):
        notes.append(f"fitted on {len(chosen):,} of {len(train):,} training rows, so that it takes no longer")
    return rows.tables(chosen)


def read_tables(
    valid: ValidatedRef, features: Mapping[InputName, FeatureRef], labels: tuple[str, ...], store: Store
) -> dict[str, Table]:
    """Every split as a table, standardised by the train rows; rows whose label the model does not know are left out of
    train and val."""
    rows = BaselineRows.read(valid, features, labels, store)
    return rows.tables(rows.places["train"])


def within_budget(rows: int, cost_per_row: int, seed: int, budget: int | None = None) -> Indices:
    """Positions of the rows that are fitted: all, or as many as the budget allows, drawn by the seed, in order."""
    most = max((BUDGET if budget is None else budget) // max(cost_per_row, 1), 2)
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def best_of_grid(
    train: Table, val: Table, test: Floats, classes: int, notes: list[str]
) -> tuple[NDArray[np.float64], float]:
    """The test probabilities (N, C) and the C of the model with the best validation accuracy; of equals, the most likely.

    A fit that is among the candidates and did not converge adds to `notes`.
    """
    best: tuple[float, float] | None = None
    found, chosen, converged = np.zeros((len(test), classes)), GRID[0], True
    lowest, worse = np.inf, 0
    for step, (c, model, finished) in enumerate(_fits(train)):
        progress.report("evaluate", step, len(GRID), f"logistic regression, C = {c:g}")
        given = _spread(model.predict_proba(val.features), model.classes_, classes)
        likely = np.maximum(given[np.arange(len(given)), val.truth], 1e-12)
        loss = float(-np.average(np.log(likely), weights=val.weights))
        mark = (float((given.argmax(axis=1) == val.truth).mean()), -loss)
        if best is None or mark > best:
            best, chosen, converged = mark, c, finished
            found = _spread(model.predict_proba(test), model.classes_, classes)
        lowest, worse = (loss, 0) if loss < lowest else (lowest, worse + 1)
        if worse == WORSE:
            break
    if not converged:
        notes.append(f"not converged after {MAX_ITERATIONS} iterations: a longer fit may reach more")
    return found, chosen


def _fits(train: Table) -> Iterator[tuple[float, Any, bool]]:
    """(C, the fitted model, whether it converged) along the grid, each from where the one before it ended."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model = LogisticRegression(solver="lbfgs", max_iter=MAX_ITERATIONS, tol=TOLERANCE, warm_start=True)
    for c in GRID:
        model.set_params(C=c)
        with threadpool_limits(THREADS), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(train.features, train.truth, sample_weight=train.weights)
        late = [each for each in caught if issubclass(each.category, ConvergenceWarning)]
        for each in caught:
            if each not in late:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        yield c, model, not late


def _spread(probabilities: NDArray[Any], own: Indices, classes: int) -> NDArray[np.float64]:
    """Columns moved to the positions of their classes."""
    found = np.zeros((len(probabilities), classes))
    found[:, own] = probabilities
    return found


def measure_linear(
    valid: ValidatedRef,
    features: Mapping[InputName, FeatureRef],
    columns: Columns,
    candidate: AnyScorer,
    rows: ComparisonRows,
    unseen: Indices,
    seed: int,
    store: Store,
) -> LinearBaseline | None:
    """The baseline's figures, and the candidate's minus them, on the same rows, `unseen` among all test rows."""
    labels, target = columns.labels[0], columns.card.label_targets[0]
    fitted = fit_linear_baseline(valid, features, labels, seed, store)
    if fitted is None:
        return None
    cells = columns.samples.targets(0, "")
    wide = target.model_copy(update={"labels": labels})
    linear_baseline = problem_of(target).scorer(fitted.probabilities[unseen], cells, wide, labels, None)
    return LinearBaseline(
        metrics=linear_baseline.score(),
        c=fitted.c,
        rows=fitted.rows,
        width=fitted.width,
        differences=candidate.differences(linear_baseline, seed, clusters=rows.clusters),
        notes=fitted.notes,
    )
