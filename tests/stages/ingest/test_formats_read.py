"""Encodings of text tables, types of Parquet, and a reading process that dies, hangs, or is refused its memory."""

from __future__ import annotations

import datetime
import decimal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.config import load_config
from tasks.errors import DataError, EnvironmentFailed
from tasks.ingest.manifest.rows import Inline
from tasks.ingest.sources import isolated
from tasks.ingest.sources.detect import open_manifest
from tasks.ingest.sources.encodings import NotText, find_encoding
from tasks.ingest.sources.isolated import open_isolated, read_inline
from tasks.ingest.sources.limits import ReadLimits, read_limits

MakeData = Callable[..., Path]


@pytest.mark.parametrize(
    ("encoding", "read_as", "text"),
    [
        ("utf-8", None, "id,label\n1,猫\n"),
        ("utf-8-sig", None, "id,label\n1,猫\n"),
        ("utf-16", None, "id,label\n1,猫\U0001f600\n"),
        ("cp1252", "cp1252", "id,text,label\n1,Déjà vu à l'été,café\n2,Une crème brûlée près de l'hôtel,gâteau\n"),
        ("cp1252", "cp1252", "id,image,label\n1,a.png,Müller\n2,b.png,Größe\n"),
        ("cp1250", "cp1250", "id,text,label\n1,Dzień dobry jak się pan dziś miewa,łódź\n2,Zażółć gęślą jaźń,źdźbło\n"),
        (
            "cp1251",
            "cp1251",
            "id,text,label\n1,Привет как дела сегодня,кошка\n2,Это предложение на русском языке,собака\n",
        ),
        ("cp932", "cp932", "id,text,label\n1,これは日本語の文章です,猫\n2,私は東京に住んでいます,犬\n"),
        ("gb18030", "gb18030", "id,text,label\n1,这是一个中文句子,猫\n2,我住在北京市中心,狗\n"),
    ],
)
def test_encodings(encoding: str, read_as: str | None, text: str) -> None:
    data = text.encode(encoding)
    found, note = find_encoding(lambda: iter([data]))
    assert data.decode(found) == text
    assert note is None if read_as is None else note is not None and f"read as {read_as}, which was detected" in note


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe\x00\xd8a\x00", "not UTF-16 at byte 2, though it begins with its mark"),
        (b"\xef\xbb\xbfid\xff", "not UTF-8-SIG at byte"),
        (b"id,label\n1,\xff\xfe\xfd\x81\x8d\x8f\x90\x9d\n", "no other encoding fits with confidence"),
        ("id,label\n1,Größe und Müller\n2,\x01\n".encode("cp1252"), "control characters in it"),
    ],
)
def test_bytes_that_are_no_text(data: bytes, words: str) -> None:
    with pytest.raises(NotText, match=words):
        find_encoding(lambda: iter([data]))


