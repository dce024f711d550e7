"""Views: the rows of a table as vectors, by one of their inputs; each is an artifact, made once, without labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.audit import ViewRef
from data_contracts.refs import CleanRef, FeatureRef, InputName, ValidatedRef
from tasks.audit.rows import AuditRows, read_audit_rows
from tasks.config import RunConfig
from tasks.fingerprint import code_fingerprint
from tasks.modeling.descriptors import describe
from tasks.modeling.features import FeatureTable
from tasks.store import Store, digest_json

KIND = "views"
WIDTH = 256
"""Directions that are kept (principal components): of 1,280 of mobilenet_v2 they hold what a linear model uses."""
VECTORS = "vectors.safetensors"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """Vectors of N labelled and M unlabelled rows."""

    name: InputName
    vectors: Floats
    """(N + M, D): of length 1 on average, zeros where the input is missing."""
    present: NDArray[np.bool_]
    """(N + M,) whether a row has the input."""


def view_key(
    name: InputName, valid: ValidatedRef, pool: CleanRef | None, feature: FeatureRef, config: RunConfig, store: Store
) -> str:
    """The digest of all that a view depends on: the rows, what is known of them by this input, and the code."""
    rows = read_audit_rows(valid, pool, config.audit.folds, store)
    return digest_json(
        {
            "name": name,
            "digests": rows.digests(name).to_pylist(),
            "feature": feature.fingerprint,
            "config": config.subset("seed"),
            "code": code_fingerprint("audit"),
        }
    )


def make_view(
    name: InputName, valid: ValidatedRef, pool: CleanRef | None, feature: FeatureRef, config: RunConfig, store: Store
) -> ViewRef:
    """The view of the rows by one input, from the store or new; two runs at once make it once."""
    key = view_key(name, valid, pool, feature, config, store)
    if (found := store.find(KIND, key)) is not None:
        return ViewRef.model_validate(found.ref)
    with store.work_dir(KIND, key):
        if (found := store.find(KIND, key)) is not None:  # made by another run while this one waited
            return ViewRef.model_validate(found.ref)
        rows = read_audit_rows(valid, pool, config.audit.folds, store)
        return _keep(_view(name, rows, feature, config.seed, store), key, valid, store)


def _view(name: InputName, rows: AuditRows, feature: FeatureRef, seed: int, store: Store) -> View:
    cells = rows.digests(name)
    table = FeatureTable.load(store, feature, only=cells.drop_null().unique())
    places = table.locate(cells)
    present = np.asarray(places >= 0, bool)
    vectors = np.zeros((len(places), 1), np.float32)
    if present.any():
        reduced = _reduce(describe(table, seed), seed)
        vectors = np.zeros((len(places), reduced.shape[1]), np.float32)
        vectors[present] = reduced[places[present]]
    return View(name, vectors, present)


def _reduce(described: Any, seed: int) -> Floats:
    """(R, at most WIDTH): principal components, scaled to length 1 on average."""
    from scipy.sparse import issparse
    from sklearn.decomposition import PCA, TruncatedSVD
    from threadpoolctl import threadpool_limits

    width = max(1, min(WIDTH, min(described.shape) - 1))
    with threadpool_limits(1):  # the order of a sum depends on their number
        if issparse(described):
            found = TruncatedSVD(width, random_state=seed).fit_transform(described)
        elif min(described.shape) < 2:
            found = np.asarray(described, np.float64)[:, :1]
        else:
            found = PCA(width, random_state=seed, svd_solver="covariance_eigh").fit_transform(described)
    length = float(np.sqrt((found.astype(np.float64) ** 2).sum(axis=1).mean()))
    return np.asarray(found / (length or 1.0), np.float32)


def _keep(view: View, key: str, valid: ValidatedRef, store: Store) -> ViewRef:
    from safetensors.numpy import save

    data = save({"vectors": np.ascontiguousarray(view.vectors), "present": view.present.astype(np.uint8)})
    ref = ViewRef(
        uri=f"{KIND}/{key}",
        sha256=hashlib.sha256(data).hexdigest(),
        rows=len(view.present),
        parents=(valid.sha256,),
        input=view.name,
        width=view.vectors.shape[1],
    )
    with store.create(KIND, key, [valid.uri], code_fingerprint("audit")) as draft:
        (draft.path / VECTORS).write_bytes(data)
        draft.ref = ref.model_dump(mode="json")
    return ref


def read_view(ref: ViewRef, store: Store) -> View:
    """The view of a ref."""
    return _load(ref.input, store.path(ref.uri))


def _load(name: InputName, folder: Path) -> View:
    from safetensors.numpy import load

    held = load((folder / VECTORS).read_bytes())
    return View(name, held["vectors"], held["present"].astype(bool))
