"""The confusion matrix as an SVG file: well-formed, every count in it, hostile labels inert."""

from __future__ import annotations

from xml.etree import ElementTree

from tasks.reporting.confusion_matrix import draw_confusion

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_every_count_and_every_class_is_drawn() -> None:
    drawn = texts(draw_confusion(["cat", "dog"], [[0, 0, 7], [0, 1, 2], [1, 1, 5]]))
    assert drawn[1:5] == ["cat", "cat", "dog", "dog"]
    assert sorted(drawn[5:]) == ["2", "5", "7"]


def test_labels_are_inert_and_short() -> None:
    svg = draw_confusion(["<script>alert(1)</script>", "a" * 500], [[0, 0, 1], [1, 1, 1]])
    assert "<script" not in svg
    assert max(len(text) for text in texts(svg)[1:]) < 30


def test_of_many_classes_it_says_how_many_are_not_shown() -> None:
    labels = [f"c{number}" for number in range(30)]
    assert "10 of 30 classes are not shown" in draw_confusion(labels, [[n, n, 1] for n in range(30)])
