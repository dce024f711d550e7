"""Several columns of one modality: found by name or by the config, read apart, decoded once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.config import EncodersConfig, load_config
from tasks.errors import UsageError
from tasks.extract.extract import collect_features, extract_shard, plan_shards
from tasks.ingest.manifest.columns import find_columns
from tasks.store import Store
from tests.support.data import TINY

Columns = dict[str, str]


def _find(*names: str, **mapped: Any) -> Columns:
    config = load_config({"data": {"columns": mapped}})
    return find_columns(names, config.data, EncodersConfig(), "m.csv").media


@pytest.mark.parametrize(
    ("names", "mapped", "found"),
    [
        (("image", "image_2", "label"), {}, {"image": "image", "image_2": "image_2"}),
        (("img", "IMG_2", "image_3_path"), {}, {"image": "img", "image_2": "IMG_2", "image_3": "image_3_path"}),
        (("text", "text_2_path"), {}, {"text": "text", "text_2": "text_2_path"}),
        (("image_2", "audio"), {}, {"image_2": "image_2", "audio": "audio"}),
        (("image", "image_9", "image_1"), {}, {"image": "image"}),
        (("front", "back"), {"image": ["front", "back"]}, {"image": "front", "image_2": "back"}),
        (("front", "text"), {"image": ["front"]}, {"image": "front", "text": "text"}),
        (("front", "image_2"), {"image": "front"}, {"image": "front"}),
        (("image_2", "image"), {"image": "image_2"}, {"image": "image_2"}),
        (("1", "2"), {"audio": [1, 2]}, {"audio": "1", "audio_2": "2"}),
    ],
)
def test_inputs_are_found(names: tuple[str, ...], mapped: dict[str, Any], found: Columns) -> None:
    assert _find(*names, **mapped) == found


@pytest.mark.parametrize(
    ("mapped", "message"),
    [
        (["front", "front"], "'data.columns'.*: image names a column twice, or holds an empty name: 'front', 'front'"),
        (["", "back"], "holds an empty name: '', 'back'"),
        ([], "image names no column; leave it out, or set encoders.image=off"),
        ([f"c{n}" for n in range(9)], "names 9 columns, at most 8 are read"),
        ([None, "back"], "data.columns.image"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(mapped: list[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        load_config({}, [f"data.columns.image={json.dumps(mapped)}"])
    assert "\n" not in str(error.value)


def test_a_named_column_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"data.columns.image='bakc': manifest m.csv has no such column; did you mean 'b"
    ):
        _find("front", "back", image=["front", "bakc"])


def _two(row: dict[str, Any], number: int) -> dict[str, Any]:
    """Every row has the next one's picture as its second, the first none; and a second text."""
    row |= {
        "image_2": f"img/{(number + 1) % 12}.png" if number else "",
        "text_2": f"more of {number}",
        "label": "ab"[number % 2],
    }
    return row


def test_each_input_is_read_and_every_medium_decoded_once(make_data: Callable[..., Path], run_ingest: Any) -> None:
    found = run_ingest(make_data(change=_two))
    assert found.raw.modalities == ("image", "image_2", "text", "text_2", "audio")
    assert found.clean.columns["image_2"] == "image_2"
    rows = found.samples
    assert rows["s0"]["image_2"] is None
    assert rows["s1"]["image_2"] == rows["s2"]["image"]
    assert rows["s1"]["text_2"] != rows["s1"]["text"]
    assert found.clean.media["image"] == found.clean.media["image_2"]


def test_a_medium_in_two_columns_is_decoded_and_encoded_once(
    make_data: Callable[..., Path], run_ingest: Any, store: Store
) -> None:
    found = run_ingest(make_data(change=_two))
    config = load_config({}, TINY)
    shards = plan_shards(found.clean, config, store)
    assert {shard.modality: shard.rows for shard in shards} == {"image": 12, "text": 24, "audio": 12}
    for shard in shards:
        extract_shard(shard, store)
    features = collect_features(found.clean, config, store, shards)
    assert list(features) == list(found.raw.modalities)
    assert features["image"].parts == features["image_2"].parts
    assert (features["image"].computed, features["image_2"].computed) == (12, 11)
    assert not plan_shards(found.clean, config, store)


