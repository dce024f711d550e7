"""Data sets as their authors publish them: each is read with its right value, or refused with the setting that reads it."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tasks.config import load_config
from tasks.errors import CrossmodalError
from tasks.ingest.manifest.source import open_sources
from tasks.ingest.sources.detect import open_manifest
from tasks.ingest.sources.limits import ReadLimits
from tests.support.data import write_manifest, write_picture

WORDS = ("alpha beta gamma", "delta epsilon zeta", "eta theta iota", "kappa lambda my")


def say(number: int) -> str:
    return f"{WORDS[number % 4]} and then {WORDS[number // 4 % 4]} until {number}"


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def pictures(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        write_picture(root / name, number)
    return root


def rows_of(path: Path, *overrides: str) -> list[dict[str, Any]]:
    """The values of all rows that are readable, of all tables."""
    sources = open_sources(path, load_config({}, list(overrides)), "train")
    return [row.values for source in sources for row in source.manifest.rows if row.reason is None]


def notes_of(path: Path, *overrides: str) -> str:
    sources = open_sources(path, load_config({}, list(overrides)), "train")
    return " | ".join(note for source in sources for note in source.manifest.notes)


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(CrossmodalError) as refused:
        open_sources(path, load_config({}, list(overrides)), "train")
    return str(refused.value)


def proposed(said: str) -> list[str]:
    """The settings that a refusal writes out."""
    words = shlex.split(said)
    return [word.rstrip(";") for before, word in itertools.pairwise(words) if before == "--set"]


# -- tables whose first line is a row ---


@pytest.mark.parametrize(
    ("name", "line", "header"),
    [
        ("SMSSpamCollection", "{label}\t{text} £", ["label", "text"]),
        ("training.csv", '"{label}","{n}","Mon Apr 06","NO_QUERY","u{n}","{text}"',
         ["label", "column_2", "column_3", "column_4", "column_5", "text"]),
        ("metadata.csv", "LJ{n}|{text}|{label}", ["column_1", "text", "label"]),
        ("import.csv", "TRAIN,gs://bucket/{n}.jpg,{label}", ["split", "image", "label"]),
        ("liar.tsv", "{n}.json\t{label}\tSays {text}\t\tTexas", ["column_1", "label", "text", "column_4", "column_5"]),
        ("train.lst", "{n}\t{n}.0\tpics/{n}.jpg\t{label}", ["column_1", "column_2", "image", "label"]),
    ],
)  # fmt: skip
def test_names_for_the_columns_are_proposed_and_read(tmp_path: Path, name: str, line: str, header: list[str]) -> None:
    lines = [line.format(n=n, text=say(n), label=("ham", "spam")[n % 2]) for n in range(40)]
    path = put(tmp_path / name, "\n".join(lines) + "\n", "latin-1")
    (setting,) = [word for word in proposed(refusal(path)) if word.startswith("data.csv.header=")]
    assert setting == f"data.csv.header={json.dumps(header)}"
    found = rows_of(path, setting)
    assert (len(found), list(found[0]), found[0]["label"]) == (40, header, "ham")
    assert "its columns are named by data.csv.header, and its first line is a row" in notes_of(path, setting)


def test_a_header_that_does_not_fit_is_told(tmp_path: Path) -> None:
    path = put(tmp_path / "m.csv", "a,b,x\nc,d,y\n")
    ((manifest, _),) = open_manifest(
        path, ReadLimits(csv=load_config({}, ['data.csv.header=["text","label"]']).data.csv)
    )
    assert [row.detail for row in manifest.rows] == [
        f"line {line}: 3 cells, data.csv.header has 2" for line in (1, 2)
    ]  # fmt: skip


def test_titles_above_the_header_are_left_out(tmp_path: Path) -> None:
    path = put(tmp_path / "m.csv", 'Report "2024\n\ntext,label\na,b\n')
    assert "data.csv.skiprows" in refusal(path)
    assert rows_of(path, "data.csv.skiprows=2") == [{"text": "a", "label": "b"}]
    ((manifest, _),) = open_manifest(path, ReadLimits(csv=load_config({}, ["data.csv.skiprows=1"]).data.csv))
    assert [row.number for row in manifest.rows] == [4]  # its line in the file


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("m.csv", '"text","label"\n"1","a, b","x"\n"2","c","y"\n"9","d","x"\n', []),
        ("m.tsv", "text\tlabel\n1\ta, b\tx\n2\tc\ty\n9\td\tx\n", []),
        ("m.txt", '"text" "label"\n"1" "a, b" "x"\n"2" "c" "y"\n"9" "d" "x"\n', ["data.csv.delimiter= "]),
    ],
)
def test_row_names_of_r(tmp_path: Path, name: str, text: str, settings: list[str]) -> None:
    path = put(tmp_path / name, text)
    assert rows_of(path, *settings) == [
        {"text": "a, b", "label": "x"}, {"text": "c", "label": "y"}, {"text": "d", "label": "x"}
    ]  # fmt: skip
    assert "their first cells are row names, as R writes them" in notes_of(path, *settings)


@pytest.mark.parametrize(
    "text", ["id,text\n1,a, b\n2,c, d\n3,e, f\n", "city,label\nRome, It,x\nOslo, No,y\nBern, Ch,x\n"]
)
def test_texts_with_the_delimiter_are_no_row_names(tmp_path: Path, text: str) -> None:
    ((manifest, _),) = open_manifest(put(tmp_path / "m.csv", text))
    assert [row.reason for row in manifest.rows] == ["ragged-row"] * 3


def test_null_of_a_dump_is_an_empty_cell(tmp_path: Path, run_ingest: Any) -> None:
    text = "id,text,label,group\n" + "".join(
        f"{n},{say(n)},{'ab'[n % 2] if n else chr(92) + 'N'},{chr(92)}N\n" for n in range(40)
    )
    done = run_ingest(put(tmp_path / "m.csv", text))
    assert done.reasons == {"0": "missing-label"}
    assert set(done.clean.splits.values()) != {0, 39}  # no group of all rows
    assert "41 cells hold \\N, as databases write NULL, and are empty" in " ".join(done.clean.notes)
    escaped = put(tmp_path / "e.csv", 'id,text,label\n1,"say \\"a, b\\"",\\N\n\\N,\\N,x\n')
    assert rows_of(escaped)[0] == {"id": "1", "text": 'say "a, b"', "label": ""}
    assert rows_of(escaped)[1] == {"id": "", "text": "", "label": "x"}


def test_a_text_that_is_kept_from_excel_is_itself(tmp_path: Path) -> None:
    path = put(tmp_path / "m.csv", 'id,text,label\n="0042",a,="01"\n"=""0043""",b,"x ""y"""\n')
    assert [[*row.values()] for row in rows_of(path)] == [["0042", "a", "01"], ["0043", "b", 'x "y"']]
    assert '3 cells hold ="…"' in notes_of(path)


