"""Exports of annotation tools, by hand as their documentation shows them: COCO, Label Studio, CVAT for images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import DataError
from tasks.ingest.manifest.rows import Manifest
from tasks.ingest.sources.detect import open_manifest
from tests.support.data import write_picture
from tests.support.layouts import ask_worker, coco

NAMES = {1: "cat", 18: "dog"}


def only(path: Path) -> tuple[Manifest, list[dict[str, Any]]]:
    ((manifest, _),) = open_manifest(path)
    rows = list(manifest.rows)
    assert manifest.count == len(rows)
    return manifest, [row.values if row.reason is None else {"reason": row.reason} for row in rows]


# -- COCO ---


def captioned(folder: Path) -> None:
    """COCO 2017's folders: pictures apart from annotations, captions and instances of train and val."""
    (folder / "annotations").mkdir()
    number = 0
    for split, count in (("train", 12), ("val", 4)):
        names = [f"{number + place:012}.png" for place in range(count)]
        for name in names:
            write_picture(folder / f"{split}2017/{name}", number)
            number += 1
        instances = coco(names, {place: [1, 18, 1][: place % 4] for place in range(1, count + 1)}, NAMES)
        captions = {key: instances[key] for key in ("info", "licenses", "images")}
        captions["annotations"] = [
            {"id": 2 * place + again, "image_id": place, "caption": f"{split} {place}, said {again}"}
            for place in range(1, count)
            for again in range(2)
        ]
        for name, content in (("instances", instances), ("captions", captions)):
            (folder / f"annotations/{name}_{split}2017.json").write_text(json.dumps(content))


def test_captions_with_the_labels_of_instances(tmp_path: Path, run_ingest: Any) -> None:
    captioned(tmp_path)
    done = run_ingest(tmp_path, "data.problem=multilabel", "split.near_duplicates=false")
    assert (done.clean.counts.used, done.clean.labels) == (2 * 11 + 1 + 2 * 3 + 1, ("cat", "dog"))
    assert done.clean.splits["val"] == 7
    sides: dict[str, set[str]] = {}
    for row in done.samples.values():
        sides.setdefault(row["group"], set()).add(row["split"])
    assert len(sides) == 16
    assert all(len(splits) == 1 for splits in sides.values())
    note = next(note for note in done.raw.notes if note.startswith("captions_train2017.json"))
    assert "a row for each of 22 captions" in note
    assert "1 of 12 pictures have no caption, each is a row without a text" in note
    assert "3 of 12 pictures have no annotation, their set is empty" in note
    assert "labels are those of instances_train2017.json" in note


def test_instances_alone(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(coco(["a.png", "b.png", "c.png"], {1: [18, 1, 18], 3: [1]}, NAMES)))
    manifest, rows = only(tmp_path / "m.json")
    assert [row["label"] for row in rows] == [["dog", "cat"], [], ["cat"]]
    assert manifest.columns == ("image", "label", "image_id")
    (tmp_path / "m.json").write_text(json.dumps(coco(["a.png", "b.png"], {1: [18], 2: [1, 1]}, NAMES), indent=2))
    manifest, rows = only(tmp_path / "m.json")
    assert [row["label"] for row in rows] == ["dog", "cat"]
    assert manifest.notes == ("m.json: COCO's form, a row for each of 2 pictures; labels are categories",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:-30], "beyond line 1"),
        (lambda text: text.replace('"id": 2,', '"id": 1,'), "the id of image 2 is missing or there twice"),
        (lambda text: text.replace('"name": "cat"', '"name": 5'), "category '1' has no name"),
        (lambda text: text.replace('"name": "cat"', '"name": "\\ud800"'), "category '1' has no name"),
        (lambda text: text.replace('"annotations": [', '"annotations": [7, '), "annotations holds int"),
    ],
)
def test_a_broken_file_of_cocos(tmp_path: Path, change: Any, words: str) -> None:
    text = json.dumps(coco(["a.png", "b.png"], {1: [18]}, NAMES))
    (tmp_path / "m.json").write_text(change(text))
    with pytest.raises(DataError, match=words) as caught:
        only(tmp_path / "m.json")
    assert str(tmp_path / "m.json") in str(caught.value)


def test_objects_that_only_look_like_cocos(tmp_path: Path) -> None:
    for text in (
        '{"images": ["a.png"], "text": "t"}',
        '{"info": {"a": 1}, "text": "t"}',
        '{"annotations": "x", "text": "t"}',
    ):
        (tmp_path / "m.json").write_text(text)
        assert only(tmp_path / "m.json")[1][0]["text"] == "t"


# -- Label Studio ---


def task(number: int, place: str, *choices: list[str], **more: Any) -> dict[str, Any]:
    results = [
        {"from_name": "kind", "to_name": "image", "type": "choices", "value": {"choices": chosen}} for chosen in choices
    ]
    annotations = [{"id": n, "result": [result], "was_cancelled": False} for n, result in enumerate(results)]
    return {"id": number, "annotations": annotations, "data": {"image": place}, "predictions": []} | more


