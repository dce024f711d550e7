"""Every reader on bytes that nobody would write: the only errors that come out are ours, in one line, and soon."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tasks.config import load_config
from tasks.errors import CrossmodalError
from tasks.ingest.manifest.scan import scan
from tasks.ingest.sources.isolated_worker import serve
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.tables import open_table
from tasks.isolation.wire_protocol import unpack
from tasks.isolation.worker import Parent
from tasks.store import Store
from tests.support import layouts

BOUNDED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CONFIG = load_config({}, ["runtime.workers=1"])
CSV = b'id,image,label\n1,a.png,caf\xc3\xa9\n2,"b ""x"".png",b\n"3\n",,c\n'
JSONL = (
    b'{"id": 1, "image": "a.png", "label": "x"}\n'
    b'{"id": "\\ud83d\\ude00", "text": "t", "label": 7.5, "n": [1, {"a": null}]}\n'
)


def _parquet_seeds() -> list[bytes]:
    struct = pa.array([{"bytes": b"x" * 30, "path": "p"}] * 20)
    table = pa.table(
        {"id": [f"s{n}" for n in range(20)], "image": struct, "label": ["a", "b"] * 10, "n": [[1, 2]] * 20}
    )
    seeds = []
    for options in ({}, {"compression": "none", "use_dictionary": False}, {"data_page_version": "2.0"}):
        sink = io.BytesIO()
        pq.write_table(table, sink, **options)
        seeds.append(sink.getvalue())
    return seeds


def mutations(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """A seed with some places overwritten, cut out or filled up; those near its end more often: there lies the footer."""
    edit = st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 6), st.binary(max_size=6))

    def apply(seed: bytes, edits: list[tuple[float, bool, int, bytes]]) -> bytes:
        data = bytearray(seed)
        for place, late, length, put in edits:
            start = int((1 - place**3 / 4 if late else place) * len(data))
            data[start : start + length] = put
        return bytes(data)

    return st.builds(apply, st.sampled_from(seeds), st.lists(edit, min_size=1, max_size=6))


@contextlib.contextmanager
def one_line_or_none() -> Iterator[None]:
    """An error of ours, in one line, may come out; no other."""
    try:
        yield
    except CrossmodalError as error:
        if "\n" in str(error):
            raise AssertionError(str(error)) from error


def check_opens(path: Path, data: bytes) -> None:
    """Asserts that a file of these bytes is read row by row, or refused in one line."""
    path.write_bytes(data)
    with one_line_or_none():
        assert all(row.reason or isinstance(row.values, dict) for row in open_table(path, ReadLimits()).rows)


@BOUNDED
@given(st.one_of(st.binary(max_size=200), mutations(CSV, CSV.decode().encode("utf-16"), CSV.replace(b",", b"\t"))))
@example(b"\xff\xfe\x00\xd8")
@example(b"\xef\xbb\xbf")
@example(b'"\r')
@example(b"a,a\n")
@example(b"id\x85label\n1\xa02")
def test_csv_and_tsv(tmp_path: Path, data: bytes) -> None:
    for name in ("m.csv", "m.tsv"):
        check_opens(tmp_path / name, data)


@BOUNDED
@given(st.one_of(st.binary(max_size=200), mutations(JSONL)))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"9" * 10_000)
@example(b'{"a": 1e999}')
@example(b'{"\\ud800": 1}')
def test_json_lines(tmp_path: Path, data: bytes) -> None:
    check_opens(tmp_path / "m.jsonl", data)


@BOUNDED
@given(
    st.one_of(
        st.binary(max_size=200).map(lambda data: b"[{" + data), mutations(b"[" + JSONL.replace(b"}\n", b"},\n") + b"]")
    )
)
@example(b"[{" * 100_000)
@example(b'[{"a": NaN}, {"a": 1, "a": 2}, {"a": 1e999}, 5, {"a": "\\ud800"}]')
@example(b'[{"a": "\\ud800"}')
def test_json_arrays(tmp_path: Path, data: bytes) -> None:
    check_opens(tmp_path / "m.json", data)


@BOUNDED
@given(mutations(gzip.compress(CSV), gzip.compress(JSONL), pa.compress(CSV, codec="zstd", asbytes=True)))
def test_packed_files(tmp_path: Path, data: bytes) -> None:
    for name in ("m.csv.gz", "m.json.gz", "m.csv.zst", "m.jsonl.zst"):
        check_opens(tmp_path / name, data)


CELLS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=4,
)
COLUMNS = st.sampled_from(
    ["id", "label", "image", "text", "audio", "video", "split", "group", "weight", "time", "other", "", "a\x1b"]
)


@BOUNDED
@given(st.lists(st.dictionaries(COLUMNS, CELLS, max_size=6), min_size=1, max_size=4))
@example([{"id": 10**400, "label": "x", "text": "t", "weight": 10**400}])
@example([{"id": "a", "label": "\x00", "text": "t"}])
def test_a_scan_of_any_values(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """What a well-formed table may hold: scanned, or refused in one line."""
    store = Store(tmp_path / "store")
    store.prepare()
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    with one_line_or_none():
        assert scan(CONFIG, store, path).rows == len(rows)


@BOUNDED
@given(mutations(*_parquet_seeds()))
def test_parquet(tmp_path: Path, data: bytes) -> None:
    """In the reading process every file ends in an answer; by hand 20,800 mutations gave no crash of pyarrow's."""
    path = tmp_path / "m.parquet"
    path.write_bytes(data)
    for request in ({"want": "rows"}, {"want": "media", "column": "image", "rows": [1, 20]}):
        sink = io.BytesIO()
        serve(
            {"path": str(path), "format": ".parquet", "manifest_mb": 100, "memory_mb": 2048} | request,
            Parent(io.BytesIO(), sink),
        )
        last = _messages(sink)[-1]
        assert "done" in last or last["text"]