@pytest.mark.parametrize(
    ("labels", "is_told"), [(("a", "b", "-"), True), (("a", "b", "N/A"), True), (("a", "NA"), False)]
)
def test_a_mark_for_no_label_is_told(tmp_path: Path, run_ingest: Any, labels: tuple[str, ...], is_told: bool) -> None:
    rows = [{"text": say(n), "label": labels[n % len(labels)]} for n in range(24)]
    done = run_ingest(write_manifest(tmp_path / "m.csv", rows))
    assert any("may say that there is no label" in note for note in done.clean.notes) == is_told


# -- competitions ---


@pytest.mark.parametrize("name", ["part-{:05d}-0a1b2c3d-77aa-c000.csv", "export-{:012d}.csv"])
def test_parts_of_one_table_are_read_together(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    for part in range(3):
        write_manifest(tmp_path / "out" / name.format(part), [{"text": say(part), "label": "a"}])
    put(tmp_path / "out/_SUCCESS", "")
    assert len(rows_of(tmp_path)) == 3
    write_manifest(tmp_path / "out/other.csv", [{"text": "a", "label": "b"}])
    assert "are named after no splits: give the one that is meant" in refusal(tmp_path)


def test_a_form_for_answers_holds_no_labels(tmp_path: Path) -> None:
    pictures(tmp_path, "train/a1.jpg", "train/b2.jpg", "test/c3.jpg")
    write_manifest(tmp_path / "labels.csv", [{"id": "a1", "breed": "dingo"}, {"id": "b2", "breed": "pug"}])
    write_manifest(tmp_path / "sample_submission.csv", [{"id": "c3", "breed": "dingo"}])
    asked = ("data.columns.image=id", "data.columns.label=breed")
    assert [row["breed"] for row in rows_of(tmp_path, *asked)] == ["dingo", "pug"]
    assert "sample_submission.csv: a form for answers, by its name; it is not read" in notes_of(tmp_path, *asked)
    (tmp_path / "labels.csv").unlink()
    assert "submission" not in refusal(tmp_path).partition("it holds")[0]  # nor is it proposed


def test_tables_in_folders_of_their_split_are_one_set(tmp_path: Path) -> None:
    for split, label in (("train", "x"), ("test", "y")):
        (tmp_path / split).mkdir()
        write_manifest(tmp_path / f"{split}/{split}.csv", [{"text": say(1), "label": label}])
        write_manifest(tmp_path / f"{split}/other.csv", [{"text": "a", "label": "b"}])
    found = open_manifest(tmp_path)
    assert {split for _, split in found} == {"train", "test"}
    assert any("tables whose names are no split are not read: test/other.csv, train/other.csv" in note
               for manifest, _ in found for note in manifest.notes)  # fmt: skip


def test_a_name_with_a_version_ends_in_its_split(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        write_manifest(tmp_path / f"snli_1.0_{split}.csv", [{"text": say(1), "label": split}])
    assert {split for _, split in open_manifest(tmp_path)} == {"train", "val", "test"}


def test_labels_that_a_test_table_lacks(tmp_path: Path) -> None:
    rows = [{"id": n, "comment_text": say(n), "toxic": n % 2, "threat": n // 2 % 2} for n in range(40)]
    write_manifest(tmp_path / "train.csv", rows)
    write_manifest(tmp_path / "test.csv", [{"id": 90, "comment_text": "a b c d"}])
    said = refusal(tmp_path)  # of the table that has the labels
    assert '--set \'data.columns.labels=["toxic", "threat"]\' takes each as a label of its own' in said
    assert len(rows_of(tmp_path, "data.columns.text=comment_text", 'data.columns.labels=["toxic","threat"]')) == 41


def test_a_column_that_is_mapped_has_no_other_role_by_its_name(tmp_path: Path, run_ingest: Any) -> None:
    names = [f"{n}.png" for n in range(12)]
    pictures(tmp_path, *names)
    rows = [{"Image": name, "Id": f"whale_{n % 2}"} for n, name in enumerate(names)]
    done = run_ingest(write_manifest(tmp_path / "m.csv", rows), "data.columns.label=Id")
    assert (done.clean.counts.used, done.refused) == (12, [])


def test_a_table_of_numbers_is_shown_the_way(tmp_path: Path) -> None:
    rows = [{"Survived": n % 2, "Age": n, "Fare": n / 2, "Sex": "fm"[n % 2]} for n in range(20)]
    said = refusal(write_manifest(tmp_path / "m.csv", rows))
    assert 'data.columns.tabular=["Survived", "Age", "Fare"]' in said
    wide = [{"label": n % 2} | {f"{x}x1": n * x % 256 for x in range(100)} for n in range(20)]
    assert "the pixels of a picture, write each row's as a file" in refusal(write_manifest(tmp_path / "w.csv", wide))
    faces = [{"emotion": n % 2, "pixels": " ".join(map(str, range(99)))} for n in range(20)]
    assert "data.columns.text" not in refusal(write_manifest(tmp_path / "f.csv", faces))


def test_cells_that_may_mean_several_files_are_a_hint(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"{split}/{n}.png" for split in ("train", "test") for n in range(1, 9)))
    write_manifest(tmp_path / "trainLabels.csv", [{"id": n, "label": "ab"[n % 2]} for n in range(1, 9)])
    assert "--set data.columns.image=id" in refusal(tmp_path)


def test_names_in_another_case_describe_the_folder(tmp_path: Path) -> None:
    pictures(tmp_path, *(f"pics/{n}.jpg" for n in range(4)))
    write_manifest(tmp_path / "data.csv", [{"image": f"C:\\x\\{n}.JPG", "label": "ab"[n % 2]} for n in range(4)])
    assert len(rows_of(tmp_path)) == 4


# -- folders ---


def test_reviews_without_labels_are_no_class(tmp_path: Path) -> None:
    for name in ("train/pos/1", "train/neg/2", "train/unsup/3", "train/unsup/4", "test/pos/5", "test/neg/6"):
        put(tmp_path / f"{name}.txt", say(int(name[-1])))
    assert sorted(row["label"] for row in rows_of(tmp_path)) == ["neg", "neg", "pos", "pos"]
    assert "unsup: 2 files without labels, by the folder's name, are left out" in notes_of(tmp_path)
    found = open_manifest(tmp_path, ReadLimits(labelled=False))
    assert sum(1 for manifest, _ in found for _ in manifest.rows) == 6  # predict answers them


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("Actor_01/1.wav", "Actor_02/2.wav"), "Actor_01, Actor_02 say whose the files are.*file_name,label,group"),
        (
            ("DR1/a.wav", "DR1/a.txt", "DR2/b.wav", "DR2/b.txt"),
            "DR1/a.txt, and 1 more, are named as a file beside them",
        ),
        (
            ("images/Images/n1/a.jpg", "images/Images/n2/b.jpg", "annotations/n1/a"),
            "if the folders in images/Images are",
        ),
        (
            ("A/a/1.png", "A/b/2.png", "A/A/a/1.png", "A/A/b/2.png"),
            "A holds folders that are named as those beside it.*/A/A",
        ),
        (("sci.space/50001", "alt.atheism/50002"), r"give them the ending \.txt: cd"),
    ],
)
def test_folders_that_need_a_word(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    for name in names:
        put(tmp_path / name, name)
    assert re.search(words, refusal(tmp_path))


def test_links_to_folders_elsewhere_are_named(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        pictures(tmp_path, f"real/{label}/1.png")
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / f"set/{label}").symlink_to(tmp_path / f"real/{label}", target_is_directory=True)
    said = refusal(tmp_path / "set")
    assert "2 links (cat, dog) to folders, which data.allowed_roots lets lead elsewhere" in said
    assert len(rows_of(tmp_path / "set", f'data.allowed_roots=["{tmp_path}"]')) == 2


def test_a_split_that_can_be_read_alone_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, "train/n1/images/a.png", "train/n2/images/b.png", "val/images/c.png", "val/images/d.png")
    put(tmp_path / "val/val_annotations.txt", "c.png\tn1\nd.png\tn2\n")
    assert f"--data {tmp_path}/train reads that split alone, and divides it" in refusal(tmp_path)
    assert [row["label"] for row in rows_of(tmp_path / "train")] == ["n1", "n2"]


