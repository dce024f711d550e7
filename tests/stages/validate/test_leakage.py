"""The same content, or one group, on two sides: reported, dropped from the earlier side, or refused."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.tables import near_duplicates_schema
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.validate.leakage import PAIRS, find_leakage
from tasks.validate.validate import validate_samples
from tests.support.spoiled_samples import MODALITIES, Bench, good_rows, table_of


def leaky_rows() -> list[dict[str, Any]]:
    """s01 (train) is also s33 (test), s02 (train) also s26 (val), s27 (val) also s34 (test); one group spans s04 and s35."""
    rows = good_rows()
    for earlier, later in ((1, 33), (2, 26), (27, 34)):
        rows[earlier] |= {modality: rows[later][modality] for modality in MODALITIES}
    rows[4]["group"] = rows[35]["group"] = "speaker 1"
    return rows


def with_policy(policy: str) -> RunConfig:
    return RunConfig.model_validate({"split": {"leakage": policy}})


def test_rows_whose_counterpart_lies_on_a_later_side_leak() -> None:
    found = find_leakage(table_of(leaky_rows()), MODALITIES)
    assert found is not None
    assert found.rows == (1, 2, 4, 27)
    assert (found.same_content, found.same_group) == (3, 1)
    assert found.by_split == {"train": 3, "val": 1}
    assert found.examples == ("s01", "s02", "s04", "s27")
    assert found.pairs == (
        (1, 33, "same content"),
        (2, 26, "same content"),
        (27, 34, "same content"),
        (4, 35, "same group"),
    )


def test_pairs_are_few_of_each_cause_and_each_row_is_shown_once() -> None:
    rows = good_rows()
    shared_media = {modality: rows[30][modality] for modality in MODALITIES} | {"group": "speaker 1"}
    rows[:10] = [row | shared_media for row in rows[:10]]
    rows[30]["group"] = "speaker 1"
    found = find_leakage(table_of(rows), MODALITIES)
    assert found is not None
    assert len(found.rows) == found.same_content == found.same_group == 10
    assert [row for row, _, _ in found.pairs] == list(range(2 * PAIRS))
    assert {place for _, place, _ in found.pairs} == {30}


def test_nothing_leaks_in_good_rows() -> None:
    rows = good_rows()
    assert find_leakage(table_of(rows), MODALITIES) is None
    rows[1]["image"] = rows[33]["image"]  # the same picture with another sound is another sample
    rows[2]["audio"] = rows[3]["audio"]  # on the same side
    for row in rows[:24]:
        row["group"] = "speaker 1"  # a group on one side
    assert find_leakage(table_of(rows), MODALITIES) is None


def test_rows_without_media_are_nobodys_counterparts() -> None:
    rows = good_rows()
    for row in (rows[1], rows[33]):
        row.update(image=None, text=None, audio=None)
    assert find_leakage(table_of(rows), MODALITIES) is None


def test_report_keeps_every_row_and_warns(bench: Bench) -> None:
    valid = validate_samples(bench.clean(leaky_rows()), with_policy("report"), bench.store)
    [warning] = valid.warnings
    assert valid.rows == 36
    assert "a counterpart on a later side of train, val, test: 3 of train and 1 of val" in warning
    assert "(same content: 3, same group: 1), for example s01, s02, s04, s27" in warning
    assert warning in (bench.store.path(valid.docs) / "index.html").read_text()


def test_drop_leaves_out_the_earlier_side_only(bench: Bench) -> None:
    clean = bench.clean(leaky_rows())
    valid = validate_samples(clean, with_policy("drop"), bench.store)
    kept = pq.read_table(bench.store.path(valid.uri) / "samples.parquet")
    left_out = set(pq.read_table(bench.store.path(clean.uri) / "samples.parquet")["id"].to_pylist()) - set(
        kept["id"].to_pylist()
    )
    assert left_out == {"s01", "s02", "s04", "s27"}
    assert valid.rows == kept.num_rows == 32
    assert "4 rows were dropped" in valid.warnings[0]
    assert find_leakage(kept, MODALITIES) is None
    assert valid == validate_samples(clean, with_policy("drop"), bench.store)


def test_fail_refuses_and_names_the_rows(bench: Bench) -> None:
    with pytest.raises(DataError, match=r"for example s01, s02, s04, s27; correct the split or group column"):
        validate_samples(bench.clean(leaky_rows()), with_policy("fail"), bench.store)
    assert not bench.store.path("validations").exists()


def test_a_near_duplicate_on_a_later_side_leaks(bench: Bench) -> None:
    clusters = {"s01": 0, "s33": 0, "s02": 1, "s03": 1, "s27": 2, "s34": 2}
    found = find_leakage(table_of(good_rows()), MODALITIES, clusters)
    assert found is not None
    assert (found.rows, found.near, found.same_content) == ((1, 27), 2, 0)
    assert "(same content: 0, same group: 0, near duplicate: 2), for example s01, s27" in found.describe()


def test_near_duplicates_that_ingest_found_are_judged_by_the_policy(bench: Bench) -> None:
    clean = bench.clean(good_rows())
    pairs = pa.table({"id": ["s01", "s33"], "cluster": [0, 0]}).cast(near_duplicates_schema())
    pq.write_table(pairs, bench.store.path(clean.uri) / "near_duplicates.parquet")
    assert "near duplicate: 1" in validate_samples(clean, with_policy("report"), bench.store).warnings[0]
    assert validate_samples(clean, with_policy("drop"), bench.store).rows == 35
    with pytest.raises(DataError, match="near duplicate: 1"):
        validate_samples(clean, with_policy("fail"), bench.store)
