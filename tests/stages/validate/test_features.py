"""Good features pass; a corrupted one breaks exactly the expectation that is meant to see it, with the sample's id."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.expectations.features import FeatureSpec, features_expectations
from data_contracts.refs import FeatureRef, InputName
from tasks.config import load_config
from tasks.errors import DataError
from tasks.validate import validate as validate_module
from tasks.validate.validate import feature_spec, validate_features, validate_samples
from tests.support.spoiled_samples import CONFIG, MODALITIES, Bench, good_features, good_rows

Rows = list[dict[str, Any]]


def with_value(value: float, place: int = 3) -> Callable[[Rows], None]:
    def spoil(rows: Rows) -> None:
        rows[place]["values"][5] = value

    return spoil


def lost(rows: Rows) -> None:
    del rows[3:5]


def contradicted(rows: Rows) -> None:
    rows += [{**rows[3], "values": [0.0, *rows[3]["values"][1:]]}]


def stored_twice(rows: Rows) -> None:
    rows += [dict(rows[3])]


def narrow(rows: Rows) -> None:
    rows[3].update(shape=[20, 32], values=rows[3]["values"][: 20 * 32])


def cut(rows: Rows) -> None:
    rows[3]["values"] = rows[3]["values"][:-7]


def too_long(rows: Rows) -> None:
    rows[3].update(shape=[1001, 64], values=[float(i % 5) for i in range(1001 * 64)])


def flat(rows: Rows) -> None:
    rows[3]["values"] = [0.5] * len(rows[3]["values"])


def alike(rows: Rows) -> None:
    rows[4]["values"] = rows[3]["values"]


def as_is(rows: Rows) -> None:
    """Only the type is wrong."""


CRITICAL: dict[str, tuple[Callable[[Rows], None], str, str]] = {
    "feature_present": (lost, "2 of 36", "s03, s04"),
    "feature_unambiguous": (contradicted, "1 of 36", "s03"),
    "feature_dtype": (as_is, "36 of 36", "s00, s01, s02, s03, s04"),
    "feature_shape": (narrow, "1 of 36", "s03"),
    "feature_complete": (cut, "1 of 36", "s03"),
    "feature_length": (too_long, "1 of 36", "s03"),
    "feature_finite": (with_value(math.nan), "1 of 36", "s03"),
}
WARNINGS: dict[str, tuple[Callable[[Rows], None], str, str]] = {
    "feature_unique": (stored_twice, "1 of 36", "s03"),
    "feature_lowest": (with_value(-40.0), "1 of 36", "s03"),
    "feature_highest": (with_value(40.0), "1 of 36", "s03"),
    "feature_distinct": (alike, "2 of 36", "s03, s04"),
    "feature_varied": (flat, "1 of 36", "s03"),
}


def check_audio(bench: Bench, rows: Rows, dtype: str | None = None) -> list[str]:
    valid = validate_samples(bench.clean(good_rows()), CONFIG, bench.store)
    return validate_features(valid, {"audio": bench.features("audio", rows, dtype)}, CONFIG, bench.store)["warnings"]


def broken(bench: Bench) -> set[str]:
    found = [
        *bench.store.path("refusals").glob("*/result.json"),
        *bench.store.path("validations").glob("*/result.json"),
    ]
    items = [item for path in found for item in json.loads(path.read_text())["expectations"]]
    return {item["name"] for item in items if not item["success"]}


def test_with_splits_only_features_of_their_rows_are_looked_for(bench: Bench) -> None:
    valid = validate_samples(bench.clean(good_rows()), CONFIG, bench.store)
    rows = [row for place, row in enumerate(good_features("audio")) if place in range(24, 29)]
    rows[0]["values"][5] = math.nan
    features: dict[InputName, FeatureRef] = {"audio": bench.features("audio", rows)}
    with pytest.raises(DataError, match=r"feature_present.* 6 of 6"):
        validate_features(valid, features, CONFIG, bench.store, splits=("test",))
    with pytest.raises(DataError, match=r"feature_present.* 1 of 6 .*s29"):
        validate_features(valid, features, CONFIG, bench.store, splits=("val",))
    rows = good_features("audio")[24:30]
    features = {"audio": bench.features("audio", rows)}
    check = validate_features(valid, features, CONFIG, bench.store, splits=("val",))
    assert (check["rows"], check["warnings"]) == ({"audio": 6}, [])


def test_good_features_of_every_modality_pass(bench: Bench) -> None:
    valid = validate_samples(bench.clean(good_rows()), CONFIG, bench.store)
    features: dict[InputName, FeatureRef] = {name: bench.features(name, good_features(name)) for name in MODALITIES}
    check = validate_features(valid, features, CONFIG, bench.store)
    assert check["warnings"] == []
    assert check["rows"] == {"image": 36, "text": 28, "audio": 36}
    assert check == validate_features(valid, features, CONFIG, bench.store) == json.loads(json.dumps(check))
    pages = {path.name for path in bench.store.path(check["docs"]).iterdir()}
    assert pages == {"index.html", "image_features.html", "text_features.html", "audio_features.html"}


def test_every_expectation_has_a_corruption() -> None:
    expectations = features_expectations(feature_spec("audio", CONFIG))
    names = {expectation.meta["name"]: expectation.severity for expectation in expectations}
    assert names == dict.fromkeys(CRITICAL, "critical") | dict.fromkeys(WARNINGS, "warning")


@pytest.mark.parametrize("name", CRITICAL)
def test_a_broken_critical_expectation_refuses_the_features(bench: Bench, name: str) -> None:
    spoil, extent, examples = CRITICAL[name]
    rows = good_features("audio")
    spoil(rows)
    if name == "feature_dtype":
        rows = [{**row, "values": [int(value) for value in row["values"]]} for row in rows]
    with pytest.raises(DataError) as caught:
        check_audio(bench, rows, "int32" if name == "feature_dtype" else None)
    message = str(caught.value)
    assert message.startswith(f"audio_features: expectation {name} (")
    assert f"broken by {extent} rows, for example {examples};" in message
    assert broken(bench) - {"feature_unique"} == {name}  # contradicting copies are also copies
    assert len(list(bench.store.path("validations").iterdir())) == 1  # the samples'


@pytest.mark.parametrize("name", WARNINGS)
def test_a_broken_warning_is_said(bench: Bench, name: str) -> None:
    spoil, extent, examples = WARNINGS[name]
    rows = good_features("audio")
    spoil(rows)
    [warning] = check_audio(bench, rows)
    assert warning.startswith(f"audio_features: expectation {name} (")
    assert f"broken by {extent} rows, for example {examples};" in warning
    assert broken(bench) == {name}


def test_features_that_no_sample_needs_are_not_looked_at(bench: Bench) -> None:
    stray = {"digest": "f" * 64, "shape": [20, 64], "values": [math.nan] * 1280}
    assert check_audio(bench, [*good_features("audio"), stray]) == []


def test_an_infinite_value_is_not_finite(bench: Bench) -> None:
    rows = good_features("audio")
    rows[0]["values"] = [math.inf] * 1280
    with pytest.raises(DataError, match="feature_finite"):
        check_audio(bench, rows)


def test_the_picture_has_the_configured_side(bench: Bench) -> None:
    valid = validate_samples(bench.clean(good_rows()), CONFIG, bench.store)
    rows = good_features("image")
    rows[0].update(shape=[16, 64, 3])
    with pytest.raises(DataError, match=r"feature_shape \(shapes match \^32x32x3\$\) broken by 1 of 36 rows"):
        validate_features(valid, {"image": bench.features("image", rows)}, CONFIG, bench.store)


# -- embeddings ---


EMBEDDING = FeatureSpec(
    "image", "float32", "^8$", None, -100, 100, may_be_constant=True, norms=(0.01, 1000), columns_vary=True
)


def check_embeddings(bench: Bench, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Rows], None]) -> list[str]:
    """What is said of 36 vectors of 8 numbers."""
    rng = np.random.default_rng(3)
    rows = [row | {"shape": [8], "values": rng.normal(size=8).tolist()} for row in good_features("image")]
    spoil(rows)
    monkeypatch.setattr(validate_module, "feature_spec", lambda modality, config: EMBEDDING)
    valid = validate_samples(bench.clean(good_rows()), CONFIG, bench.store)
    return validate_features(valid, {"image": bench.features("image", rows, "float32")}, CONFIG, bench.store)[
        "warnings"
    ]


def dead_column(rows: Rows) -> None:
    for row in rows:
        row["values"][6] = 0.25


def zeros(rows: Rows) -> None:
    rows[3]["values"] = [0.0] * 8


def test_good_embeddings_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_embeddings(bench, monkeypatch, lambda rows: None) == []


@pytest.mark.parametrize(
    ("spoil", "output"),
    [
        (zeros, r"image_features: expectation feature_norm \(.*broken by 1 of 36 rows, for example s03;"),
        (dead_column, r"image_columns: expectation column_varied \(.*broken by 1 of 8 rows, for example column 6;"),
    ],
)
def test_embeddings_of_no_norm_and_dead_columns_are_told_of(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Rows], None], output: str
) -> None:
    [warning] = check_embeddings(bench, monkeypatch, spoil)
    assert re.search(output, warning)


def test_embeddings_have_the_encoders_width_and_may_differ_in_rounding(squeezenet: Path, bert: Path) -> None:
    overrides = [f"encoders.image=torchvision:squeezenet1_1@{squeezenet}", f"encoders.text=hf:{bert}"]
    frozen = load_config({}, overrides)
    image, text = (feature_spec(name, frozen) for name in ("image", "text"))
    assert [(spec.dtype, spec.shape) for spec in (image, text)] == [("float32", "^512$"), ("float32", "^32$")]
    severities = {e.meta["name"]: e.severity for e in features_expectations(image)}
    assert severities["feature_unambiguous"] == "warning"
    assert severities["feature_finite"] == "critical"
    trained = load_config({}, [*overrides, "train.regime=full", "encoders.image_px=48", "extract.max_tokens=16"])
    image, text = (feature_spec(name, trained) for name in ("image", "text"))
    assert (image.dtype, image.shape) == ("uint8", "^48x48x3$")
    assert (text.dtype, text.longest) == ("int32", 16)
