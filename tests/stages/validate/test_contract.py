"""A table under another version of the contracts is never read silently."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import pytest

from data_contracts import tables
from data_contracts.tables import CONTRACT_KEY, CONTRACT_VERSION, contract_version
from tasks import contract
from tasks.config import load_config
from tasks.contract import read_table
from tasks.errors import EnvironmentFailed
from tasks.ingest import ingest as ingest_module
from tasks.ingest.manifest.scan import scan
from tasks.store import Store
from tasks.validate import validate as validate_module
from tasks.validate.validate import samples_key, validate_features, validate_samples
from tests.support.spoiled_samples import CONFIG, Bench, good_features, good_rows


def restamp(path: Any, version: str | None) -> None:
    table = pq.read_table(path)
    metadata = {} if version is None else {CONTRACT_KEY: version}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_every_schema_states_the_version() -> None:
    plain = [name for name in vars(tables) if name.endswith("_schema") and name != "features_schema"]
    schemas = [getattr(tables, name)() for name in plain] + [tables.features_schema("uint8")]
    assert len(schemas) >= 9
    assert {contract_version(schema) for schema in schemas} == {CONTRACT_VERSION}


@pytest.mark.parametrize(("version", "output"), [("0", "contract version '0'"), (None, "no contract version")])
def test_samples_of_another_version_are_refused_with_the_reason(bench: Bench, version: str | None, output: str) -> None:
    clean = bench.clean(good_rows())
    path = bench.store.path(clean.uri) / "samples.parquet"
    restamp(path, version)
    with pytest.raises(EnvironmentFailed) as caught:
        validate_samples(clean, CONFIG, bench.store)
    assert f"written under {output}, this crossmodal reads version '{CONTRACT_VERSION}'" in str(caught.value)
    assert "remove it and run again, or choose another --store" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_features_of_another_version_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = validate_samples(bench.clean(good_rows()), CONFIG, bench.store)
    ref = bench.features("image", good_features("image"))
    monkeypatch.setattr(contract, "CONTRACT_VERSION", "99")
    with pytest.raises(EnvironmentFailed, match=rf"contract version '{CONTRACT_VERSION}', this crossmodal reads .*99"):
        validate_features(valid, {"image": ref}, CONFIG, bench.store)


def test_the_version_enters_the_keys_so_that_old_tables_are_made_anew(
    bench: Bench, make_data: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = bench.clean(good_rows())
    config = load_config({}, ["runtime.workers=1"])
    raw = scan(config, store, make_data(3))
    before = samples_key(clean, CONFIG), ingest_module.ingest_key(raw, config)
    for module in (validate_module, ingest_module):
        monkeypatch.setattr(module, "CONTRACT_VERSION", "99")
    assert {*before}.isdisjoint({samples_key(clean, CONFIG), ingest_module.ingest_key(raw, config)})


def test_what_the_product_writes_can_be_read(bench: Bench) -> None:
    valid = validate_samples(bench.clean(good_rows()), CONFIG, bench.store)
    assert read_table(bench.store.path(valid.uri) / "samples.parquet").num_rows == 36
