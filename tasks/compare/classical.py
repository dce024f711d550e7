"""Classical models: naive Bayes on TF-IDF and linear SVMs, the strength of regularisation chosen on validation rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data_contracts.comparison import Value
from tasks.errors import DataError
from tasks.problems.metric import Indices

Floats = NDArray[np.floating[Any]]
SVM_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""C, the strongest regularisation first; of equals it is taken. Those after one that is worse than the one before it are not
tried: on 900 standardised numbers C = 1 took 12 times the CPU of 0.001, and was worse."""
SMOOTHING_GRID = (1.0, 0.3, 0.1, 0.03, 0.01)
"""alpha of naive Bayes: what is added to the weight of every word in every class."""
MAX_ITERATIONS = 300
WORD = r"(?u)\b\w+\b"
"""Words of one letter, or digit, count: scikit-learn's own pattern leaves them out."""


class SplitTable(Protocol):
    """Rows of one split."""

    @property
    def features(self) -> Any:
        """(N, D) dense or sparse."""

    @property
    def truth(self) -> Indices:
        """(N,) positions in the labels; -1 where a test row's label is none of them."""

    @property
    def weights(self) -> NDArray[np.float64]:
        """(N,)"""


@dataclass(frozen=True)
class Rows:
    """A SplitTable."""

    features: Any
    truth: Indices
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A model's answers to the test rows."""

    outputs: Floats
    """(T, C) over the labels, in the order of the rows: shares that sum to 1. Of an SVM the softmax of its decision function,
    whose greatest is its answer and which is no probability."""
    chosen: Mapping[str, Value]
    parameters: int
    notes: tuple[str, ...] = ()


class _Model(Protocol):
    classes_: Indices

    def fit(self, features: Any, truth: Indices, sample_weight: Floats) -> Any:
        """Fits to (N, D) features, (N,) classes and (N,) weights."""

    def predict(self, features: Any) -> Indices:
        """(N, D) -> (N,)"""


def fit_svm(rows: Mapping[str, SplitTable], classes: int) -> Fitted:
    """A linear SVM, one class against the rest; C from the validation rows."""
    from sklearn.svm import LinearSVC

    def make(c: float) -> LinearSVC:
        """With this C; solved in the primal, where nothing is drawn at random."""
        return LinearSVC(C=c, dual=False, max_iter=MAX_ITERATIONS)

    best, c, notes = _choose(make, SVM_GRID, rows)
    scores = np.asarray(best.decision_function(rows["test"].features), np.float64)
    scores = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return Fitted(_spread(shares, best.classes_, classes), {"C": c}, int(best.coef_.size + best.intercept_.size), notes)


def fit_naive_bayes(
    texts: Mapping[str, Sequence[str]], truth: Mapping[str, Indices], weights: NDArray[np.float64], classes: int
) -> Fitted:
    """TF-IDF of single words and pairs, counted on the train rows, and multinomial naive Bayes; alpha from the validation rows.

    `weights` are those of the train rows. Raises DataError where the train rows hold no word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import MultinomialNB

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORD, sublinear_tf=True)
    if not any(vectorizer.build_analyzer()(text) for text in texts["train"]):
        raise DataError("tfidf-naive-bayes: the texts of the train rows hold no word; leave this variant out")
    train = vectorizer.fit_transform(texts["train"])
    rows: dict[str, SplitTable] = {
        split: Rows(
            train if split == "train" else vectorizer.transform(texts[split]),
            truth[split],
            weights if split == "train" else np.ones(len(truth[split])),
        )
        for split in ("train", "val", "test")
    }
    best, alpha, notes = _choose(lambda alpha: MultinomialNB(alpha=alpha), SMOOTHING_GRID, rows)
    shares = best.predict_proba(rows["test"].features)
    size = int(best.feature_log_prob_.size + best.class_log_prior_.size)
    return Fitted(_spread(shares, best.classes_, classes), {"alpha": alpha}, size, notes)


def _choose(
    make: Callable[[float], Any], grid: Sequence[float], rows: Mapping[str, SplitTable]
) -> tuple[Any, float, tuple[str, ...]]:
    """The fitted model with the most validation rows right, its strength, and whether it converged; of equals the first."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    best: tuple[int, Any, float, bool] | None = None
    train, val, before = rows["train"], rows["val"], 0
    for strength in grid:
        model: _Model = make(strength)
        with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:  # one: as the order of a sum
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(train.features, train.truth, sample_weight=train.weights)
        late = any(issubclass(each.category, ConvergenceWarning) for each in caught)
        right = int((model.predict(val.features) == val.truth).sum())
        if best is not None and right < before:
            break
        if best is None or right > best[0]:
            best = (right, model, strength, late)
        before = right
    assert best is not None
    return best[1], best[2], (f"not converged after {MAX_ITERATIONS} iterations",) if best[3] else ()


def _spread(shares: Floats, own: Indices, classes: int) -> Floats:
    """Columns moved to the positions of their classes; 0 for a class without train rows."""
    found = np.zeros((len(shares), classes))
    found[:, own] = shares
    return found


def standardised(features: NDArray[np.float32], train: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean 0 and deviation 1 on the train rows; constant columns become 0."""
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    found: NDArray[np.float32] = (features - mean) / np.where(deviation > 0, deviation, 1)
    return found.astype(np.float32)
