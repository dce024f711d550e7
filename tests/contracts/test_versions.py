"""A store that was written under another version of the contracts: made anew by the keys, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import tables
from data_contracts.refs import CleanRef, FeatureRef, InputName, ValidatedRef
from data_contracts.tables import CONTRACT_VERSION, predictions_schema
from tasks import contract
from tasks.config import RunConfig, load_config
from tasks.errors import EnvironmentFailed
from tasks.evaluate.evaluate import read_test_rows
from tasks.extract import extract as extract_module
from tasks.extract.extract import collect_features, extract_shard, plan_shards, sample_digests, stored_digests
from tasks.ingest import ingest as ingest_module
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest import scan as scan_module
from tasks.ingest.manifest.scan import scan
from tasks.ingest.near_duplicates import signature_store as near_module
from tasks.media import media_store as packs_module
from tasks.media.media_store import MediaReader, media_index
from tasks.modeling.features import FeatureTable
from tasks.publish.verify import VerifyRequest, verify
from tasks.store import Store
from tasks.train.request import TrainRequest, read_samples
from tasks.train.train import train_key
from tests.support.data import TINY

KEYED = (tables, contract, ingest_module, near_module, scan_module, packs_module, extract_module)
"""Where the version stands by name."""


@dataclass(frozen=True)
class Written:
    """What a run left in the store."""

    store: Store
    config: RunConfig
    data: Path
    clean: CleanRef
    features: dict[InputName, FeatureRef]

    @property
    def valid(self) -> ValidatedRef:
        """The samples as if validated: the readers below look at the table only."""
        clean = self.clean
        return ValidatedRef(uri=clean.uri, sha256=clean.sha256, rows=clean.rows, clean=clean, docs="docs")


def _run(data: Path, config: RunConfig, store: Store) -> Written:
    clean = ingest(scan(config, store, data), config, store)
    shards = plan_shards(clean, config, store)
    for shard in shards:
        extract_shard(shard, store)
    return Written(store, config, data, clean, collect_features(clean, config, store, shards))


@pytest.fixture
def written(make_data: Callable[..., Path], store: Store) -> Written:
    config = load_config({}, [*TINY, "runtime.workers=1", "encoders.audio=off"])
    long = "one sentence that is long enough for a fingerprint of its own, number"
    return _run(make_data(12, change=lambda row, n: row | {"text": f"{long} {n}"}), config, store)


def _verify(written: Written) -> Any:
    table = pa.table({name: [] for name in predictions_schema().names}, schema=predictions_schema())
    written.store.path("evaluations").mkdir()
    pq.write_table(table, written.store.path("evaluations/predictions.parquet"))
    known = {
        "samples": written.clean.uri,
        "predictions": "evaluations/predictions.parquet",
        "features": written.features,
    }
    return verify(VerifyRequest(folder="model", store=str(written.store.root), rows=1, **known))


def _one_digest(written: Written) -> list[str]:
    return sample_digests(written.clean, "image", written.store)[:1]


READERS: dict[str, Callable[[Written], Any]] = {
    "media packs, index": lambda w: media_index(w.store, "image", w.clean.media["image"], ("digest",)),
    "media packs": lambda w: list(MediaReader(w.store, "image", w.clean.media["image"]).read(_one_digest(w))),
    "samples, by extract": lambda w: sample_digests(w.clean, "image", w.store),
    "feature parts, by extract": lambda w: stored_digests(
        "image", w.features["image"].fingerprint, w.store, _one_digest(w)
    ),
    "feature parts, by a model": lambda w: FeatureTable.load(w.store, w.features["image"]),
    "samples, by train": lambda w: read_samples(w.valid, w.store),
    "samples, by evaluate": lambda w: read_test_rows(w.valid, w.store),
    "predictions, by publish": _verify,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_refuses_what_another_version_wrote(
    written: Written, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "CONTRACT_VERSION", "99")
    with pytest.raises(EnvironmentFailed) as caught:
        READERS[reader](written)
    output = f"written under contract version '{CONTRACT_VERSION}', this crossmodal reads version '99'"
    assert output in str(caught.value)
    assert "remove it and run again, or choose another --store" in str(caught.value)


def _asked(made: Written) -> TrainRequest:
    return TrainRequest(valid=made.valid, features=made.features, config=made.config)


def test_under_another_version_everything_is_made_anew_in_the_same_store(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = train_key(_asked(written), written.store)
    for module in KEYED:
        monkeypatch.setattr(module, "CONTRACT_VERSION", "99")
    again = _run(written.data, written.config, written.store)
    assert again.clean.sha256 == written.clean.sha256  # the same content
    assert again.clean.uri != written.clean.uri
    assert {name: ref.computed for name, ref in again.features.items()} == {"image": 12, "text": 12}
    for name, ref in again.features.items():
        assert ref.fingerprint != written.features[name].fingerprint
        assert FeatureTable.load(again.store, ref).digests.to_pylist()
    assert train_key(_asked(again), again.store) != before
    places = {path.parent for path in (written.store.root / "signatures").rglob("*.parquet")}
    assert len(places) == 2
