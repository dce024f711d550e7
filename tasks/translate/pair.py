"""A pair: two heads on frozen features that bring an input and another one into one space, and what is nearest to what in it.

As in LiT (Zhai et al., 2022, "LiT: Zero-Shot Transfer with Locked-image text Tuning") a contrastive loss draws together what
belongs to one row; here both encoders are locked, and only a linear head on each is learned. No label is read.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.refs import FeatureRef, InputName, ValidatedRef
from data_contracts.translation import PairRef, Recall
from tasks import progress
from tasks.config import RunConfig
from tasks.errors import DataError, EnvironmentFailed
from tasks.fingerprint import code_fingerprint
from tasks.modeling.descriptors import describe
from tasks.modeling.features import FeatureTable
from tasks.samples import Samples
from tasks.store import Store, canonical_json, digest_json, write_text

KIND = "pairs"
HEADS, NEAREST = "heads.safetensors", "nearest.json"
MIN_PAIRS = 20
"""Of training rows with both inputs: two heads fitted to fewer say nothing."""
WIDTH = 512
"""Directions that are kept of a description that is wider and sparse (texts as n-grams)."""
EPOCHS = 40
PATIENCE = 5
"""Epochs without a lower loss on the validation pairs after which training ends, at the best one."""
BATCH_ROWS = 512
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2
KS = (1, 5)
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


def pair_key(valid: ValidatedRef, source: FeatureRef, target: FeatureRef, config: RunConfig) -> str:
    """The digest of all that the pair depends on."""
    return digest_json(
        {
            "valid": valid.sha256,
            "features": [[ref.modality, ref.sha256] for ref in (source, target)],
            "config": [config.seed, config.translate.embed_dim],
            "code": code_fingerprint("pair"),
        }
    )


def fit_pair(valid: ValidatedRef, source: FeatureRef, target: FeatureRef, config: RunConfig, store: Store) -> PairRef:
    """The pair of two inputs, from the store or new; two runs at once fit it once. DataError where too few rows have both."""
    key = pair_key(valid, source, target, config)
    if (found := store.find(KIND, key)) is not None:
        return PairRef.model_validate(found.ref)
    with store.work_dir(KIND, key):
        if (found := store.find(KIND, key)) is not None:  # fitted by another run while this one waited
            return PairRef.model_validate(found.ref)
        return _keep(key, valid, source, target, config, store)


@dataclass(frozen=True)
class _Side:
    """Distinct media of one input, as vectors, and where each row's medium is among them."""

    digests: list[str]
    vectors: Floats
    """(M, D) standardised over the media of the training rows."""
    places: Indices
    """(N,) -1 where a row lacks it."""


def _side(samples: Samples, ref: FeatureRef, seed: int, store: Store) -> _Side:
    cells = samples.column(ref.modality)
    table = FeatureTable.load(store, ref, only=pc.unique(cells.drop_null()))
    places = table.locate(cells)
    described: Any = describe(table, seed)
    if hasattr(described, "tocsr"):
        from sklearn.decomposition import TruncatedSVD

        described = TruncatedSVD(max(1, min(WIDTH, min(described.shape) - 1)), random_state=seed).fit_transform(
            described
        )
    vectors = np.asarray(described, np.float64)
    trained = np.asarray(pc.equal(samples.column("split"), "train"), bool) & (places >= 0)
    fitted = vectors[np.unique(places[trained])] if trained.any() else vectors
    vectors = (vectors - fitted.mean(axis=0)) / (fitted.std(axis=0) + 1e-6)
    return _Side(table.digests.to_pylist(), np.asarray(vectors, np.float32), places)


def _keep(
    key: str, valid: ValidatedRef, source: FeatureRef, target: FeatureRef, config: RunConfig, store: Store
) -> PairRef:
    from safetensors.numpy import save
    from threadpoolctl import threadpool_limits

    samples = Samples.read(store.path(valid.uri))
    with threadpool_limits(1):  # the order of a sum depends on their number
        sides = tuple(_side(samples, ref, config.seed, store) for ref in (source, target))
        pairs = {split: _pairs(samples, sides, split) for split in ("train", "val", "test")}
        if len(pairs["train"]) < MIN_PAIRS:
            raise DataError(
                f"retrieval: {len(pairs['train'])} train rows have both {source.modality} and {target.modality}; a space that "
                f"both share is learned from {MIN_PAIRS} at least"
            )
        heads, epochs = _fit(sides, pairs["train"], pairs["val"], config)
        embedded = [_unit(side.vectors @ head) for side, head in zip(sides, heads, strict=True)]
        nearest = _nearest(samples, sides, embedded, pairs["train"])
    names = (source.modality, target.modality)
    recalls = tuple(recall for place in (0, 1) for recall in _recalls(names, embedded, pairs["test"], place))
    content = save({"source": heads[0], "target": heads[1]})
    ref = PairRef(
        uri=f"{KIND}/{key}",
        sha256=digest_json([hashlib.sha256(content).hexdigest(), nearest]),
        rows=len(pairs["train"]),
        parents=(valid.sha256, source.sha256, target.sha256),
        source=source.modality,
        target=target.modality,
        embed_dim=config.translate.embed_dim,
        epochs=epochs,
        recalls=recalls,
        same_label=_same_label(samples, names, nearest),
    )
    with store.create(KIND, key, [valid.uri], code_fingerprint("pair")) as draft:
        (draft.path / HEADS).write_bytes(content)
        write_text(draft.path / NEAREST, canonical_json(nearest))
        draft.ref = ref.model_dump(mode="json")
    return ref


