import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.refs import FeatureRef, InputName
from data_contracts.tables import features_schema
from tasks.store import Store, digest_json

MakeFeatures = Callable[[InputName, list[np.ndarray]], tuple[FeatureRef, list[str]]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def make_features(store: Store) -> MakeFeatures:
    """Puts arrays into the store as two parts; gives the ref and the arrays' digests."""

    def make(modality: InputName, arrays: list[np.ndarray]) -> tuple[FeatureRef, list[str]]:
        digests = [hashlib.sha256(f"{modality}{n}".encode()).hexdigest() for n in range(len(arrays))]
        dtype = str(arrays[0].dtype)
        parts = []
        for chosen in (range(0, len(arrays), 2), range(1, len(arrays), 2)):
            rows = [
                {"digest": digests[n], "shape": list(arrays[n].shape), "values": arrays[n].ravel().tolist()}
                for n in chosen
            ]
            table = pa.Table.from_pylist(rows, schema=features_schema(dtype))
            parts.append(store.put_part(f"features/{modality}", f"shard{len(parts)}", table))
        ref = FeatureRef(
            uri=f"features/{modality}",
            sha256=digest_json(digests),
            rows=len(arrays),
            modality=modality,
            encoder="tiny",
            fingerprint=digest_json(modality),
            parts=tuple(parts),
            dtype=dtype,  # type: ignore[arg-type]
            computed=len(arrays),
            reused=0,
        )
        return ref, digests

    return make
