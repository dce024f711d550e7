"""From the body of a request to rows: JSON with media in base64, or a form with a file for each input."""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Annotated, Any, NamedTuple

from fastapi import Request
from pydantic import Field, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from data_contracts.modalities import INPUTS, modality_of
from data_contracts.refs import IN_CELLS, Frozen
from flows.serving.limits import Limits
from flows.serving.prediction import Refusal
from flows.serving.problems import HttpProblem
from flows.serving.row_media import Row
from tasks.modalities import spec_of

Cell = str | int | float | bool | None
_MOST_FIELDS = 1000
_FIELD_BYTES = 1 << 20
_DIGITS = 19
"""Of a length that a body may declare."""


class PredictRequest(Frozen):
    """Rows to predict."""

    rows: Annotated[list[dict[str, Cell | dict[str, Cell]]], Field(min_length=1)]
    """Input to its value: pictures, sounds and clips in base64, a text as it is, cells of a table under their columns'
    names. Any input may be left out."""
    explain: bool = False
    """Also what each answer rests on: the inputs' Shapley values, and what their parts add. For few rows at a time."""


class AskedRows(NamedTuple):
    """What a request asks for."""

    rows: list[Row]
    explain: bool


def declared_bytes(request: Request, limits: Limits) -> int:
    """The size of a request's body, the greatest allowed one where it is not declared. Raises HttpProblem (400, 413)."""
    text = request.headers.get("content-length")
    if text is None:
        return limits.max_body_bytes
    if not (text.isascii() and text.isdigit() and len(text) < _DIGITS):
        raise HttpProblem(400, "bad-request", f"Content-Length {text!r} is no number")
    if int(text) > limits.max_body_bytes:
        raise _too_large(limits)
    return int(text)


async def read_rows(request: Request, limits: Limits) -> AskedRows:
    """The rows of a request. Raises HttpProblem: 400 for a body that is broken, 413 for one that is too large, 415 for one of
    another kind, 422 for rows that cannot be used."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpProblem(415, "unsupported-encoding", "the body is compressed; send it as it is")
    if kind == "application/json":
        return _require_few(*_from_json(b"".join([chunk async for chunk in _bounded(request, limits)]), limits), limits)
    if kind == "multipart/form-data":
        return AskedRows([await _from_form(request, limits)], _flag(request))
    raise HttpProblem(
        415, "unsupported-type", f"Content-Type {kind or 'none'}; send application/json or multipart/form-data"
    )


def _flag(request: Request) -> bool:
    """Whether a form, whose fields are inputs and columns, asks for explanations: in its address."""
    text = request.query_params.get("explain", "false")
    if text not in ("true", "false"):
        raise HttpProblem(422, "bad-request", f"explain={text[:20]!r}; say explain=true, or leave it out")
    return text == "true"


def _require_few(rows: list[Row], explain: bool, limits: Limits) -> AskedRows:
    if explain and len(rows) > limits.max_explained:
        raise HttpProblem(
            422, "too-many-rows", f"{len(rows)} rows to explain, at most {limits.max_explained} in one request"
        )
    return AskedRows(rows, explain)


async def _bounded(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Yields the body as it comes, up to the limit."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.max_body_bytes:
            raise _too_large(limits)
        yield chunk


def _too_large(limits: Limits) -> HttpProblem:
    close = {"Connection": "close"}  # the rest is not read
    return HttpProblem(413, "body-too-large", f"the body is larger than {limits.max_body_mb:g} MB", headers=close)


def _from_json(body: bytes, limits: Limits) -> AskedRows:
    try:
        asked = PredictRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise HttpProblem(400, "not-json", f"the body is no JSON: {first['msg']}") from None
        place = ".".join(map(str, first["loc"][:3])) or "body"
        raise HttpProblem(422, "bad-request", f'{place}: {first["msg"]}; send {{"rows": [{{"text": …}}, …]}}') from None
    _require_unique_keys(body)
    rows = asked.rows
    if len(rows) > limits.max_rows:
        raise HttpProblem(422, "too-many-rows", f"{len(rows)} rows, at most {limits.max_rows} in one request")
    refused: list[Refusal] = []
    found = [
        {name: _value(number, name, value, refused) for name, value in row.items()} for number, row in enumerate(rows)
    ]
    if refused:
        raise rows_refused(refused, len(rows))
    return AskedRows(found, asked.explain)


def _require_unique_keys(body: bytes) -> None:
    """Raises HttpProblem (422) where an object has a key twice: JSON's readers differ in which of the two they take."""

    def unique(pairs: list[tuple[str, Any]]) -> None:
        """Raises for the keys of one object."""
        repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        if repeated:
            raise HttpProblem(422, "bad-request", f"the key {repeated[0]!r} is there twice in one object; give it once")

    json.loads(body, object_pairs_hook=unique, parse_int=str, parse_float=str)  # numbers may be longer than int takes


