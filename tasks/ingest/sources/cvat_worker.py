"""CVAT's export for images, annotations.xml, read by expat in the process of isolated_worker.py.

A document type is refused as soon as it begins: CVAT writes none, and entities, which can multiply or name files, are declared
nowhere else. So nothing is expanded, and no file but this one is opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from tasks.ingest.manifest.rows import SPLITS
from tasks.ingest.sources.isolated_messages import Send
from tasks.ingest.sources.parquet_worker import BATCH_ROWS

_BLOCK_BYTES = 1 << 20
_SHAPES = frozenset({"box", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton"})


@dataclass
class _Image:
    """One picture with what was said of it."""

    name: str
    subset: str | None
    tags: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    """Of its tags."""


class _Reader:
    """Collects the pictures while the text is parsed."""

    def __init__(self) -> None:
        self.images: list[_Image] = []
        self.tracks = 0
        self._path: list[str] = []
        self._attribute: str | None = None
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _refuse(self, *_: Any) -> None:
        raise OSError("it declares a document type; CVAT writes none, and entities are not expanded")

    def _start(self, name: str, values: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) > 1 and self._path[0] != "annotations":
            raise OSError(f"its root is <{self._path[0][:40]}>, CVAT's is <annotations>")
        if self._path == ["annotations", "image"]:
            if not values.get("name"):
                raise OSError(f"an <image> without a name on line {self.parser.CurrentLineNumber}")
            self.images.append(_Image(values["name"], values.get("subset")))
        elif self._path[:2] == ["annotations", "image"] and len(self._path) == 3:
            kept = self.images[-1].tags if name == "tag" else self.images[-1].shapes if name in _SHAPES else None
            if kept is not None and values.get("label"):
                kept.append(values["label"])
        elif self._path == ["annotations", "image", "tag", "attribute"]:
            self._attribute = values.get("name")
        elif self._path == ["annotations", "track"]:
            self.tracks += 1

    def _end(self, _: str) -> None:
        self._path.pop()
        self._attribute = None

    def _text(self, text: str) -> None:
        if self._attribute:
            known = self.images[-1].attributes
            known[self._attribute] = known.get(self._attribute, "") + text


def send_images(path: str, send: Send) -> None:
    """Sends a row a picture: its name, its labels, its subset where that is a split. Raises OSError."""
    reader = _Reader()
    try:
        with Path(path).open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                reader.parser.Parse(block, False)
        reader.parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise OSError(f"not well-formed XML: {error}") from None
    images = reader.images
    if not images:
        what = "tracks of a video; export it as 'CVAT for images'" if reader.tracks else "no <image>"
        raise OSError(f"it holds {what}")
    labels, notes = _labels(images)
    attributes = list(dict.fromkeys(name for image in images for name in image.attributes))
    subsets = {image.subset.lower() for image in images if image.subset}
    place = "split" if subsets <= SPLITS.keys() else "subset"
    names = ["image", "label", place, *(f"tag.{name}" for name in attributes)]
    send({"columns": names, "inline": [False] * len(names), "rows": len(images), "classes": {}, "notes": notes}, b"")
    rows = [
        [image.name, label, image.subset, *(image.attributes.get(name) for name in attributes)]
        for image, label in zip(images, labels, strict=True)
    ]
    for start in range(0, len(rows), BATCH_ROWS):
        send({"batch": rows[start : start + BATCH_ROWS]}, b"")


def _labels(images: list[_Image]) -> tuple[list[str | list[str] | None], list[str]]:
    """The label of each picture, by its tags or, where no picture has one, the names of its shapes; with notes."""
    by_tags = any(image.tags for image in images)
    if not by_tags and not any(image.shapes for image in images):
        return [None] * len(images), ["no picture has a tag or a shape, and none a label"]
    found = [list(dict.fromkeys(image.tags if by_tags else image.shapes)) for image in images]
    as_sets = not by_tags or any(len(labels) > 1 for labels in found)
    what = "the tags of pictures" if by_tags else "the names of the shapes in pictures"
    notes = [f"labels are {what}" + ("; sets of them need data.problem=multilabel" if as_sets else "")]
    without = sum(not labels for labels in found)
    if without:
        notes.append(f"{without} of {len(images)} pictures have none" + (", their set is empty" if as_sets else ""))
    if as_sets:
        return list(found), notes
    return [labels[0] if labels else None for labels in found], notes
