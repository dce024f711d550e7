"""What a training process receives, and the rows that training may see. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import numpy as np
from pydantic import JsonValue

from data_contracts.compression import Distillation
from data_contracts.modalities import in_order
from data_contracts.refs import ChampionRef, FeatureRef, Frozen, InputName, ValidatedRef
from tasks.config import RunConfig
from tasks.modeling.row_clusters import clusters_of, number_clusters
from tasks.problems.metric import Indices
from tasks.samples import Samples, digest_of, read_near_duplicates
from tasks.store import Store

RENDEZVOUS = "CROSSMODAL_RENDEZVOUS"
"""In the environment of processes that train together: the file through which they find each other, as a URI."""


class TrainRequest(Frozen):
    """What is trained."""

    valid: ValidatedRef
    features: dict[InputName, FeatureRef]
    config: RunConfig
    champion: ChampionRef | None = None
    """The model that training starts from, under train.continue_from."""
    distillation: Distillation | None = None
    """The model that training learns from besides the labels; None: from the labels only."""


class TrainJob(TrainRequest):
    """One training run as JSON."""

    store: str
    """The store's folder."""


class TrainOrder(TypedDict):
    """What a training process receives."""

    job: dict[str, JsonValue]
    """A TrainJob."""
    work: str
    """The folder of its state."""


def read_samples(valid: ValidatedRef, store: Store) -> Samples:
    """The train and val rows, sorted by id. Test rows never enter."""
    return Samples.read(store.path(valid.uri)).of_split("train", "val").sorted_by_id()


def cluster_val_rows(valid: ValidatedRef, store: Store) -> Indices | None:
    """(N,) the clusters of the validation rows in the order of their ids, as evaluation has those of the test rows: rows of one
    group, or nearly repeating each other, have one number. None where each is one of its own."""
    samples = read_samples(valid, store)
    numbers = number_clusters(samples, read_near_duplicates(store.path(valid.clean.uri)))
    return clusters_of(np.flatnonzero(np.array(samples.splits) == "val"), numbers)


def digest_samples(valid: ValidatedRef, features: Mapping[InputName, FeatureRef], store: Store) -> str:
    """The digest of all that training sees of the rows; a process takes it once of the same table."""
    folder = store.path(valid.uri)
    return _digest(folder, digest_of(folder), in_order(features))


@lru_cache(maxsize=8)
def _digest(folder: Path, sha256: str, names: tuple[InputName, ...]) -> str:
    """Of the table with this digest: it is asked for by the plan, by Prefect's cache key, and by the stage itself."""
    seen = Samples.read(folder).of_split("train", "val").sorted_by_id()
    read = ["id", "label", "targets", "split", "weight", *names]
    # Groups, by which the temperature is cross-validated.
    if "group" in seen.names and seen.column("group").is_valid().true_count:
        read.append("group")
    return seen.digest(read)
