"""Splits that never move, duplicates, contradictions, and what a retrain decodes anew."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data_contracts.refs import ChampionRef
from tasks import progress
from tasks.config import load_config
from tasks.config_sections import SplitConfig
from tasks.errors import TooManyQuarantined
from tasks.ingest import decode
from tasks.ingest.clean import mark_repeats
from tasks.ingest.ingest import ingest, ingest_key
from tasks.ingest.manifest.scan import scan
from tasks.ingest.sample_rows import Columns, Rows
from tasks.ingest.splits import assign_splits, describe_shares, hashed_share
from tasks.modeling.training_rows import ROWS, find_splits, write_rows
from tasks.samples import Samples
from tasks.store import Store

MakeData = Callable[..., Path]
IDS = [f"id{number}" for number in range(2000)]
NONE: list[str | None] = [None] * len(IDS)


def test_the_hash_never_changes() -> None:
    assert hashed_share("id:a") == pytest.approx(0.12393733681545648)


def test_shares_are_as_configured_and_rows_stay_when_others_come() -> None:
    config = SplitConfig(val=0.2, test=0.1)
    splits = assign_splits(NONE, NONE, IDS, config)
    assert splits.count("test") == pytest.approx(200, abs=40)
    assert splits.count("val") == pytest.approx(400, abs=60)
    assert assign_splits(NONE[:500], NONE[:500], IDS[:500], config) == splits[:500]


def test_a_hash_at_a_limit_is_on_its_upper_side() -> None:
    share = hashed_share("id:a")
    for config, side in ((SplitConfig(val=0.1, test=share), "val"), (SplitConfig(val=share, test=0.0), "train")):
        assert assign_splits([None], [None], ["a"], config) == [side]


def test_a_group_never_straddles_splits() -> None:
    groups = [f"speaker {number % 40}" for number in range(len(IDS))]
    for given in (NONE, [("test", "train", "train")[number % 40 % 3] for number in range(len(IDS))]):
        splits = assign_splits(given, groups, IDS, SplitConfig())
        assert len(set(zip(groups, splits, strict=True))) == 40
        assert set(splits) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (("train", "val", "test"), {"train": {"train"}, "val": {"val"}, "test": {"test"}}),
        (("train", "test"), {"train": {"train", "val"}, "test": {"test"}}),
        (("train",), {"train": {"train"}}),
        (("train", "val", None), {"train": {"train", "test"}, "val": {"val"}, None: {"train", "test"}}),
        (("train", "test", None), {"train": {"train", "val"}, "test": {"test"}, None: {"train", "val"}}),
        (("test", None), {"test": {"test"}, None: {"train", "val"}}),
    ],
)
def test_given_splits_stand_and_only_a_missing_val_is_carved(named: tuple[str | None, ...], expected: Any) -> None:
    given = [named[number % len(named)] for number in range(len(IDS))]
    found: dict[Any, set[str]] = {}
    for before, after in zip(given, assign_splits(given, NONE, IDS, SplitConfig()), strict=True):
        found.setdefault(before, set()).add(after)
    assert found == expected


def test_shuffling_and_adding_rows_changes_no_sample(make_data: MakeData, run_ingest: Any) -> None:
    without_ids = lambda row, n: {key: value for key, value in row.items() if key != "id"}  # noqa: E731
    path = make_data(20, change=without_ids)
    before = run_ingest(path)
    header, *lines = path.read_text().splitlines()
    random.Random(0).shuffle(lines)
    path.write_text("\n".join([header, *lines]))
    shuffled = run_ingest(path)
    assert shuffled.clean.sha256 == before.clean.sha256
    after = run_ingest(make_data(25, change=without_ids))
    splits = {key: row["split"] for key, row in after.samples.items()}
    assert {key: splits[key] for key in before.samples} == {key: row["split"] for key, row in before.samples.items()}
    assert len(after.samples) == 25


def test_a_moved_folder_is_the_same_data(make_data: MakeData, run_ingest: Any) -> None:
    one, other = run_ingest(make_data(4)), run_ingest(make_data(4, folder="elsewhere"))
    assert (one.raw.sha256, one.clean.sha256) == (other.raw.sha256, other.clean.sha256)


def test_exact_duplicates_and_contradictions(make_data: MakeData, run_ingest: Any) -> None:
    same = {"image": "img/0.png", "audio_path": "", "text": ""}
    other = {"image": "img/1.png", "audio_path": "", "text": ""}
    changes = [same, same, other, other, {}, same]
    path = make_data(6, labels=("a", "a", "a", "b", "c", "a"), change=lambda row, n: row | changes[n])
    done = run_ingest(path)
    assert done.reasons == {"s1": "duplicate", "s5": "duplicate", "s2": "conflicting-label", "s3": "conflicting-label"}
    assert (done.clean.counts.duplicates, done.clean.counts.quarantined) == (2, 2)
    assert "s0 (row 2)" in done.refused[0]["detail"]
    assert "a, b" in done.refused[1]["detail"]


def test_duplicates_are_no_reason_to_refuse_the_data(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(6, change=lambda row, n: row | ({"image": "img/0.png", "label": "a"} if n < 4 else {}))
    path.write_text(re.sub(r"snd/[0-3]\.wav,words of [0-3]", "snd/0.wav,words of 0", path.read_text()))
    counts = run_ingest(path, "data.max_quarantined=0").clean.counts
    assert (counts.used, counts.duplicates, counts.quarantined) == (3, 3, 0)
    path.write_text(path.read_text().replace("img/5.png", "img/none.png"))
    with pytest.raises(TooManyQuarantined, match=r"1 of 6 rows quarantined \(16\.7%; 1 missing-file\)"):
        run_ingest(path, "data.max_quarantined=0.16")
    assert run_ingest(path, "data.max_quarantined=0.17").clean.counts.quarantined == 1


@pytest.mark.parametrize("with_ids", [True, False])
def test_duplicates_on_two_sides_of_a_given_split_stay(make_data: MakeData, run_ingest: Any, with_ids: bool) -> None:
    splits = ["train", "train", "test", "val"]

    def change(row: dict[str, Any], number: int) -> dict[str, Any]:
        row = {"id": row["id"], "image": "img/0.png", "label": "a", "split": splits[number]}
        return row if with_ids else {key: value for key, value in row.items() if key != "id"}

    done = run_ingest(make_data(4, change=change))
    assert sorted(row["split"] for row in done.samples.values()) == ["test", "train", "val"]
    assert [row["reason"] for row in done.refused] == ["duplicate"]


def test_predict_keeps_unlabelled_repeated_and_contradictory_rows(make_data: MakeData, run_ingest: Any) -> None:
    def change(row: dict[str, Any], number: int) -> dict[str, Any]:
        image = ["img/0.png", "img/0.png", "img/0.png", "none.png"][number]
        return {"id": "same", "image": image, "label": ["a", "b", "", ""][number], "split": "nonsense", "weight": "x"}

    path = make_data(4, change=change)
    done = run_ingest(path, "data.max_quarantined=0.0", purpose="predict")
    assert done.clean.counts.used == 3
    assert [row["reason"] for row in done.refused] == ["missing-file"]


def test_predict_needs_no_label_column_and_does_not_mix_with_training(make_data: MakeData, store: Store) -> None:
    path = make_data(3, change=lambda row, n: {"id": row["id"], "image": row["image"]})
    config = load_config({}, ["runtime.workers=1"])
    raw = scan(config, store, path, "predict")
    assert ingest(raw, config, store, "predict").counts.used == 3
    assert ingest_key(raw, config) != ingest_key(raw, config, "predict")


def test_a_sample_of_the_rows_is_stable_and_in_proportion(make_data: MakeData, run_ingest: Any) -> None:
    def change(row: dict[str, Any], number: int) -> dict[str, Any]:
        split = "test" if number % 4 == 0 else "train"
        return {"id": row["id"], "image": row["image"], "label": "a", "split": split}

    path = make_data(40, change=change)
    done = run_ingest(path, "data.max_rows=20", "split.val=0")
    assert done.clean.splits == {"train": 15, "val": 0, "test": 5}
    assert "data.max_rows: 20 of 40 rows are used" in done.raw.notes
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(lines)]))
    assert set(run_ingest(path, "data.max_rows=20", "split.val=0").samples) == set(done.samples)
    smaller = run_ingest(path, "data.max_rows=8", "split.val=0")
    assert set(smaller.samples) < set(done.samples)
    assert set(run_ingest(path, "data.max_rows=400", "split.val=0").samples) == {f"s{n}" for n in range(40)}


def _decoded(run: Callable[[], object]) -> dict[str, int]:
    """What `run` decoded, per step, as reported."""
    totals: dict[str, int] = {}
    with progress.listening(lambda step, done, total, message: totals.__setitem__(step, total)):
        run()
    return {step: total for step, total in totals.items() if step.startswith("decode")}


def test_only_what_is_new_is_decoded(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(4)
    assert _decoded(lambda: run_ingest(path)) == {"decode image": 4, "decode audio": 4, "decode text": 4}
    assert _decoded(lambda: run_ingest(path)) == {}
    (path.parent / "img/1.png").write_bytes((make_data(9, folder="other").parent / "img/8.png").read_bytes())
    assert _decoded(lambda: run_ingest(path)) == {"decode image": 1}
    path.write_text(path.read_text().replace("img/2.png,snd/2.wav,words of 2,a", "img/2.png,snd/2.wav,words of 2,b"))
    assert _decoded(lambda: run_ingest(path)) == {}
    assert run_ingest(path).samples["s2"]["label"] == "b"


def test_a_bad_medium_is_not_tried_again(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(3)
    (path.parent / "img/0.png").write_text("no picture")
    assert run_ingest(path).reasons == {"s0": "unreadable-image"}
    path.write_text(path.read_text().replace("words of 1", "other words"))
    assert _decoded(lambda: run_ingest(path)) == {"decode text": 1}
    assert run_ingest(path).reasons == {"s0": "unreadable-image"}


def _children() -> set[str]:
    """Process ids."""
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


def test_ctrl_c_keeps_what_was_decoded_and_leaves_no_process(
    make_data: MakeData, run_ingest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_data(40)
    seen = 0

    def interrupt(writer: Any, outcome: Any, add: Any = decode.MediaWriter.add) -> None:
        nonlocal seen
        add(writer, outcome)
        seen += 1
        if seen == 10:
            raise KeyboardInterrupt

    before = _children()  # such as multiprocessing's resource tracker, which a test of before has started
    with monkeypatch.context() as patch:
        patch.setattr(decode.MediaWriter, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_ingest(path)
        assert _children() <= before
    again = _decoded(lambda: run_ingest(path))
    assert sum(again.values()) == 120 - 10


def test_odd_media_are_noted(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(3, change=lambda row, n: row | {"text": "x" * (5 + n)})
    assert "text: 1 samples, cut to 6 of 7 characters" in run_ingest(path, "media.max_text_chars=6").clean.notes


def test_an_id_on_two_sides_of_a_given_split_is_told_of(make_data: Any, run_ingest: Any) -> None:
    def change(row: dict[str, Any], number: int) -> dict[str, Any]:
        return row | {"split": ["train", "test"][number % 2], "id": f"s{number // 2}" if number < 4 else f"t{number}"}

    done = run_ingest(make_data(8, change=change))
    assert done.reasons == {"s0": "duplicate-id", "s1": "duplicate-id"}
    assert any(
        note.startswith("2 ids stand on two sides of the given split, for example s0, s1") for note in done.clean.notes
    )
    assert done.clean.counts.used == 6
    same = run_ingest(make_data(8, change=lambda row, n: row | {"split": "train", "id": f"s{n // 2}"}))
    assert not any("two sides" in note for note in same.clean.notes)


def test_repeats_that_contradict_each_other_in_a_further_label_column_are_refused() -> None:
    said = [("cat", '{"size":"1"}'), ("cat", '{"size":"2"}'), ("dog", None)]
    given: list[dict[str, Any]] = [
        {"id": f"s{n}", "row": n, "label": label, "targets": more, "split": None, "reason": None, "image_digest": "d"}
        for n, (label, more) in enumerate(said)
    ]
    columns = Columns(pa.Table.from_pylist([row | {"detail": None} for row in given]))
    rows = Rows(columns)
    mark_repeats(rows, columns, ("image",))
    assert [row["reason"] for row in rows] == ["conflicting-label"] * 3
    assert [row["duplicate_of"]["id"] for row in rows] == ["s1", "s0", "s0"]


def shares_of(splits: list[str]) -> dict[str, float]:
    return {split: splits.count(split) / len(splits) for split in ("train", "val", "test")}


@pytest.mark.parametrize(("groups", "size"), [(12, 50), (60, 15), (3, 10)])
def test_groups_are_placed_so_that_shares_come_near(groups: int, size: int) -> None:
    """By hash, 12 groups of 50 had no test rows in 15 % of the draws, and 60 of 15 had 3 % instead of 15 in some."""
    config = SplitConfig(by="stratified-group")
    for draw in range(8):
        named = [f"{draw} {number % groups}" for number in range(groups * size)]
        ids = [f"{draw}/{number}" for number in range(groups * size)]
        labels = [(f"c{number % groups % 3}",) for number in range(groups * size)]
        splits = assign_splits([None] * len(ids), named, ids, config, labels=labels)
        found = shares_of(splits)
        assert len(set(zip(named, splits, strict=True))) == groups
        assert min(found.values()) > 0
        if groups > 3:
            assert found == pytest.approx({"train": 0.7, "val": 0.15, "test": 0.15}, abs=0.5 / groups)
        if groups == 60:  # of 12 groups two are test, and there are three classes
            for of in ({"c0"}, {"c1"}, {"c2"}):
                sides = [side for side, (label,) in zip(splits, labels, strict=True) if label in of]
                assert shares_of(sides) == pytest.approx({"train": 0.7, "val": 0.15, "test": 0.15}, abs=0.05)


def test_only_new_groups_are_placed(tmp_path: Path) -> None:
    """A group that a published model was made with keeps its split, whatever comes, in whatever order, with other rows."""
    config = SplitConfig(by="stratified-group")
    for draw in range(2):
        ids = [f"{draw}/{number}" for number in range(600)]
        groups: list[str | None] = [f"{draw} g{number // 50}" if number >= 50 else None for number in range(600)]
        labels = [(f"c{number % 3}",) for number in range(600)]
        before = assign_splits([None] * 300, groups[:300], ids[:300], config, labels=labels[:300])
        write_rows(
            Samples(pa.table({"id": ids[:300], "split": before, "group": pa.array(groups[:300], pa.string())})),
            tmp_path / ROWS,
        )
        known = find_splits([*ids[:50], *(f"new {name}" for name in ids[50:])], groups, tmp_path)
        assert known == [*before, *[None] * 300]
        after = assign_splits([None] * 600, groups, ids, config, labels=labels, earlier=known)
        assert after[:300] == before
        assert shares_of(after) == pytest.approx({"train": 0.7, "val": 0.15, "test": 0.15}, abs=0.05)
        back = assign_splits([None] * 600, groups[::-1], ids[::-1], config, labels=labels[::-1], earlier=known[::-1])
        assert back == after[::-1], "in whatever order the manifest lists them"


def test_the_stage_keeps_the_splits_of_the_published_model(store: Store, tmp_path: Path) -> None:
    def run(groups: int, earlier: ChampionRef | None) -> dict[str, str]:
        lines = [f"{g}-{n},g{g},text {g} {n},c{(g + n) % 2}" for g in range(groups) for n in range(4 + g % 3)]
        path = tmp_path / f"{groups}.csv"
        path.write_text("id,group,text,label\n" + "\n".join(lines) + "\n")
        plain = ["runtime.workers=1", "media.timeout_s=600", "split.near_duplicates=false"]
        config = load_config({}, [*plain, "split.by=stratified-group"])
        raw = scan(config, store, path).model_copy(update={"earlier": earlier})
        samples = Samples.read(store.path(ingest(raw, config, store).uri))
        if earlier is None:
            store.path("champions/k").mkdir(parents=True, exist_ok=True)
            write_rows(samples, store.path("champions/k") / ROWS)
        assert (ingest_key(raw, config) == ingest_key(raw.model_copy(update={"earlier": None}), config)) is not bool(
            earlier
        )
        return {str(group): split for group, split in zip(samples.groups, samples.splits, strict=True)}

    before = run(9, None)
    champion = ChampionRef(uri="champions/k", sha256="0" * 64, rows=0, name="m", version="1", model_sha256="0" * 64)
    after = run(20, champion)
    assert {group: split for group, split in after.items() if group in before} == before
    assert set(after.values()) == {"train", "val", "test"}


def test_a_near_duplicate_of_a_train_row_is_of_train() -> None:
    config = SplitConfig(by="stratified-group")
    clusters = [0 if number in (3, 90) else None for number in range(100)]
    known = ["train" if number == 3 else "test" if number == 90 else None for number in range(100)]
    splits = assign_splits([None] * 100, [None] * 100, IDS[:100], config, None, clusters, None, known)  # type: ignore[arg-type]
    assert (splits[3], splits[90]) == ("train", "train")


def test_shares_that_are_off_by_a_third_are_noted() -> None:
    nothing: list[str | None] = [None] * 100
    of_test = lambda count: ["test"] * count + ["val"] * 15 + ["train"] * (85 - count)  # noqa: E731
    groups = [f"g{number // 10}" for number in range(100)]
    assert describe_shares(of_test(15), nothing, groups, SplitConfig()) == []
    assert describe_shares(of_test(11), nothing, groups, SplitConfig()) == []
    for count in (3, 10, 20):
        assert describe_shares(of_test(count), nothing, groups, SplitConfig()) == [
            f"split: of the rows are {count}.0% test (split.test = 0.15) and 15.0% val (split.val = 0.15), of 10 groups "
            "divided by split.by=hash: few fall unevenly; split.by=stratified-group brings the shares near"
        ]
    assert "of 100 rows divided by" in describe_shares(of_test(3), nothing, nothing, SplitConfig())[0]
    assert describe_shares(of_test(3), ["test", *nothing[1:]], groups, SplitConfig()) == [], "the manifest's own"
    assert describe_shares([], [], [], SplitConfig()) == []