def _pairs(samples: Samples, sides: tuple[_Side, ...], split: str) -> Indices:
    """(P, 2) distinct pairs of media of the rows of a split that have both."""
    chosen = np.asarray(pc.equal(samples.column("split"), split), bool)
    places = np.stack([side.places[chosen] for side in sides], axis=1)
    return np.unique(places[(places >= 0).all(axis=1)], axis=0)


def _fit(sides: tuple[_Side, ...], train: Indices, val: Indices, config: RunConfig) -> tuple[list[Floats], int]:
    """The heads (D, W) with the lowest loss on the validation pairs, and after how many epochs."""
    import torch

    from tasks.modeling.contrastive import contrastive_loss

    generator = torch.Generator().manual_seed(config.seed)
    vectors = [torch.from_numpy(side.vectors) for side in sides]
    heads = [
        torch.randn(each.shape[1], config.translate.embed_dim, generator=generator).div_(each.shape[1] ** 0.5)
        for each in vectors
    ]
    for head in heads:
        head.requires_grad_()
    optimizer = torch.optim.AdamW(heads, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def loss_of(pairs: torch.Tensor) -> torch.Tensor:
        """InfoNCE; pairs with the same medium of the source are each other's positives."""
        rows = torch.arange(len(pairs))
        projected = {
            name: each[pairs[:, place]] @ heads[place]
            for place, (name, each) in enumerate(zip("ab", vectors, strict=True))
        }
        return contrastive_loss(projected, dict.fromkeys("ab", rows), pairs[:, 0])

    pairs, held = torch.from_numpy(train), torch.from_numpy(val if len(val) >= 2 else train)
    best, lowest, best_epoch = [head.detach().clone() for head in heads], float("inf"), 0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of a sum depends on their number
    try:
        for epoch in range(1, EPOCHS + 1):
            for batch in torch.split(pairs[torch.randperm(len(pairs), generator=generator)], BATCH_ROWS):
                optimizer.zero_grad()
                loss_of(batch).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            with torch.no_grad():
                loss = float(torch.stack([loss_of(part) for part in torch.split(held, BATCH_ROWS)]).mean())
            progress.report("pair", epoch, EPOCHS, f"loss {loss:.3f}")
            if loss < lowest:
                best, lowest, best_epoch = [copy.deepcopy(head.detach()) for head in heads], loss, epoch
            if epoch - best_epoch >= PATIENCE:
                break
    finally:
        torch.set_num_threads(threads)
    progress.report("pair", EPOCHS, EPOCHS)
    return [head.numpy() for head in best], best_epoch


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


def _nearest(samples: Samples, sides: tuple[_Side, ...], embedded: list[Floats], train: Indices) -> dict[str, str]:
    """Digest of every source medium to that of the nearest target medium of a training row.

    One that stands beside a single target medium in training never gets that one back: of a test row it would not be known.
    """
    gallery = np.unique(train[:, 1])
    where = {int(place): column for column, place in enumerate(gallery)}
    own: dict[int, set[int]] = defaultdict(set)
    for mine, theirs in train.tolist():
        own[mine].add(theirs)
    found: dict[str, str] = {}
    for start in range(0, len(sides[0].digests), 2048):
        similar = embedded[0][start : start + 2048] @ embedded[1][gallery].T
        for row in range(len(similar)):
            mine = own.get(start + row, set())
            if len(mine) == 1 and len(gallery) > 1:
                similar[row, where[next(iter(mine))]] = -np.inf
            found[sides[0].digests[start + row]] = sides[1].digests[gallery[int(similar[row].argmax())]]
    return found


def _recalls(names: tuple[InputName, InputName], embedded: list[Floats], pairs: Indices, place: int) -> list[Recall]:
    """Recall at each k of one direction: each distinct query among the distinct media of the other input."""
    from scipy.stats import binomtest, hypergeom

    if not len(pairs):
        return []
    queries, gallery = np.unique(pairs[:, place]), np.unique(pairs[:, 1 - place])
    belongs = np.zeros((len(queries), len(gallery)), bool)
    belongs[np.searchsorted(queries, pairs[:, place]), np.searchsorted(gallery, pairs[:, 1 - place])] = True
    similar = embedded[place][queries] @ embedded[1 - place][gallery].T
    order = np.argsort(-similar, axis=1, kind="stable")
    found = []
    for k in KS:
        hits = np.asarray(np.take_along_axis(belongs, order[:, :k], axis=1).any(axis=1))
        bounds = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
        chance = 1 - hypergeom.pmf(0, len(gallery), belongs.sum(axis=1), min(k, len(gallery)))
        found.append(
            Recall(
                query=names[place],
                answer=names[1 - place],
                k=k,
                value=float(hits.mean()),
                interval=(float(bounds.low), float(bounds.high)),
                chance=float(chance.mean()),
                queries=len(queries),
                gallery=len(gallery),
            )
        )
    return found


def _same_label(samples: Samples, names: tuple[InputName, InputName], nearest: dict[str, str]) -> float | None:
    labels: dict[str, set[str]] = defaultdict(set)
    train, test = samples.of_split("train"), samples.of_split("test")
    for digest, label in zip(train.digests(names[1]), train.labels, strict=True):
        if digest is not None:
            labels[digest].add(label)
    hits = [
        label in labels[nearest[digest]]
        for digest, label in zip(test.digests(names[0]), test.labels, strict=True)
        if digest is not None
    ]
    return sum(hits) / len(hits) if hits else None


def read_nearest(ref: PairRef, store: Store) -> dict[str, str]:
    """Digest of each source medium to that of what was retrieved for it."""
    path = store.path(ref.uri) / NEAREST
    try:
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EnvironmentFailed(f"pair {path}: cannot be read ({error}); run again") from None
    return found