@pytest.mark.parametrize(
    ("lists", "labels"),
    [
        ({"labels/train1.txt": "cat/0.png\n", "labels/test1.txt": "dog/1.png\n", "labels/train2.txt": "dog/1.png\n"},
         {"cat": "train", "dog": "test"}),
        ({"train.lst": "0\t0.000000\tcat/0.png\n", "val.lst": "1\t1.000000\tdog/1.png\n"}, {"cat": "train", "dog": "val"}),
    ],
)  # fmt: skip
def test_lists_of_dtd_and_mxnet(tmp_path: Path, lists: dict[str, str], labels: dict[str, str]) -> None:
    pictures(tmp_path / ("images" if "train.lst" not in lists else "."), "cat/0.png", "dog/1.png")
    for name, text in lists.items():
        put(tmp_path / name, text)
    assert {row["label"]: row["split"] for row in rows_of(tmp_path)} == labels


@pytest.mark.parametrize(
    ("name", "text", "label"),
    [
        ("annotations/list.txt", "#Image CLASS SPECIES\n#ID: 1:37\nA_0 1 1\nb_1 2 2\nA_2 1 1\nb_3 2 2\n", "column_2"),
        (
            "Anno/list_attr.txt",
            "4\nBald Male \nA_0.png  1 -1\nb_1.png -1  1\nA_2.png  1 -1\nb_3.png -1  1\n",
            "column_2",
        ),
        ("iden_split.txt", "1 img/A_0.png\n2 img/b_1.png\n1 img/A_2.png\n2 img/b_3.png\n", "column_1"),
    ],
)
def test_a_list_without_a_header_is_read_by_what_its_refusal_says(
    tmp_path: Path, run_ingest: Any, name: str, text: str, label: str
) -> None:
    pictures(tmp_path, "img/A_0.png", "img/b_1.png", "img/A_2.png", "img/b_3.png")
    put(tmp_path / name, text)
    settings = [word.replace("=COLUMN", f"={label}") for word in proposed(refusal(tmp_path))]
    assert f"data.table={name}" in settings
    done = run_ingest(tmp_path, *settings, "split.val=0", "split.test=0")
    assert (done.clean.counts.used, len({row["label"] for row in done.samples.values()})) == (4, 2)


