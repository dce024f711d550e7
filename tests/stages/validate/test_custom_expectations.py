"""The user's own expectations: run beside ours, named in one line when broken, and never code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_contracts.refs import ValidatedRef
from tasks.config import load_config
from tasks.errors import CrossmodalError, DataError, UsageError
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.store import Store
from tasks.validate.custom_expectations import read_expectations
from tasks.validate.validate import validate_samples

BETWEEN = "expect_column_values_to_be_between"
Validate = Callable[..., ValidatedRef]


@pytest.fixture
def validate(make_data: Any, store: Store, tmp_path: Path) -> Validate:
    """validate(*entries) -> ValidatedRef of 12 rows with age 30 to 41, code 007 to 018, and a town in all but one."""

    def run(*entries: Any) -> ValidatedRef:
        path = make_data(
            12, change=lambda row, n: row | {"age": 30 + n, "code": f"{n + 7:03}", "town": "Ulm" if n else ""}
        )
        file = tmp_path / "own.json"
        file.write_text(json.dumps(list(entries)))
        config = load_config({}, ["runtime.workers=1", f"data.expectations={file}"])
        clean = ingest(scan(config, store, path), config, store)
        return validate_samples(clean, config, store)

    return run


def entry(kind: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "severity": severity}


def test_expectations_that_are_met_change_nothing_but_the_docs(validate: Validate, store: Store) -> None:
    valid = validate(
        entry(BETWEEN, column="age", min_value=30, max_value=41),
        entry("expect_column_values_to_match_regex", column="code", regex=r"^\d{3}$"),
        entry("expect_column_values_to_be_in_set", column="label", value_set=["a", "b"]),
        entry("expect_column_values_to_not_be_null", column="town", mostly=0.9),
        entry("expect_column_mean_to_be_between", column="code", min_value=7, max_value=18),
    )
    assert not any("expect_" in warning for warning in valid.warnings)
    page = (store.path(valid.docs) / "index.html").read_text()
    assert page.count("expect_column_values_to_be_between[0]") == 1
    assert (store.path(valid.docs) / "own_as_text.html").is_file()


def test_a_broken_one_stops_the_run_and_names_rows(validate: Validate) -> None:
    with pytest.raises(DataError) as caught:
        validate(entry(BETWEEN, column="age", max_value=38))
    message = str(caught.value)
    assert message.startswith(
        f'own: expectation {BETWEEN}[0] ({{"column": "age", "max_value": 38}}) broken by 3 of 12 rows'
    )
    assert "for example s10, s11, s9" in message
    assert "\n" not in message


def test_a_broken_warning_is_said(validate: Validate) -> None:
    valid = validate(entry("expect_column_values_to_not_be_null", "warning", column="town"))
    assert [warning for warning in valid.warnings if "broken by 1 of 12 rows, for example s0;" in warning]


def test_changed_cells_are_judged_anew(validate: Validate) -> None:
    first = validate(entry(BETWEEN, column="age", max_value=50))
    assert validate(entry(BETWEEN, column="age", max_value=50)).uri == first.uri
    assert validate(entry(BETWEEN, column="age", max_value=51)).uri != first.uri


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            [entry("expect_column_values_to_be_lovely", column="age")],
            "not one of Great Expectations' core expectations",
        ),
        ([entry(BETWEEN, column="wage", min_value=1)], "no column 'wage' in the manifest; there are"),
        ([entry(BETWEEN, column="age", min_value=1, colour="red")], "its kwargs are not accepted"),
        ([entry(BETWEEN, column="age")], "its kwargs are not accepted"),
        ([entry("unexpected_rows_expectation", unexpected_rows_query="SELECT 1")], "String should match pattern"),
        ([entry("expect_query_results_to_match_comparison")], "not one of Great Expectations' core"),
        ([entry(BETWEEN, column="age", min_value=1, row_condition="@exit()")], "'row_condition' is not accepted"),
        ([entry(BETWEEN, column="age", min_value={"$PARAMETER": "now()"})], "entry 0.kwargs.min_value"),
        ([{"type": BETWEEN}], "entry 0.kwargs: Field required"),
        ([entry(BETWEEN, "fatal", column="age")], "entry 0.severity"),
        ([entry(BETWEEN, column="age", min_value=1)] * 501, "501 expectations; at most 500"),
    ],
)
def test_a_wrong_entry_is_a_usage_error_in_one_line(validate: Validate, entries: list[Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        validate(*entries)
    message = str(caught.value)
    assert words in message
    assert message.startswith("data.expectations=")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[", "not readable as JSON"),
        (b"\xff\xfe\x00", "not readable as JSON"),
        (b"[" * 100_000, "not readable as JSON"),
        (b'{"a": 1}', "entry list: Input should be a valid list"),
        (b" " * (1 << 20) + b"[]", "larger than 1 MB"),
        (None, "cannot be read (No such file"),
    ],
)
def test_a_wrong_file_is_a_usage_error(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "own.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CrossmodalError, match=r"^data\.expectations=") as caught:
        read_expectations(str(path))
    assert words in str(caught.value)
    assert (type(caught.value), "\n" in str(caught.value)) == (UsageError, False)
