"""Label Studio's exports, JSON and JSON-MIN: what was chosen in a task is the label of its data, one row an annotation.

Annotators who agree give duplicates, and those who do not a conflicting label, as anywhere: nobody's choice is preferred, but
for annotations that are marked as ground truth.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tasks.errors import DataError
from tasks.ingest.manifest.rows import Cells, Manifest, Row
from tasks.ingest.sources.json_rows import read_objects
from tasks.ingest.sources.streams import TableFile

_OF_MIN = ("annotator", "annotation_id", "lead_time")
"""Keys that every object of JSON-MIN has behind the answers; `id` stands before them."""
_KINDS = ("choices", "rating", "number")
"""Kinds of answers that are labels."""
_LABEL = "label"
_PLACES = re.compile(r"/data/(?:upload|local-files)/")


@dataclass
class _Survey:
    """What stands in the tasks of a file."""

    tasks: int = 0
    rows: int = 0
    data: dict[str, None] = field(default_factory=dict)
    """Keys of what was to be labelled."""
    questions: dict[str, None] = field(default_factory=dict)
    """Names of what was asked."""
    unread: Counter[str] = field(default_factory=Counter)
    """Kinds of answers that are no labels."""
    unanswered: int = 0


def is_label_studio(file: TableFile) -> bool:
    """Whether a JSON file is an array whose first object is a task, or an answer in the short form."""
    with file.open() as opened:
        if not opened.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            return False
    try:
        first = next(iter(read_objects(file)), None)
    except DataError:  # the reader of JSON says what is wrong with it
        return False
    return first is not None and (_is_task(first.values) or _is_short(first.values))


def open_label_studio(file: TableFile) -> Manifest:
    """The annotations of an export. DataError where the array is broken."""
    survey = _Survey()
    for _ in _rows(file, survey):
        survey.rows += 1
    only = next(iter(survey.questions), None) if len(survey.questions) == 1 else None
    columns = [*dict.fromkeys(["id", *survey.data, *([_LABEL] if only is not None else survey.questions)])]
    return Manifest(
        file.path,
        file.path.parent,
        tuple(columns),
        _renamed(_rows(file, _Survey()), only),
        (_describe(file, survey, only),),
        count=survey.rows,
    )


def _describe(file: TableFile, survey: _Survey, only: str | None) -> str:
    """What was read as what, and what was not, in one line."""
    notes = [
        f"{file.path.name}: Label Studio's export, a row for each of {survey.rows} annotations of {survey.tasks} tasks"
    ]
    if only is not None:
        notes.append(f"labels are the answers to {only!r}")
    elif survey.questions:
        notes.append(
            f"several questions were asked ({', '.join(survey.questions)}): data.columns.label, or labels, chooses"
        )
    if survey.unanswered:
        notes.append(f"{survey.unanswered} tasks have no annotation that counts, and no label")
    if survey.unread:
        kinds = ", ".join(f"{count} {kind}" for kind, count in survey.unread.most_common(5))
        notes.append(f"answers that are no choices are not read: {kinds}")
    return "; ".join(notes)


def _renamed(rows: Iterable[Row], only: str | None) -> Iterator[Row]:
    """The rows, with the only answer as the label."""
    for row in rows:
        if only is not None and only in row.values:
            row.values[_LABEL] = row.values.pop(only)
        yield row


def _is_task(values: Cells) -> bool:
    return isinstance(values.get("data"), dict) and isinstance(values.get("annotations"), list)


def _is_short(values: Cells) -> bool:
    return all(name in values for name in _OF_MIN)


def _rows(file: TableFile, survey: _Survey) -> Iterator[Row]:
    """A row an annotation, and one for a task without any; with the number of the task."""
    for row in read_objects(file):
        survey.tasks += 1
        if row.reason is not None:
            yield row
        elif _is_task(row.values):
            yield from (Row(row.number, values) for values in _of_task(row.values, survey))
        elif _is_short(row.values):
            yield Row(row.number, _of_short(row.values, survey))
        else:
            yield Row(row.number, {}, "unreadable-row", "neither a task of Label Studio's nor an answer")


def _of_task(task: Cells, survey: _Survey) -> Iterator[Cells]:
    data = {str(name): _cell(value) for name, value in task["data"].items()}
    survey.data |= dict.fromkeys(data)
    annotations = [each for each in task["annotations"] if isinstance(each, dict) and not each.get("was_cancelled")]
    counting = [each for each in annotations if each.get("ground_truth")] or annotations
    survey.unanswered += not counting
    for annotation in counting or [{}]:
        answers: Cells = {}
        results = annotation.get("result")
        for result in results if isinstance(results, list) else []:
            if isinstance(result, dict) and isinstance(result.get("value"), dict):
                kind = next((kind for kind in _KINDS if kind in result["value"]), None)
                if kind is None:
                    survey.unread[str(result.get("type"))[:40]] += 1
                else:
                    answers[str(result.get("from_name"))] = _answer(result["value"][kind])
        survey.questions |= dict.fromkeys(answers)
        yield {"id": task.get("id"), **data, **answers}


def _of_short(values: Cells, survey: _Survey) -> Cells:
    """In the short form the keys before `id` are the data, and those between it and `annotator` the answers."""
    found: Cells = {"id": values.get("id")}
    is_answer = False
    for name, value in values.items():
        if name == _OF_MIN[0]:
            break
        if name == "id":
            is_answer = True
        elif not is_answer:
            survey.data[name] = None
            found[name] = _cell(value)
        elif isinstance(value, list) or (isinstance(value, dict) and "choices" not in value):
            survey.unread[name] += 1
        else:
            survey.questions[name] = None
            found[name] = _answer(value["choices"] if isinstance(value, dict) else value)
    return found


def _answer(value: Any) -> Any:
    """One choice as it is, several as a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _cell(value: Any) -> Any:
    """Data as a cell: the addresses of Label Studio's own server as paths from the manifest's folder on."""
    if not isinstance(value, str) or not _PLACES.search(value):
        return value
    try:
        parts = urlsplit(value)
    except ValueError:
        return value
    if parts.path.endswith("/data/local-files/"):
        return parse_qs(parts.query).get("d", [value])[0].lstrip("/")
    _, mark, rest = parts.path.partition("/data/upload/")
    return f"upload/{rest}" if mark else value