def test_a_list_that_is_a_link_is_not_shown(tmp_path: Path) -> None:
    secret = put(tmp_path / "secret", "0.png password\n1.png hunter2\n")
    pictures(tmp_path / "set", "jpg/0.png", "jpg/1.png")
    (tmp_path / "set/list.txt").symlink_to(secret)
    os.mkfifo(tmp_path / "set/more.lst")
    said = refusal(tmp_path / "set")
    assert "hunter2" not in said
    assert "password" not in said


# -- exports ---


def test_rows_that_an_annotator_rejected_are_unlabelled(tmp_path: Path, run_ingest: Any) -> None:
    rows = [{"text": say(n), "label": "ab"[n % 2], "answer": ("accept", "accept", "reject")[n % 3]} for n in range(30)]
    path = put(tmp_path / "m.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    done = run_ingest(path)
    assert (done.clean.counts.used, done.clean.counts.unlabelled, done.clean.counts.quarantined) == (20, 10, 0)
    assert any("rows whose answer is reject or ignore are set aside as unlabelled" in note for note in done.clean.notes)
    done = run_ingest(path, "data.columns.label=answer")  # who learns what is accepted has all rows
    assert done.clean.counts.used == 30
    quiz = [{"text": say(n), "label": "ab"[n % 2], "answer": ("accept", "decline", "reject")[n % 3]} for n in range(30)]
    done = run_ingest(put(tmp_path / "q.jsonl", "".join(json.dumps(row) + "\n" for row in quiz)))
    assert done.clean.counts.used == 30  # a column of somebody else


def test_one_choice_in_a_list_is_that_label(tmp_path: Path, run_ingest: Any) -> None:
    labels = [["1"], ["2"], "1.0", ["2.0"], [], ["1", "2"]]
    text = "".join(json.dumps({"id": n, "text": say(n), "label": label}) + "\n" for n, label in enumerate(labels))
    done = run_ingest(put(tmp_path / "m.jsonl", text), "split.val=0", "split.test=0")
    assert [row["label"] for row in done.samples.values()] == ["1", "2", "1", "2"]
    assert done.reasons == {"4": "missing-label", "5": "bad-label"}


def test_rows_within_one_json_object(tmp_path: Path) -> None:
    rows = [{"id": n, "text": say(n), "annotation": {"label": "ab"[n % 2], "by": {"name": "me"}}} for n in range(20)]
    path = put(tmp_path / "m.json", json.dumps({"version": 1, "data": rows}))
    assert proposed(refusal(path)) == ["data.columns.label=COLUMN", "data.columns.label=annotation.label"]
    found = rows_of(path, "data.columns.label=annotation.label", "data.columns.text=text", "data.find_columns=false")
    assert [row["annotation.label"] for row in found] == ["a", "b"] * 10
    assert "rows are the 20 objects of its key 'data'" in notes_of(path, "data.columns.label=annotation.label")
    two = put(tmp_path / "two.json", json.dumps({"videos": [{"id": 1}], "sentences": [{"caption": "a"}]}))
    assert "jq '.\"videos\"'" in refusal(two)
    asked = put(tmp_path / "ask.json", json.dumps({"question": "a b c", "label": "d", "choices": [{"n": 1}]}))
    assert len(rows_of(asked, "data.columns.text=question")) == 1
    one = put(tmp_path / "one.json", json.dumps({"text": "a", "label": "b", "spans": [{"start": 1}]}))
    assert rows_of(one) == [{"text": "a", "label": "b", "spans": [{"start": 1}]}]  # a row that has a list


@pytest.mark.parametrize(("problem", "labels"), [("auto", {"a", "b"}), ("multilabel", {"a", "b", "a|b"})])
def test_lines_of_fasttext(tmp_path: Path, run_ingest: Any, problem: str, labels: set[str]) -> None:
    lines = [f"__label__{'ab'[n % 2]} {say(n)}, no comma counts" for n in range(10)]
    path = put(tmp_path / "train.ft.txt", "\n".join([*lines, "__label__a __label__b both", "no label"]) + "\n")
    done = run_ingest(path, f"data.problem={problem}", "split.val=0", "split.test=0")
    assert {row["label"] for row in done.samples.values()} == labels
    bad = ["bad-label"] if problem == "auto" else []
    assert [row["reason"] for row in done.refused] == [*bad, "missing-label"]


def test_boxes_and_lists_of_splits_are_said(tmp_path: Path) -> None:
    pictures(tmp_path, "img/0.png", "img/1.png")
    rows = [{"filename": f"{n}.png", "class": "ab"[n], "xmin": 1, "ymin": 1, "xmax": 2, "ymax": 2} for n in range(2)]
    write_manifest(tmp_path / "boxes.csv", rows)
    put(tmp_path / "train_val_list.txt", "0.png\n")
    said = notes_of(tmp_path)
    assert "its columns give boxes, so that a row is a box" in said
    assert "train_val_list.txt may say what is train and test, and is not read" in said
