"""COCO's JSON: instances give each picture the names of its categories, captions give it a text, one row a caption."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.errors import DataError
from tasks.ingest.manifest.media_files import is_beneath
from tasks.ingest.manifest.rows import Cells, Manifest, Row
from tasks.ingest.sources.json_rows import Window
from tasks.ingest.sources.streams import TableFile

_KEY_OF = {"images": "file_name", "annotations": "image_id", "categories": "name"}
"""Array to a key that each of its objects has."""
_BESIDE = {"info", "licenses", "type", "videos"}
CAPTIONS = re.compile(r"captions_(?=[^/]*$)")
"""Begins the name of a file of captions; one that begins with instances_ instead has their labels."""

_SPLIT = re.compile(r"(?:captions|instances)_([^/.]+)\.json")
"""The split in the name of a file, and of the folder of its pictures."""


@dataclass
class _Content:
    """What a file says, but for the texts of its captions."""

    images: dict[Any, Any] = field(default_factory=dict)
    """Id to file name."""
    categories: dict[Any, str] = field(default_factory=dict)
    found: dict[Any, dict[Any, None]] = field(default_factory=dict)
    """Picture to the categories in it, in order."""
    captioned: set[Any] = field(default_factory=set)
    captions: int = 0
    stray: int = 0
    """Annotations of pictures that the file does not list."""
    mute: int = 0
    """Annotations with neither a category nor a caption."""

    def labels(self) -> tuple[dict[Any, Any], bool]:
        """Picture to its label, one name where every picture has just one, else a list; and whether they are lists."""
        names = {
            image: [self.categories.get(number, str(number)) for number in self.found.get(image, ())]
            for image in self.images
        }
        if all(len(each) == 1 for each in names.values()):
            return {image: each[0] for image, each in names.items()}, False
        return dict(names), True


def is_coco(file: TableFile) -> bool:
    """Whether a JSON file begins as COCO's do: an object whose first arrays are pictures, annotations or categories."""
    with file.open() as opened:
        if not opened.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            return False
    try:
        for key, item in _walk(file):
            if key in _KEY_OF:
                return isinstance(item, dict) and _KEY_OF[key] in item
            if key not in _BESIDE:
                return False
    except DataError:  # the reader of JSON says what is wrong with it
        pass
    return False


def open_coco(file: TableFile) -> Manifest:
    """A row a caption, else a row a picture. DataError for a file that is broken or lists no pictures."""
    content = _survey(file)
    labelled = content
    beside = _labels_beside(file)
    if beside is not None:
        labelled = _survey(beside)
        labelled.images = content.images
    labels, as_sets = labelled.labels() if labelled.categories or labelled.found else ({}, False)
    note = _describe(content, labelled, as_sets=as_sets)
    note += f"; labels are those of {beside.path.name}" if beside is not None else ""
    columns = ("image", *(("text", "group") if content.captions else ()), *(("label",) if labels else ()), "image_id")
    rows = _captions(file, content, labels) if content.captions else _pictures(content, labels)
    bare = len(content.images) - len(content.captioned)
    count = content.captions + bare
    return Manifest(file.path, file.path.parent, columns, rows, (f"{file.path.name}: {note}",), count=count)


def with_pictures_of(manifest: Manifest, media: Collection[str]) -> Manifest:
    """The manifest, whose pictures lie in the folder that its file is named after (train2017 of instances_train2017.json), as
    `media` has it; as it is where there is no such folder, or several.
    """
    named = _SPLIT.search(manifest.path.name)
    places = {PurePosixPath(file).parent for file in media}
    folders = [folder for folder in places if named is not None and folder.name == named[1]]
    if len(folders) != 1:
        return manifest
    folder = folders[0]

    def moved(row: Row) -> Row:
        """The row, its picture where it lies."""
        place = row.values.get("image")
        is_there = not isinstance(place, str) or place in media
        return row if is_there else replace(row, values=row.values | {"image": str(folder / str(place))})

    note = f"{manifest.path.name}: its pictures are those of {folder}"
    return replace(manifest, rows=map(moved, manifest.rows), notes=(*manifest.notes, note))


def _labels_beside(file: TableFile) -> TableFile | None:
    """The file of instances beside one of captions; not where it is a link to elsewhere."""
    name = CAPTIONS.sub("instances_", file.path.name)
    path = file.path.with_name(name)
    if name == file.path.name or not path.is_file() or not is_beneath(str(path.resolve()), (str(file.path.parent),)):
        return None
    if path.stat().st_size > file.limit_mb * 1e6:
        raise DataError(f"manifest {path}: larger than data.max_manifest_mb = {file.limit_mb:g}")
    return TableFile(Path(path), file.limit_mb)