def test_a_second_column_that_cannot_be_read_names_itself(make_data: Callable[..., Path], run_ingest: Any) -> None:
    def broken(row: dict[str, Any], number: int) -> dict[str, Any]:
        return row | {"image_2": f"img/{number + 1}.png" if number < 9 else "nowhere.png"}

    found = run_ingest(make_data(change=broken))
    refused = [(row["id"], row["modality"], row["path"], row["reason"]) for row in found.refused]
    assert refused[0] == ("s9", "image_2", "nowhere.png", "missing-file")
    all_broken = make_data(change=lambda row, number: row | {"image_2": "nowhere.png" if number else ""}, folder="none")
    found = run_ingest(all_broken)
    assert "image_2" not in found.raw.modalities
    assert {(row["modality"], row["path"]) for row in found.refused} == {("image_2", "nowhere.png")}


def test_an_empty_further_column_changes_nothing(make_data: Callable[..., Path], run_ingest: Any) -> None:
    def without_id(row: dict[str, Any], number: int) -> dict[str, Any]:
        del row["id"]
        return row

    plain = run_ingest(make_data(change=without_id))
    empty = run_ingest(make_data(change=lambda row, number: without_id(row, number) | {"image_2": ""}, folder="empty"))
    assert empty.raw.modalities == plain.raw.modalities
    assert "column 'image_2' is empty and is left out" in empty.clean.notes
    assert (empty.raw.sha256, empty.clean.sha256) == (plain.raw.sha256, plain.clean.sha256)


def test_rows_without_an_id_keep_theirs_when_a_column_is_added(make_data: Callable[..., Path], run_ingest: Any) -> None:
    def without_id(row: dict[str, Any], number: int) -> dict[str, Any]:
        del row["id"]
        return row | ({"image_2": f"img/{number + 1}.png" if number == 3 else ""} if "more" in folder else {})

    folder = "plain"
    before = set(run_ingest(make_data(change=without_id, folder=folder)).samples)
    folder = "more"
    after = set(run_ingest(make_data(change=without_id, folder=folder)).samples)
    assert len(before) == len(after) == 12
    assert len(before & after) == 11


def test_equal_first_pictures_with_other_second_ones_are_different_samples(
    make_data: Callable[..., Path], run_ingest: Any
) -> None:
    def same_first(row: dict[str, Any], number: int) -> dict[str, Any]:
        return {
            "id": row["id"],
            "image": "img/0.png",
            "image_2": f"img/{number // 2}.png",
            "label": "ab"[number // 2 % 2],
        }

    found = run_ingest(make_data(change=same_first))
    assert len(found.samples) == 6
    assert set(found.reasons.values()) == {"duplicate"}


@pytest.mark.parametrize(("column", "count"), [("text_2", 1), ("image_2", 2)])
def test_sharing_wants_two_inputs(make_data: Callable[..., Path], run_ingest: Any, column: str, count: int) -> None:
    def second(row: dict[str, Any], number: int) -> dict[str, Any]:
        return row | {column: f"img/{number + 1}.png" if number < 11 else ""}

    path, share = make_data(change=second), 'encoders.shared=["image"]'
    if count == 2:
        assert "image_2" in run_ingest(path, share).raw.modalities
        return
    with pytest.raises(
        UsageError, match=r"encoders.shared names 'image', and data .* fills 1 image columns; two are needed"
    ):
        run_ingest(path, share)
    assert run_ingest(path, share, purpose="predict").clean.rows == 12


def test_a_kind_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(UsageError, match=r"encoders\.share"):
        load_config({}, ['encoders.shared=["images"]'])
    assert load_config({}, ['encoders.shared=["text","image","text"]']).encoders.shared == ("image", "text")


def test_a_prediction_does_without_some_of_the_columns_that_are_named(
    make_data: Callable[..., Path], run_ingest: Any
) -> None:
    def back_only(row: dict[str, Any], number: int) -> dict[str, Any]:
        return {"id": row["id"], "back": row["image"], "label": row["label"]}

    path, named = make_data(change=back_only), 'data.columns.image=["front","back"]'
    found = run_ingest(path, named, purpose="predict")
    assert found.raw.modalities == ("image_2",)
    assert "no column 'front': image is missing in every row" in found.clean.notes
    with pytest.raises(UsageError, match=r"data\.columns\.image='front': manifest .* has no such column"):
        run_ingest(path, named)
    with pytest.raises(UsageError, match=r"data\.columns\.image='left'"):
        run_ingest(path, 'data.columns.image=["left","right"]', purpose="predict")
