"""The linear baseline of a head: scikit-learn's logistic regression on the same frozen features of the same training rows.

A head that a linear model beats is badly trained. So every run whose modalities are all read as embeddings shows both.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.baselines import LinearBaseline
from data_contracts.refs import FeatureRef, InputName, ValidatedRef
from tasks import progress
from tasks.evaluate.comparison import ComparisonRows
from tasks.evaluate.scorers import Columns
from tasks.modalities import spec_of
from tasks.modeling.card import ModelCard
from tasks.modeling.features import FeatureTable, Inputs
from tasks.problems.metric import Indices
from tasks.problems.registry import problem_of
from tasks.problems.scoring import AnyScorer
from tasks.samples import Samples
from tasks.store import Store

Floats = NDArray[np.float32]

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
CHUNK = 4096  # rows that are standardised at once


@dataclass(frozen=True)
class Table:
    """Rows of one split as a classifier of scikit-learn takes them."""

    features: Floats
    """(N, D): the modalities beside each other, zeros where one is missing, and per modality whether it is there."""
    truth: Indices
    """(N,) positions in the labels."""
    weights: NDArray[np.float64]
    """(N,)"""

    def take(self, rows: Indices) -> Table:
        """Some of the rows."""
        return Table(self.features[rows], self.truth[rows], self.weights[rows])


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
    tables = _read_within_budget(_Rows.read(valid, features, labels, store), len(labels), seed, notes)
    if tables is None:
        return None
    train = tables["train"]
    fitted = best_of_grid(train, tables["val"], tables["test"].features, len(labels), notes)
    progress.report("evaluate", len(GRID), len(GRID), "logistic regression")
    probabilities, c = fitted
    return Fitted(probabilities, c, len(train.truth), train.features.shape[1], tuple(notes))


def _read_within_budget(rows: _Rows, classes: int, seed: int, notes: list[str]) -> dict[str, Table] | None:
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
    rows = _Rows.read(valid, features, labels, store)
    return rows.tables(rows.places["train"])


@dataclass(frozen=True)
class _Rows:
    """The rows of all splits, whose features are copied from where training reads them once it is known which are needed."""

    inputs: Inputs
    powers: Mapping[InputName, float]
    """Of the scaling of each input."""
    presence: Floats
    """(N, K) standardised, see `_presence`."""
    truth: Indices
    """(N,) positions in the labels, -1 for others."""
    weights: NDArray[np.float64]
    """(N,)"""
    places: Mapping[str, Indices]
    """Split to the positions of its rows."""

    @classmethod
    def read(
        cls,
        valid: ValidatedRef,
        features: Mapping[InputName, FeatureRef],
        labels: tuple[str, ...],
        store: Store,
    ) -> _Rows:
        """The test rows, and those of train and val whose label is known."""
        samples = Samples.read(store.path(valid.uri))
        known = np.isin(samples.labels, labels)
        samples = samples.where(known | (np.array(samples.splits) == "test"))
        inputs = Inputs.load(samples, features, store)
        split, presence = np.array(samples.splits), _presence(list(inputs.places.values()))
        _standardise(presence, split == "train", 1.0)
        return cls(
            inputs,
            {name: scaling_of(name, features[name].encoder) for name in inputs.tables},
            presence,
            _positions(samples, labels),
            samples.weights,
            {name: np.flatnonzero(split == name) for name in ("train", "val", "test")},
        )

    @property
    def width(self) -> int:
        """D, of all inputs and presence."""
        return sum(map(_width, self.inputs.tables.values())) + int(self.presence.shape[1])

    def tables(self, train: Indices) -> dict[str, Table]:
        """Every split, of train only these rows; standardised by all train rows."""
        scales = {name: self._scale(name) for name in self.inputs.tables}
        chosen = {**self.places, "train": train}
        return {
            name: Table(self._matrix(rows, scales), self.truth[rows], self.weights[rows])
            for name, rows in chosen.items()
        }

    def _matrix(self, rows: Indices, scales: Mapping[InputName, tuple[Floats, Floats]]) -> Floats:
        found = np.empty((len(rows), self.width), np.float32)
        end = 0
        for name, (mean, deviation) in scales.items():
            start, end = end, end + len(mean)
            for first in range(0, len(rows), CHUNK):
                block = self._dense(name, rows[first : first + CHUNK])
                block -= mean
                block /= deviation
                found[first : first + CHUNK, start:end] = block
        found[:, end:] = self.presence[rows]
        return found

    def _scale(self, name: InputName) -> tuple[Floats, Floats]:
        """The mean (D,) of an input over the train rows, and what is divided by (D,): 1 for a constant column, so that it
        becomes 0."""
        rows = self.places["train"]
        blocks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
        mean = _mean_of(self._dense(name, block).astype(np.float64) for block in blocks)
        deviation = np.sqrt(_mean_of((self._dense(name, block) - mean) ** 2 for block in blocks))
        divisor = np.where(deviation > 0, deviation ** self.powers[name], 1)
        return mean.astype(np.float32), divisor.astype(np.float32)

    def _dense(self, name: InputName, rows: Indices) -> Floats:
        """(R, D) of these rows, zeros where one lacks the input."""
        table = self.inputs.tables[name]
        taken = table.take(self.inputs.places[name][rows])
        dense = np.zeros((len(rows), _width(table)), np.float32)
        dense[taken.rows] = taken.values.reshape(len(taken.rows), dense.shape[1])
        return dense


def _width(table: FeatureTable) -> int:
    return table.values.size // max(len(table.lengths), 1)


def _mean_of(blocks: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(D,) the mean of all rows of (R, D) blocks, added up row after row as NumPy adds them up in one array."""
    rows, total = 0, None
    for block in blocks:
        rows += len(block)
        total = np.add.reduce(block if total is None else np.concatenate([total[None], block]), axis=0)
    assert total is not None  # there are train rows
    return np.asarray(total / rows, np.float64)