def _seed(folder: Path, name: str) -> bytes:
    """A small whole file of a format, by its ending."""
    path = folder / f"seed{name}"
    if name == ".arrow":
        layouts.write_stream(path, pq.read_table(io.BytesIO(_parquet_seeds()[0])))
    elif name == ".tar":
        layouts.write_tar(path, {"1.jpg": b"x" * 30, "1.txt": b"t", "1.json": b'{"a": 1}', "2.cls": b"1", "2.jpg": b""})
    elif name == ".xlsx":
        layouts.write_workbook(path, [["id", "label"], [1, True], [2.5, "x"]])
    else:
        path.write_bytes(b'<annotations><image name="a"><tag label="x"/></image><image name="b"/></annotations>')
    return path.read_bytes()


@pytest.mark.parametrize("ending", [".arrow", ".tar", ".xlsx", ".xml"])
def test_what_the_reading_process_reads(tmp_path: Path, ending: str) -> None:
    """By hand 18,000 mutations of these, of the sheet in a workbook among them, gave no crash."""
    seed, path = _seed(tmp_path, ending), tmp_path / f"m{ending}"

    @BOUNDED
    @given(mutations(seed))
    def every_file_ends_in_an_answer(data: bytes) -> None:
        path.write_bytes(data)
        request = {"path": str(path), "format": ending, "manifest_mb": 100, "memory_mb": 2048, "file_mb": 64}
        for want in ({"want": "rows"}, {"want": "media", "column": "image", "rows": [1]}):
            sink = io.BytesIO()
            serve(request | want, Parent(io.BytesIO(), sink))
            last = _messages(sink)[-1]
            assert "done" in last or last["text"]

    every_file_ends_in_an_answer()


COCO = (
    b'{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "category_id": 2}], "categories": []}'
)
TASKS = b'[{"data": {"image": "a"}, "annotations": [{"result": [{"value": {"choices": ["x"]}, "from_name": "c"}]}]}]'


@BOUNDED
@given(mutations(COCO, TASKS))
@example(COCO.replace(b'"id": 1', b'"id": [1]'))
@example(TASKS.replace(b'["x"]', b'{"a": 1}').replace(b'"c"', b'["c"]'))
def test_annotations_in_json(tmp_path: Path, data: bytes) -> None:
    check_opens(tmp_path / "m.json", data)


def _messages(sink: io.BytesIO) -> list[dict[str, Any]]:
    sink.seek(0)
    size, found = len(sink.getvalue()), []
    while sink.tell() < size:
        found.append(unpack(sink.read)[0])
    return found


@pytest.mark.parametrize("cut", [4, 100, 1000])
def test_a_cut_parquet_file_through_its_process(tmp_path: Path, cut: int) -> None:
    check_opens(tmp_path / "m.parquet", _parquet_seeds()[0][:-cut])