def test_a_guessed_encoding_is_noted_and_utf_16_gives_what_utf_8_gives(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(4, labels=("Müller", "Größe"))
    expected = run_ingest(path)
    text = path.read_text("utf-8")
    path.write_text(text, "utf-16")
    assert run_ingest(path).samples == expected.samples
    path.write_text(text, "cp1252")
    done = run_ingest(path)
    assert done.samples == expected.samples
    assert any("manifest.csv is not UTF-8 and was read as cp1252" in note for note in done.raw.notes)


def test_quotes_and_line_ends_inside_cells(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(2)
    header, first, second = path.read_text().splitlines()
    first = first.replace("words of 0", '"two\nlines, ""quoted"""')
    path.write_bytes("\r\n".join([header, first, second, "x,img/0.png", ""]).encode())
    done = run_ingest(path)
    assert set(done.samples) == {"s0", "s1"}
    assert done.reasons == {"x": "ragged-row"}


def test_a_manifest_over_the_limit(make_data: MakeData) -> None:
    limits = read_limits(load_config({}, ["data.max_manifest_mb=0.0001"]))
    with pytest.raises(DataError, match=r"bytes; the limit is data.max_manifest_mb = 0.0001"):
        open_manifest(make_data(4), limits)


def _write(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def test_cells_of_every_type(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "text": ["é"],
        "large": pa.array(["l"], pa.large_string()),
        "coded": pa.array(["c"]).dictionary_encode(),
        "whole": [7],
        "real": [7.0],
        "nan": [float("nan")],
        "flag": [True],
        "date": [datetime.date(2024, 1, 2)],
        "time": [datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.UTC)],
        "money": [decimal.Decimal("1.50")],
        "list": [[1, 2]],
        "struct": [{"a": {"b": 1}}],
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "bytes": [b"x"],
        "medium": [{"bytes": b"x", "path": None}],
        "none": pa.nulls(1),
    }
    manifest = open_isolated(_write(tmp_path / "t.parquet", pa.table(columns)), ReadLimits())
    (row,) = manifest.rows
    digest = Inline("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
    assert row.values == {
        "text": "é",
        "large": "l",
        "coded": "c",
        "whole": 7,
        "real": 7.0,
        "nan": None,
        "flag": True,
        "date": "2024-01-02",
        "time": "2024-01-02 03:00:00+00:00",
        "money": "1.50",
        "list": [1, 2],
        "struct": {"a": {"b": 1}},
        "map": [["k", 1]],
        "bytes": digest,
        "medium": digest,
        "none": None,
    }


def test_a_column_that_appears_twice(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(DataError, match="column 'a' appears twice"):
        open_isolated(_write(tmp_path / "t.parquet", table), ReadLimits())


def test_a_file_that_needs_more_memory_than_it_may(tmp_path: Path) -> None:
    """A page of 150 MB, from a file of as many bytes: honest, and too much."""
    table = pa.table({"image": pa.array([bytes(range(256)) * 600_000], pa.binary()), "label": ["a"]})
    pq.write_table(table, tmp_path / "t.parquet", compression="none", use_dictionary=False)
    with pytest.raises(DataError, match=r"needs more than media.memory_mb = 300"):
        open_isolated(tmp_path / "t.parquet", ReadLimits(memory_mb=300))


READY = (
    "import sys; from tasks.isolation.wire_protocol import pack; "
    "sys.stdout.buffer.write(pack({'ready': True})); sys.stdout.flush(); "
)


@pytest.mark.parametrize(
    ("code", "timeout_s", "words"),
    [
        ("import os; os.kill(os.getpid(), 11)", 600, "the process that read it died"),
        ("import signal; signal.pause()", 0.5, "took longer than media.timeout_s = 0.5"),
        ("sys.stdout.buffer.write(b'\\xff' * 12)", 600, "a batch of its rows has 4294967295 bytes"),
        ("sys.stdout.buffer.write(b'\\0\\0\\0\\2' + b'\\0' * 8 + b'no')", 600, "gave a broken answer"),
    ],
)
def test_a_reading_process_that_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, timeout_s: float, words: str
) -> None:
    path = _write(tmp_path / "t.parquet", pa.table({"image": [b"x"]}))
    monkeypatch.setattr(isolated, "WORKER", (sys.executable, "-c", READY + code))
    with pytest.raises(DataError, match=words):
        open_isolated(path, ReadLimits(timeout_s=timeout_s))
    with pytest.raises(DataError, match=words):
        list(read_inline(path, "image", {1}, ReadLimits(timeout_s=timeout_s)))
    monkeypatch.setattr(isolated, "WORKER", (sys.executable, "-c", "pass"))
    with pytest.raises(EnvironmentFailed, match="does not start"):
        open_isolated(path, ReadLimits())


def test_rows_of_a_large_file_are_read_as_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(rows: int) -> None:
        pq.write_table(pa.table({"id": [str(row) for row in range(rows)]}), path, row_group_size=4)

    path = tmp_path / "m.parquet"
    write(10)
    monkeypatch.setattr(isolated, "HELD_ROWS", 9)
    manifest = open_isolated(path, ReadLimits())
    assert manifest.count == 10
    assert [(row.number, row.values["id"]) for row in manifest.rows] == [(n + 1, str(n)) for n in range(10)]
    manifest = open_isolated(path, ReadLimits())
    write(11)
    with pytest.raises(DataError, match="changed while it was read"):
        next(manifest.rows)
