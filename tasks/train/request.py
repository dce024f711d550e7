"""What a training process is told, and the rows that training may see. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.modalities import in_order
from data_contracts.refs import ChampionRef, FeatureRef, Frozen, InputName, ValidatedRef
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.errors import EnvironmentFailed
from tasks.store import Store

RENDEZVOUS = "CROSSMODAL_RENDEZVOUS"
"""In the environment of processes that train together: the file through which they find each other, as a URI."""


class TrainJob(Frozen):
    """One training run as JSON."""

    valid: ValidatedRef
    features: dict[InputName, FeatureRef]
    config: RunConfig
    store: str
    """The store's folder."""
    champion: ChampionRef | None = None
    """The model that training starts from, under train.continue_from."""


def read_samples(valid: ValidatedRef, features: Mapping[InputName, FeatureRef], store: Store) -> pa.Table:
    """The train and val rows, sorted by id, with only the columns that training reads. Test rows never enter."""
    names = in_order(features)
    uri = f"{valid.uri}/samples.parquet"
    try:
        table = read_table(store.path(uri), ["id", "label", "targets", "split", "weight", *names])
    except (OSError, pa.ArrowInvalid) as error:
        raise EnvironmentFailed(f"samples {uri}: cannot be read ({error}); run ingest again") from None
    seen = table.filter(pc.is_in(table["split"], value_set=pa.array(["train", "val"])))
    return seen.sort_by("id").replace_schema_metadata(None)
