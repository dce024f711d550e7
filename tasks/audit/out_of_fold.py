"""Probabilities out of fold: logistic regression on a view's vectors, fitted to the rows of the other folds; artifacts."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.audit import FoldRef, ViewRef
from data_contracts.refs import CleanRef, ValidatedRef
from tasks.audit.folds import assign_folds, inner_split
from tasks.audit.rows import AuditRows, read_audit_rows
from tasks.audit.views import View, read_view
from tasks.config import RunConfig
from tasks.fingerprint import code_fingerprint
from tasks.store import Store, digest_json

KIND = "out_of_fold"
PROBABILITIES = "probabilities.safetensors"
GRID = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""Inverse strengths of the regularisation, for rows of length 1: the weakest fits a row by itself."""
MAX_ITERATIONS = 300
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class OutOfFold:
    """A view's probabilities of N labelled rows, each from the models of the other folds, and of M rows by all models."""

    probabilities: Floats
    """(N, C) NaN where a row lacks the input."""
    pool: Floats
    """(folds, M, C) NaN likewise."""


def fold_key(
    view: ViewRef,
    fold: int,
    valid: ValidatedRef,
    pool: CleanRef | None,
    config: RunConfig,
    store: Store,
) -> str:
    """The digest of all that a fold's probabilities depend on."""
    rows = read_audit_rows(valid, pool, config.audit.folds, store)
    content = {"input": view.input, "view": view.sha256, "fold": fold, "rows": rows.digest()}
    settings = {"seed": config.seed, "folds": config.audit.folds}
    return digest_json({**content, **settings, "code": code_fingerprint("audit")})


def fit_fold(
    view: ViewRef,
    fold: int,
    valid: ValidatedRef,
    pool: CleanRef | None,
    config: RunConfig,
    store: Store,
) -> FoldRef:
    """What the rows of the other folds say of this one's, from the store or new; two runs at once fit it once."""
    key = fold_key(view, fold, valid, pool, config, store)
    if (found := store.find(KIND, key)) is not None:
        return FoldRef.model_validate(found.ref)
    with store.work_dir(KIND, key):
        if (found := store.find(KIND, key)) is not None:  # fitted by another run while this one waited
            return FoldRef.model_validate(found.ref)
        rows = read_audit_rows(valid, pool, config.audit.folds, store)
        folds = assign_folds(rows.given, rows.clusters, config.audit.folds, config.seed)
        held_out = np.flatnonzero(folds == fold)
        probabilities, c = _score_held_out(read_view(view, store), rows, folds != fold, held_out, config.seed)
        return _keep(key, view, fold, held_out, probabilities, c, store)


def _score_held_out(
    view: View, rows: AuditRows, is_other: NDArray[np.bool_], held_out: Indices, seed: int
) -> tuple[Floats, float | None]:
    """((H + M, C) for the held out and the unlabelled rows, the C that was chosen)."""
    labelled = len(rows.given)
    asked = np.concatenate([held_out, np.arange(labelled, len(view.present))])
    found = np.full((len(asked), len(rows.labels)), np.nan)
    others = np.flatnonzero(is_other & view.present[:labelled])
    if len(np.unique(rows.given[others])) < 2:
        return found, None
    c = _choose_c(view.vectors[others], rows.given[others], rows.clusters[others], seed)
    known = view.present[asked]
    if known.any():
        predicted = fit_and_predict(view.vectors[others], rows.given[others], view.vectors[asked[known]], c)
        found[known] = _spread(*predicted, len(rows.labels))
    return found, c


def _choose_c(vectors: NDArray[np.float32], given: Indices, clusters: Indices, seed: int) -> float:
    """The C with the lowest log loss on rows that were kept apart; the weaker ones are not tried once it has risen."""
    fitted, kept = inner_split(given, clusters, seed)
    if len(np.unique(given[fitted])) < 2:
        return GRID[0]
    best, lowest = GRID[0], np.inf
    for c in GRID:
        likely, classes = fit_and_predict(vectors[fitted], given[fitted], vectors[kept], c)
        spread = _spread(likely, classes, int(given.max()) + 1)
        loss = float(-np.log(np.maximum(spread[np.arange(len(kept)), given[kept]], 1e-6)).mean())
        if loss >= lowest:
            break
        best, lowest = c, loss
    return best


def fit_and_predict(
    vectors: NDArray[np.float32], given: Indices, asked: NDArray[np.float32], c: float
) -> tuple[Floats, Indices]:
    """(A, K) probabilities of rows, and (K,) the classes that they are of, by scikit-learn's logistic regression."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model = LogisticRegression(C=c, max_iter=MAX_ITERATIONS)
    with threadpool_limits(1), warnings.catch_warnings():  # one: the order of a sum depends on their number
        warnings.simplefilter("ignore", ConvergenceWarning)  # so weak a regularisation loses to the one before it
        model.fit(vectors.astype(np.float64), given)
    return model.predict_proba(asked.astype(np.float64)), model.classes_.astype(np.int64)


def _spread(probabilities: Floats, classes: Indices, count: int) -> Floats:
    """Columns moved to the positions of their classes; 0 for a class that was not among the rows."""
    found = np.zeros((len(probabilities), count))
    found[:, classes] = probabilities
    return found


def _keep(
    key: str,
    view: ViewRef,
    fold: int,
    held_out: Indices,
    probabilities: Floats,
    c: float | None,
    store: Store,
) -> FoldRef:
    from safetensors.numpy import save

    count = len(held_out)
    data = save(
        {
            "rows": held_out,
            "probabilities": np.ascontiguousarray(probabilities[:count]),
            "pool": np.ascontiguousarray(probabilities[count:]),
        }
    )
    ref = FoldRef(
        uri=f"{KIND}/{key}",
        sha256=hashlib.sha256(data).hexdigest(),
        rows=count,
        parents=(view.sha256,),
        input=view.input,
        fold=fold,
        c=c,
    )
    with store.create(KIND, key, [view.uri], code_fingerprint("audit")) as draft:
        (draft.path / PROBABILITIES).write_bytes(data)
        draft.ref = ref.model_dump(mode="json")
    return ref


def join_folds(refs: Sequence[FoldRef], rows: AuditRows, store: Store) -> OutOfFold:
    """The folds of one view, put together."""
    from safetensors.numpy import load

    whole = np.full((len(rows.given), len(rows.labels)), np.nan)
    pool = []
    for ref in sorted(refs, key=lambda each: each.fold):
        held = load((store.path(ref.uri) / PROBABILITIES).read_bytes())
        whole[held["rows"]] = held["probabilities"]
        pool.append(held["pool"])
    return OutOfFold(whole, np.stack(pool))