def _value(row: int, name: str, value: Any, refused: list[Refusal]) -> Any:
    """A value of JSON as the model takes it: never a path, which would be one of this machine."""
    if name not in INPUTS or spec_of(name).joined_columns() is not None or value is None:
        return value  # a cell of a table
    if not isinstance(value, str):
        refused.append(Refusal(row=row, input=name, reason="bad-value", detail="is no text; media are sent in base64"))
        return None
    if modality_of(name) in IN_CELLS:
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        detail = f"is no base64 ({error}); leave out line breaks and any data: before it"
        refused.append(Refusal(row=row, input=name, reason="not-base64", detail=detail))
        return None


def rows_refused(refused: list[Refusal], rows: int) -> HttpProblem:
    """The answer to rows of which some cannot be used."""
    count = len({refusal.row for refusal in refused})
    return HttpProblem(422, "rows-refused", f"{count} of {rows} rows cannot be predicted: {refused[0]}", refused)


class _Tail:
    """Hands a body on, and keeps its last bytes: Starlette's parser takes a form that was cut off for one that ends there."""

    def __init__(self, boundary: str) -> None:
        self._end = f"--{boundary}--".encode("latin-1", "replace")
        self._last = b""
        self.ended = False

    async def follow(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Yields the same chunks; `ended` says whether the boundary that ends a form has come."""
        async for chunk in chunks:
            self._last += chunk
            self.ended = self.ended or self._end in self._last
            self._last = self._last[-len(self._end) :]
            yield chunk


async def _from_form(request: Request, limits: Limits) -> Row:
    _, options = parse_options_header(request.headers.get("content-type"))
    tail = _Tail(options.get(b"boundary", b"").decode("latin-1"))
    parser = MultiPartParser(
        request.headers,
        tail.follow(_bounded(request, limits)),
        max_files=_MOST_FIELDS,
        max_fields=_MOST_FIELDS,
        max_part_size=_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError) as error:  # KeyError: a Content-Type without a boundary
        reason = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        raise HttpProblem(400, "broken-form", f"the form cannot be read: {reason}") from None
    row: Row = {}
    try:
        if not tail.ended:
            raise HttpProblem(400, "broken-form", "the form was cut off: the boundary that ends it did not come")
        for name, field in form.multi_items():
            if name in row:
                raise HttpProblem(
                    422, "bad-request", f"field {name} is there twice; one form is one row, send more as JSON"
                )
            row[name] = await _field(name, field)
    finally:
        await form.close()
    return row


async def _field(name: str, field: UploadFile | str) -> bytes | str | None:
    if isinstance(field, str):
        is_file = name in INPUTS and modality_of(name) not in IN_CELLS
        if is_file and field:
            detail = "is a text; send a file (curl: -F image=@photo.jpg)"
            raise rows_refused([Refusal(row=0, input=name, reason="bad-value", detail=detail)], 1)
        return field or None
    data: bytes = await field.read()
    return data if data or field.filename else None  # a file field of a form in which none was chosen
