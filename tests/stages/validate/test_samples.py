"""A good table passes; a corrupted row breaks exactly the expectation that is meant to see it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_contracts.expectations.samples import known_labels, samples_expectations
from data_contracts.tables import samples_schema
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.validate.validate import validate_samples
from tests.support.spoiled_samples import CONFIG, LABELS, MODALITIES, Bench, good_rows

Rows = list[dict[str, Any]]


def setting(column: str, value: Any, *places: int) -> Callable[[Rows], None]:
    def spoil(rows: Rows) -> None:
        for place in places:
            rows[place][column] = value

    return spoil


def without(column: str) -> Callable[[Rows], None]:
    def spoil(rows: Rows) -> None:
        for row in rows:
            del row[column]

    return spoil


def no_train(rows: Rows) -> None:
    for row in rows:
        row["split"] = "val" if row["split"] == "train" else row["split"]


def empty_row(rows: Rows) -> None:
    rows[3].update(image=None, text=None, audio=None)


def rare_owls(rows: Rows) -> None:
    rows += [{**good_rows()[0], "id": f"more{i}", "image": None, "text": "0" * 63 + str(i % 10)} for i in range(2)]
    for row in rows[:-1]:
        row["label"] = "cat" if row["label"] == "owl" else row["label"]
    rows[-1] |= {"label": "owl", "split": "test"}  # a class without a test row is another warning


CRITICAL = {
    "columns_complete": (without("row"), "no column row", ()),
    "id_given": (setting("id", None, 3), "1 of 36", ()),
    "id_unique": (setting("id", "s04", 3), "2 of 36", ("s04",)),
    "split_given": (setting("split", None, 3), "1 of 36", ("s03",)),
    "split_known": (setting("split", "dev", 3, 9), "2 of 36", ("s03", "s09")),
    "train_rows": (no_train, "observed 0", ()),
    "weight_given": (setting("weight", None, 3), "1 of 36", ("s03",)),
    "weight_positive": (setting("weight", 0.0, 3, 4, 5, 6, 7, 8, 9), "7 of 36", ("s03", "s04", "s05", "s06", "s07")),
    "label_given": (setting("label", None, 3), "1 of 36", ("s03",)),
    "label_known": (setting("label", "emu", 3, 4), "2 of 36", ("s03", "s04")),
    "modality_present": (empty_row, "1 of 36", ("s03",)),
    "image_digest": (setting("image", "cat.png", 3), "1 of 36", ("s03",)),
    "text_digest": (setting("text", "A" * 64, 3), "1 of 36", ("s03",)),
    "audio_digest": (setting("audio", "", 3), "1 of 36", ("s03",)),
}
WARNINGS = {
    "class_balance": (rare_owls, "1 of 38", ("more1",)),
    "image_missing": (setting("image", None, *range(20)), "20 of 36", ("s00", "s01", "s02", "s03", "s04")),
    "text_missing": (setting("text", None, *range(20)), " of 36", ("s00", "s01", "s02", "s03", "s04")),
    "audio_missing": (setting("audio", None, *range(20)), "20 of 36", ("s00", "s01", "s02", "s03", "s04")),
}


def broken(bench: Bench, folder: str) -> list[str]:
    [result] = bench.store.path(folder).glob("*/result.json")
    return [item["name"] for item in json.loads(result.read_text())["expectations"] if not item["success"]]


def test_good_samples_pass_unchanged(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    clean = bench.clean(good_rows())
    valid = validate_samples(clean, CONFIG, bench.store)
    assert (valid.rows, valid.warnings, valid.clean) == (36, (), clean)
    stored = bench.store.path(valid.uri) / "samples.parquet"
    assert stored.read_bytes() == (bench.store.path(clean.uri) / "samples.parquet").read_bytes()
    assert (bench.store.path(valid.docs) / "index.html").is_file()
    assert broken(bench, "validations") == []
    assert capfd.readouterr() == ("", "")  # no progress bar, no greeting
    assert list(bench.store.path("tmp").iterdir()) == []


def test_every_expectation_has_a_corruption() -> None:
    names = {
        expectation.meta["name"]: expectation.severity
        for expectation in samples_expectations(known_labels(LABELS), MODALITIES)
    }
    assert names == dict.fromkeys(CRITICAL, "critical") | dict.fromkeys(WARNINGS, "warning")


@pytest.mark.parametrize("name", CRITICAL)
def test_a_broken_critical_expectation_refuses_the_table(bench: Bench, name: str) -> None:
    spoil, extent, examples = CRITICAL[name]
    rows = good_rows()
    spoil(rows)
    with pytest.raises(DataError) as caught:
        validate_samples(bench.clean(rows), CONFIG, bench.store)
    message = str(caught.value)
    assert message.startswith(f"samples: expectation {name} (")
    assert extent in message
    assert "\n" not in message
    named = message.partition(", for example ")[2].partition(";")[0]
    assert tuple(filter(None, named.split(", "))) == examples
    assert broken(bench, "refusals") == [name]
    assert not bench.store.path("validations").exists()


@pytest.mark.parametrize("name", WARNINGS)
def test_a_broken_warning_is_said(bench: Bench, name: str) -> None:
    spoil, extent, examples = WARNINGS[name]
    rows = good_rows()
    spoil(rows)
    valid = validate_samples(bench.clean(rows), CONFIG, bench.store)
    [warning] = valid.warnings
    assert warning.startswith(f"samples: expectation {name} (")
    assert extent in warning
    assert f"for example {', '.join(examples)};" in warning
    assert broken(bench, "validations") == [name]


@pytest.mark.parametrize("column", samples_schema().names)
def test_a_missing_column_is_named_first(bench: Bench, column: str) -> None:
    rows = good_rows()
    without(column)(rows)
    with pytest.raises(DataError, match=rf"^samples: expectation columns_complete \(.*\) observed no column {column};"):
        validate_samples(bench.clean(rows), CONFIG, bench.store)


def test_a_table_without_rows_has_no_train_rows(bench: Bench) -> None:
    clean = bench.clean(good_rows())
    path = bench.store.path(clean.uri) / "samples.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(DataError, match=r"expectation train_rows .* observed 0;"):
        validate_samples(clean, CONFIG, bench.store)


def test_infinite_weights_are_refused(bench: Bench) -> None:
    rows = good_rows()
    rows[3]["weight"] = math.inf
    with pytest.raises(DataError, match="weight_positive"):
        validate_samples(bench.clean(rows), CONFIG, bench.store)


def test_refused_twice_is_refused_alike(bench: Bench) -> None:
    rows = good_rows()
    rows[3]["label"] = "emu"
    messages = []
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            validate_samples(bench.clean(rows), CONFIG, bench.store)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_stored_validation_is_reused_with_the_clean_ref_given(bench: Bench) -> None:
    clean = bench.clean(good_rows())
    first = validate_samples(clean, CONFIG, bench.store)
    noted = clean.model_copy(update={"notes": ("text: left out",)})
    again = validate_samples(noted, CONFIG, bench.store)
    assert again.clean.notes == ("text: left out",)
    assert again == first.model_copy(update={"clean": noted})
    assert (
        validate_samples(clean, RunConfig.model_validate({"split": {"leakage": "drop"}}), bench.store).uri != first.uri
    )


def test_a_store_hit_imports_neither_great_expectations_nor_pandas(bench: Bench) -> None:
    clean = bench.clean(good_rows())
    validate_samples(clean, CONFIG, bench.store)
    script = (
        "import sys\n"
        "from data_contracts.refs import CleanRef\n"
        "from tasks.config import RunConfig\n"
        "from tasks.store import Store\n"
        "from tasks.validate.validate import validate_samples\n"
        "valid = validate_samples(CleanRef.model_validate_json(sys.argv[1]), RunConfig(), Store(sys.argv[2]))\n"
        "print(valid.rows, [name for name in ('great_expectations', 'pandas', 'torch') if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", script, clean.model_dump_json(), str(bench.store.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "36 []\n"
