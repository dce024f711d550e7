"""Prefect's cache keys: a task that is taken from the cache is not run, so all that its result says and refuses counts."""

from __future__ import annotations

from typing import Any

import pytest

from data_contracts.refs import Frozen, RawRef
from tasks.config import RunConfig
from tasks.ingest.ingest import ingest_key
from tasks.ingest.task import ingest_task
from tasks.task_options import keyed

RAW = RawRef(uri="raw/1", sha256="1" * 64, rows=4, source="rows.csv", modalities=("text",))


def prefect_key(raw: RawRef = RAW, **data: Any) -> str:
    config = RunConfig.model_validate({"data": data})
    key_of = ingest_task.cache_key_fn
    assert key_of is not None
    key = key_of(None, {"raw": raw, "config": config, "store": None, "purpose": "train"})
    assert isinstance(key, str)
    return key


def test_equal_parameters_have_one_key() -> None:
    assert prefect_key() == prefect_key(RAW.model_copy())


@pytest.mark.parametrize("changed", [{"notes": ("a note of this manifest",)}, {"source": "other.csv"}])
def test_what_a_result_repeats_of_its_ref_counts(changed: dict[str, Any]) -> None:
    other = RAW.model_copy(update=changed)
    assert ingest_key(RAW, RunConfig()) == ingest_key(other, RunConfig()), "the store's artifact is the same"
    assert prefect_key() != prefect_key(other)


def test_a_limit_that_refuses_what_was_found_counts() -> None:
    lower = RunConfig.model_validate({"data": {"max_quarantined": 0.0}})
    assert ingest_key(RAW, RunConfig()) == ingest_key(RAW, lower)
    assert prefect_key() != prefect_key(max_quarantined=0.0)


def test_the_stages_own_key_counts() -> None:
    def key(rows: int) -> str:
        return f"{rows} rows"

    assert keyed(key)(None, {"rows": 1, "store": None}) == keyed(key)(None, {"rows": 1, "store": 2})
    assert keyed(key)(None, {"rows": 1}) != keyed(key)(None, {"rows": 2})


class Asked(Frozen):
    raw: RawRef
    rows: int


def test_a_ref_counts_within_a_request_as_it_does_beside_one() -> None:
    def key(asked: Asked) -> str:
        return asked.raw.sha256

    of, other = keyed(key), RAW.model_copy(update={"notes": ("a note",)})
    asked = Asked(raw=RAW, rows=1)
    assert of(None, {"asked": asked}) == of(None, {"asked": Asked(raw=RAW, rows=2)})
    assert of(None, {"asked": asked}) != of(None, {"asked": Asked(raw=other, rows=1)})
    assert of(None, {"asked": asked, "raw": RAW}) != of(None, {"asked": asked, "raw": other})
    assert of(None, {"raw": RAW, "asked": asked}) != of(None, {"raw": other, "asked": asked})