def test_label_studios_tasks(tmp_path: Path, run_ingest: Any) -> None:
    for number in range(6):
        write_picture(tmp_path / f"pics/p {number}.png", number)
    tasks = [
        task(10, "/data/upload/3/0123abcd-p 0.png", ["a"]),
        task(11, "http://localhost:8080/data/upload/3/p 1.png", ["b"], **{"inner_id": 2}),
        task(12, "/data/local-files/?d=pics%2Fp%202.png", ["a"]),
        task(13, "pics/p 3.png", ["a"], ["b"]),
        task(14, "pics/p 4.png", ["b"], ["b"]),
        task(15, "pics/p 5.png"),
    ]
    tasks[2]["annotations"].append({"result": [], "was_cancelled": True})
    tasks[2]["annotations"][0]["result"].append({"type": "rectanglelabels", "value": {"rectanglelabels": ["x"]}})
    (tmp_path / "project.json").write_text(json.dumps(tasks))
    done = run_ingest(tmp_path / "project.json")
    assert set(done.samples) == {"10", "11", "12", "14"}
    assert [row["label"] for _, row in sorted(done.samples.items())] == ["a", "b", "a", "b"]
    assert sorted(row["reason"] for row in done.refused) == ["conflicting-label"] * 2 + ["duplicate", "missing-label"]
    note = next(note for note in done.raw.notes if note.startswith("project.json"))
    assert "a row for each of 8 annotations of 6 tasks; labels are the answers to 'kind'" in note
    assert "1 tasks have no annotation that counts" in note
    assert "answers that are no choices are not read: 1 rectanglelabels" in note


def test_label_studios_short_form_and_ground_truth(tmp_path: Path) -> None:
    behind = {"annotator": 1, "annotation_id": 5, "created_at": "x", "updated_at": "x", "lead_time": 1.0}
    short = [
        {"text": "good", "id": 1, "mood": "+", "stars": 4, "boxes": [{"x": 1}], **behind},
        {"text": "bad", "id": 2, "mood": {"choices": ["-", "+"]}, **behind},
    ]
    (tmp_path / "m.json").write_text(json.dumps(short))
    manifest, rows = only(tmp_path / "m.json")
    assert rows == [{"id": 1, "text": "good", "mood": "+", "stars": 4}, {"id": 2, "text": "bad", "mood": ["-", "+"]}]
    assert "several questions were asked (mood, stars): data.columns.label, or labels, chooses" in manifest.notes[0]
    sure = task(1, "a.png", ["a"], ["b"])
    sure["annotations"][1]["ground_truth"] = True
    (tmp_path / "m.json").write_text(json.dumps([sure]))
    assert only(tmp_path / "m.json")[1] == [{"id": 1, "image": "a.png", "label": "b"}]


# -- CVAT ---

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><job/></meta>'


def cvat(path: Path, *images: str) -> Path:
    path.write_text(f"{HEAD}{''.join(images)}</annotations>", encoding="utf-8")
    return path


def test_cvats_tags_in_a_folder(tmp_path: Path, run_ingest: Any) -> None:
    images = []
    for number in range(8):
        write_picture(tmp_path / f"images/{number}.png", number)
        tag = (
            f'<tag label="{"ab"[number % 2]}"><attribute name="size">s{number} &amp; m</attribute></tag>'
            if number
            else ""
        )
        images.append(f'<image id="{number}" name="{number}.png" subset="Train">{tag}<box label="no"/></image>')
    cvat(tmp_path / "annotations.xml", *images)
    done = run_ingest(tmp_path)
    assert (done.clean.counts.used, done.clean.labels) == (7, ("a", "b"))
    assert [row["reason"] for row in done.refused] == ["missing-label"]
    assert "labels are the tags of pictures" in done.raw.notes
    assert "1 of 8 pictures have none" in done.raw.notes
    head, rows = ask_worker(tmp_path / "annotations.xml")
    assert (head["columns"], rows[1]) == (["image", "label", "split", "tag.size"], ["1.png", "b", "Train", "s1 & m"])


def test_cvats_shapes_are_sets(tmp_path: Path) -> None:
    boxes = '<image name="a.png" subset="mine"><box label="x"/><polygon label="y"/><box label="x"/></image>'
    head, rows = ask_worker(cvat(tmp_path / "m.xml", boxes, '<image name="b.png"/>'))
    assert (head["columns"][2], [row[1] for row in rows]) == ("subset", [["x", "y"], []])
    assert head["notes"] == [
        "labels are the names of the shapes in pictures; sets of them need data.problem=multilabel",
        "1 of 2 pictures have none, their set is empty",
    ]
    assert ask_worker(cvat(tmp_path / "m.xml", '<image name="b.png"/>'))[1] == [["b.png", None, None]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e "x">]><annotations><image name="&e;"/></annotations>',
            "document type",
        ),
        ('<!DOCTYPE a SYSTEM "file:///etc/hostname"><annotations/>', "document type"),
        ("<annotation><filename>a.png</filename></annotation>", "its root is <annotation>"),
        ("<annotations><image/></annotations>", "an <image> without a name on line 1"),
        ("<annotations><track><box/></track></annotations>", "tracks of a video; export it as 'CVAT for images'"),
        ("<annotations/>", "no <image>"),
        ("<annotations><image", "not well-formed XML"),
    ],
)
def test_xml_that_is_not_cvats(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.xml").write_text(text)
    assert words in ask_worker(tmp_path / "m.xml")[0]["error"]