def _positions(samples: Samples, labels: tuple[str, ...]) -> Indices:
    places = {label: place for place, label in enumerate(labels)}
    return np.fromiter((places.get(label, -1) for label in samples.labels), np.int64, len(samples))


def scaling_of(name: InputName, encoder: str) -> float:
    """The power of their deviation by which features are divided: 1 but for some classical ones."""
    power = spec_of(name).classical_scaling if encoder == "classical" else None
    return 1.0 if power is None else power


def make_tables(samples: Samples, labels: tuple[str, ...], parts: Sequence[tuple[Floats, float]]) -> dict[str, Table]:
    """The same of (N, D) features, each with the power of its scaling; what is handed in is scaled in place."""
    split = np.array(samples.splits)
    for part, power in parts:
        _standardise(part, split == "train", power)
    matrix = np.concatenate([part for part, _ in parts], axis=1)
    whole = Table(matrix, _positions(samples, labels), samples.weights)
    return {name: whole.take(np.flatnonzero(split == name)) for name in ("train", "val", "test")}


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


def _presence(places: Sequence[Indices]) -> Floats:
    """(N, K) 1 where the modality is there; a column that says nothing is left out."""
    columns = [each >= 0 for each in places]
    telling = [column for column in columns if not column.all()]
    return np.stack(telling, axis=1).astype(np.float32) if telling else np.zeros((len(places[0]), 0), np.float32)


def _standardise(matrix: Floats, train: NDArray[np.bool_], power: float) -> None:
    """Mean 0 and, of power 1, deviation 1 on the train rows, in place, a block of columns at a time; constant columns
    become 0."""
    for start in range(0, matrix.shape[1], 256):
        block = matrix[:, start : start + 256]
        seen = block[train]
        mean, deviation = seen.mean(axis=0, dtype=np.float64), seen.std(axis=0, dtype=np.float64)
        block -= mean.astype(np.float32)
        block /= np.where(deviation > 0, deviation**power, 1).astype(np.float32)


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