def _describe(content: _Content, labelled: _Content, *, as_sets: bool) -> str:
    """What was read as what, and what was not, in one line."""
    total, bare = len(content.images), len(content.images) - len(content.captioned)
    notes = [f"COCO's form, a row for each of {total} pictures"]
    if content.captions:
        notes = [f"COCO's form, a row for each of {content.captions} captions, those of a picture are one group"]
        notes += [f"{bare} of {total} pictures have no caption, each is a row without a text"] if bare else []
    if labelled.categories or labelled.found:
        empty = sum(not labelled.found.get(image) for image in content.images)
        notes.append("labels are sets of categories (data.problem=multilabel)" if as_sets else "labels are categories")
        notes += [f"{empty} of {total} pictures have no annotation, their set is empty"] if empty else []
    notes += [f"{content.stray} pictures are annotated and not listed"] if content.stray else []
    notes += [f"{content.mute} annotations have neither category nor caption"] if content.mute else []
    return "; ".join(notes)


def _pictures(content: _Content, labels: dict[Any, Any]) -> Iterator[Row]:
    for number, (image, place) in enumerate(content.images.items(), start=1):
        yield Row(number, {"image": place, "image_id": image} | ({"label": labels[image]} if labels else {}))


def _captions(file: TableFile, content: _Content, labels: dict[Any, Any]) -> Iterator[Row]:
    """The captions one by one, then the pictures without any; those of one picture are one group."""
    number = 0
    for key, item in _walk(file):
        if key != "annotations" or not isinstance(item, dict) or "caption" not in item:
            continue
        number += 1
        image = _id(item.get("image_id"))
        if image not in content.images:
            yield Row(number, {}, "unreadable-row", f"its image_id {str(image)[:40]!r} is no picture of this file")
            continue
        caption = item["caption"]
        if isinstance(caption, str) and not _storable(caption):
            yield Row(number, {}, "unreadable-row", "its caption holds half a surrogate pair")
            continue
        yield Row(number, _captioned(file, content, labels, image) | {"text": caption})
    for row, image in enumerate(
        (image for image in content.images if image not in content.captioned), start=number + 1
    ):
        yield Row(row, _captioned(file, content, labels, image))


def _captioned(file: TableFile, content: _Content, labels: dict[Any, Any], image: Any) -> Cells:
    values = {"image": content.images[image], "group": f"{file.path.name}:{image}", "image_id": image}
    return values | ({"label": labels[image]} if labels else {})


def _survey(file: TableFile) -> _Content:
    content = _Content()
    for key, item in _walk(file):
        if key in _KEY_OF and not isinstance(item, dict):
            raise DataError(f"manifest {file.path}: {key} holds {type(item).__name__}, in COCO's form objects")
        if key == "images":
            image = _id(item.get("id"))
            if image is None or image in content.images:
                raise DataError(
                    f"manifest {file.path}: the id of image {len(content.images) + 1} is missing or there twice"
                )
            place = item.get("file_name")
            content.images[image] = place if isinstance(place, str) else None
        elif key == "categories":
            name = item.get("name")
            if not isinstance(name, str) or not _storable(name):
                raise DataError(f"manifest {file.path}: category {str(item.get('id'))[:40]!r} has no name")
            content.categories[_id(item.get("id"))] = name
        elif key == "annotations":
            image, category = _id(item.get("image_id")), _id(item.get("category_id"))
            if "caption" in item:
                content.captions += 1
                content.captioned.add(image)
            if category is not None:
                content.found.setdefault(image, {})[category] = None
            content.mute += category is None and "caption" not in item
    if not content.images:
        raise DataError(f"manifest {file.path}: COCO's form without pictures, its images are empty")
    content.stray = len(content.found.keys() - content.images.keys())
    content.captioned &= content.images.keys()
    return content


def _id(value: Any) -> Any:
    """A number or text that names something; None for anything else."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _storable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _walk(file: TableFile) -> Iterator[tuple[str, Any]]:
    """Key and value of the outer object, an array item by item. DataError with the line where it is broken."""
    with io.TextIOWrapper(file.open(), encoding="utf-8-sig", newline="") as text:
        window = Window(file, text.read)
        if not window.take("{"):
            raise window.broken("an object was expected")
        is_last = False
        while not window.take("}"):
            key = window.next_value()
            if is_last or not isinstance(key, str) or not window.take(":"):
                raise window.broken("a key was expected")
            if window.take("["):
                yield from ((key, item) for item in _items(window))
            else:
                yield key, window.next_value()
            is_last = not window.take(",")


def _items(window: Window) -> Iterator[Any]:
    """The items of an array whose bracket was passed."""
    is_last = False
    while not window.take("]"):
        if is_last:
            raise window.broken("a comma was expected")
        yield window.next_value()
        is_last = not window.take(",")
