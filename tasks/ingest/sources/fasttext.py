"""The reader of fastText's lines: `__label__2 a text`, with any number of labels before it."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.errors import DataError
from tasks.ingest.manifest.rows import Manifest, Row
from tasks.ingest.sources.encodings import NotText, find_encoding
from tasks.ingest.sources.streams import TableFile

LABEL = "__label__"
"""What each label begins with: https://fasttext.cc/docs/en/supervised-tutorial.html."""


def open_fasttext(file: TableFile) -> Manifest:
    """A row for each line: its text, and its label, or the list of them where it has several. DataError for bytes that are no
    text."""
    try:
        encoding, note = find_encoding(file.blocks)
    except NotText as error:
        raise DataError(f"manifest {file.path}: {error}") from None
    count = sum(1 for _ in _rows(file, encoding))
    notes = [f"{file.path.name} {note}"] if note else []
    notes.append(f"{file.path.name}: lines of fastText, labels behind {LABEL} and then the text")
    return Manifest(file.path, file.path.parent, ("text", "label"), _rows(file, encoding), tuple(notes), count)


def _rows(file: TableFile, encoding: str) -> Iterator[Row]:
    for number, line in enumerate(file.lines(encoding), start=1):
        text = line.strip()
        if not text:
            continue
        labels = []
        while text.startswith(LABEL):
            label, _, rest = text.partition(" ")
            labels.append(label.removeprefix(LABEL))
            text = rest.lstrip()
        yield Row(number, {"text": text, "label": labels[0] if len(labels) == 1 else labels or ""})
