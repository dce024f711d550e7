"""CSV and TSV as they are written: by value, and by a property over random tables in every dialect of Python's csv."""

from __future__ import annotations

import csv
import gzip
import io
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tasks.config import load_config
from tasks.config_sections import CsvConfig
from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.rows import Manifest
from tasks.ingest.sources.limits import ReadLimits, read_limits
from tasks.ingest.sources.tables import open_table

HEAD = ["id", "text", "label"]


def read(path: Path, data: str | bytes, **options: str) -> Manifest:
    """The manifest of a file of this content."""
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return open_table(path, ReadLimits(csv=CsvConfig(**options)))


def cells(manifest: Manifest) -> list[list[Any]]:
    """All rows, each of which must be readable."""
    rows = list(manifest.rows)
    assert [row.detail for row in rows if row.reason] == []
    return [[row.values[name] for name in manifest.columns] for row in rows]


@pytest.mark.parametrize(
    ("name", "text", "expected", "note"),
    [
        ("m.csv", "id,text,label\n1,a,x\n", [["1", "a", "x"]], None),
        ("m.csv", "id;text;label\r\n1;a,b;x\r\n", [["1", "a,b", "x"]], "cells are separated by ';'"),
        ("m.csv", "\ufeffid;text;label\r\n1;a;x\r\n", [["1", "a", "x"]], "cells are separated by ';'"),
        ("m.csv", "\ufeffsep=;\r\nid;text;label\r\n1;a;x\r\n", [["1", "a", "x"]], "cells are separated by ';'"),
        ("m.csv", "sep=,\nid,text,label\n1,a,x\n", [["1", "a", "x"]], None),
        ("m.csv", "id|text|label\n1|a,b|x\n", [["1", "a,b", "x"]], "cells are separated by '|'"),
        ("m.csv", "id\ttext\tlabel\n1\ta\tx\n", [["1", "a", "x"]], r"cells are separated by '\t'"),
        ("m.tsv", "id,text,label\n1,a,x\n", [["1", "a", "x"]], "cells are separated by ','"),
        ("m.csv", 'id, text, label\n1, "a, b", x\n', [["1", "a, b", "x"]], "spaces after the delimiter"),
        ("m.csv", "id, text, label\n1, a, x\n", [["1", "a", "x"]], "spaces after the delimiter"),
        ("m.csv", 'id,text,label\n1,"a\nb",x\n', [["1", "a\nb", "x"]], None),
        ("m.csv", 'id,text,label\n1,"a ""b""",x\n', [["1", 'a "b"', "x"]], None),
        ("m.csv", 'id,text,label\n1,12" disk,x\n', [["1", '12" disk', "x"]], None),
        (
            "m.csv",
            'id,text,label\n"1","a \\"b\\", c","x"\n',
            [["1", 'a "b", c', "x"]],
            r"\" is a quotation mark in 1 rows",
        ),
        (
            "m.csv",
            'id,text,label\n"1","a \\"b\\" c","x"\n',
            [["1", 'a "b" c', "x"]],
            "first on line 2 (data.csv.escape)",
        ),
        ("m.csv", 'id,text,label\n"1","the "so-called" a","x"\n', [["1", 'the "so-called" a', "x"]], "first on line 2"),
        ("m.csv", 'id,text,label\n1,"a" b,x\n2,c,y\n', [["1", '"a" b', "x"], ["2", "c", "y"]], "are part of the text"),
        ("m.csv", 'id,text,label\n1,"a b,x\n2,c,y\n', [["1", '"a b', "x"], ["2", "c", "y"]], "data.csv.quoting"),
        ("m.tsv", 'id\ttext\tlabel\n1\t"a b\tx\n2\tc\ty\n', [["1", '"a b', "x"], ["2", "c", "y"]], "data.csv.quoting"),
        ("m.tsv", 'id\ttext\tlabel\n1\t"a\tx\n2\tb"\ty\n', [["1", '"a', "x"], ["2", 'b"', "y"]], "data.csv.quoting"),
        ("m.tsv", 'id\ttext\tlabel\n1\t"a"\tx\n', [["1", "a", "x"]], None),
        ("m.tsv", 'id\ttext\tlabel\n1\t"a\tb\nc"\tx\n', [["1", "a\tb\nc", "x"]], None),
        ("m.csv", "id,text,label\n'1','a, b','x'\n", [["1", "a, b", "x"]], "cells are quoted with '"),
        (
            "m.csv",
            "id,text,label\n1,'it''s a, b',x\n2,'c',y\n",
            [["1", "it's a, b", "x"], ["2", "c", "y"]],
            "quotechar",
        ),
        ("m.csv", "'id','text','label'\n'1','a\nb','x'\n", [["1", "a\nb", "x"]], "data.csv.quotechar"),
        ("m.csv", "id;text;label\n1;'a; b';x\n", [["1", "a; b", "x"]], "(data.csv.delimiter); cells are quoted with '"),
        ("m.csv", "id,text,label\n1,'tis a,x\n2,b,y\n", [["1", "'tis a", "x"], ["2", "b", "y"]], None),
        ("m.csv", "id,text,label\n1,'a',x\n2,b,y\n", [["1", "'a'", "x"], ["2", "b", "y"]], None),  # a word in quotes
        ("m.csv", "id,text,label\n1,'a',\"x\"\n", [["1", "'a'", "x"]], None),
        ("m.csv", "text\none\ntwo, three\n", None, None),
        ("m.csv", 'text\none\n"two, three"\n', [["one"], ["two, three"]], None),
    ],
)
def test_a_dialect(tmp_path: Path, name: str, text: str, expected: list[list[str]] | None, note: str | None) -> None:
    manifest = read(tmp_path / name, text)
    if expected is None:
        assert [row.reason for row in manifest.rows] == [None, "ragged-row"]
        return
    assert cells(manifest) == expected
    assert len(manifest.notes) == (note is not None)
    assert note is None or note in manifest.notes[0]


def test_the_whole_file_says_which_quotation_mark_it_uses(tmp_path: Path) -> None:
    """Beyond the sample's 2,000 lines: a label may stand in '…' and be no quoted cell."""
    text = "text,label\n" + "".join(f"hi {n},'cat'\n" for n in range(3_000))
    kept = cells(read(tmp_path / "m.csv", text + "\"hello, world\",'dog'\n"))
    assert (kept[0], kept[-1]) == (["hi 0", "'cat'"], ["hello, world", "'dog'"])
    single = cells(read(tmp_path / "m.csv", text + "'hello, world','dog'\n"))
    assert (single[0], single[-1]) == (["hi 0", "cat"], ["hello, world", "dog"])
    both = cells(read(tmp_path / "m.csv", text + "'hello, world','dog'\n'so, so','dog'\n\"so\",'dog'\n"))
    assert (both[0], both[-1]) == (["hi 0", "cat"], ['"so"', "dog"])
    within = cells(read(tmp_path / "m.csv", text + "'\"so\" he said','dog'\nsay \"x\",'dog'\n"))
    assert within[-2:] == [['"so" he said', "dog"], ['say "x"', "dog"]]
    named = cells(read(tmp_path / "m.csv", text + "\"so\",'dog'\n", quotechar="'"))
    assert named[-1] == ['"so"', "dog"]


def test_records_in_apostrophes_over_several_lines(tmp_path: Path) -> None:
    text = "id,text,label\n" + "".join(f"{n},'one\ntwo, more\n\nthree',x\n" for n in range(20))
    assert cells(read(tmp_path / "m.csv", text)) == [[str(n), "one\ntwo, more\n\nthree", "x"] for n in range(20)]
    assert [row.number for row in read(tmp_path / "m.csv", text).rows][:2] == [2, 6]
    rows_too = "id,text\n1,'one\ntwo, more'\n"  # each line is a row by itself, as in double ones
    with pytest.raises(DataError, match=r"line 2: the quotation mark in 'one\\ntwo, more' closes on line 3"):
        read(tmp_path / "m.csv", rows_too)
    assert cells(read(tmp_path / "m.csv", rows_too, quoting="minimal")) == [["1", "one\ntwo, more"]]


def test_unnamed_columns_are_left_out_and_counted(tmp_path: Path) -> None:
    manifest = read(tmp_path / "m.csv", "v1,v2,,\nham,a,,\nspam,b,odd,\nspam,c\n")
    assert manifest.columns == ("v1", "v2")
    assert cells(manifest) == [["ham", "a"], ["spam", "b"], ["spam", "c"]]
    assert manifest.notes == ("m.csv: 2 unnamed columns are left out (1 of their cells are filled)",)
    indexed = read(tmp_path / "m.csv", ",text,label\n0,a,x\n1,b,y\n")
    assert cells(indexed) == [["a", "x"], ["b", "y"]]


def test_a_quoted_cell_whose_lines_are_rows_by_themselves(tmp_path: Path) -> None:
    """Nothing in the file says which it is: refused with the line and the two settings. What other rows do decides."""
    text = 'id,text,label\n1,"a,x\n2,b",y\n'
    with pytest.raises(
        DataError, match=r"line 2: .* closes on line 3.*data.csv.quoting=none .*quoting=minimal"
    ) as caught:
        read(tmp_path / "m.csv", text)
    assert "'a,x\\n2,b'" in str(caught.value)
    assert cells(read(tmp_path / "m.csv", text, quoting="minimal")) == [["1", "a,x\n2,b", "y"]]
    assert cells(read(tmp_path / "m.csv", text, quoting="none")) == [["1", '"a', "x"], ["2", 'b"', "y"]]
    quoting = read(tmp_path / "m.csv", text + '3,"c, d",z\n')
    assert [row[1] for row in cells(quoting)] == ["a,x\n2,b", "c, d"]
    assert "begins on line 2 continues to line 3" in quoting.notes[0]
    marks = read(tmp_path / "m.csv", text + '3,"c" d,z\n')
    assert [row[1] for row in cells(marks)] == ['"a', 'b"', '"c" d']


def test_a_row_that_fits_in_no_reading_is_refused_with_its_line(tmp_path: Path) -> None:
    manifest = read(tmp_path / "m.csv", 'id,text,label\n1,"a\nb",x\n2,"c\n3,e,y\n')
    rows = list(manifest.rows)
    assert [row.reason for row in rows] == [None, "ragged-row", None]
    assert rows[1].detail == "line 4: 2 cells, the header has 3; see data.csv.quoting for the quotation mark in '\"c'"
    assert rows[-1].values == {"id": "3", "text": "e", "label": "y"}
    short = list(read(tmp_path / "m.csv", "id,text,label\n1,a\n2,b,x,\n3,c,x,d\n").rows)
    assert [row.detail for row in short] == [
        "line 2: 2 cells, the header has 3",
        None,
        "line 4: 4 cells, the header has 3",
    ]


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({"delimiter": "~"}, "id~text~label\n1~a,b~x\n", ["1", "a,b", "x"]),
        ({"delimiter": "tab"}, "id\ttext\tlabel\n1\ta\tx\n", ["1", "a", "x"]),
        ({"delimiter": ","}, "id,te;xt;s,label\n1,a;b;c,x\n", ["1", "a;b;c", "x"]),
        ({"quoting": "none"}, 'id,text,label\n1,"a",x\n', ["1", '"a"', "x"]),
        ({"escape": "backslash"}, 'id,text,label\n1,"a\\"",x\n', ["1", 'a"', "x"]),
        ({"encoding": "cp1252"}, "id,text,label\n1,ä,x\n".encode("cp1252"), ["1", "ä", "x"]),
        ({"encoding": "utf-16"}, "id,text,label\n1,ä,x\n".encode("utf-16"), ["1", "ä", "x"]),
    ],
)
def test_a_dialect_that_is_named(
    tmp_path: Path, options: dict[str, str], text: str | bytes, expected: list[str]
) -> None:
    assert cells(read(tmp_path / "m.csv", text, **options)) == [expected]


def test_settings_of_a_dialect() -> None:
    assert read_limits(load_config({}, ["data.csv.delimiter=;"])).csv.delimiter == ";"
    assert read_limits(load_config({}, [r"data.csv.delimiter=\t"])).csv.delimiter == "\t"
    for wrong in ("delimiter=::", 'delimiter="', "encoding=klingon", "encoding=base64", "quoting=some"):
        with pytest.raises(UsageError, match=f"data.csv.{wrong.split('=')[0]}"):
            load_config({}, [f"data.csv.{wrong}"])


def test_a_named_encoding_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not ascii \(data.csv.encoding\) at byte 14"):
        read(tmp_path / "m.csv", "id,text,label\nä,b,c\n", encoding="ascii")


def test_packed_tables(tmp_path: Path) -> None:
    text = b"id,text,label\n1,a,x\n"
    assert cells(read(tmp_path / "m.csv.gz", gzip.compress(text))) == [["1", "a", "x"]]
    packed = pa.compress(text, codec="zstd", asbytes=True)
    assert cells(read(tmp_path / "m.csv.zst", packed)) == [["1", "a", "x"]]
    assert cells(read(tmp_path / "m.jsonl.gz", gzip.compress(b'{"id": 1}\n{"id": 2}\n'))) == [[1], [2]]
    for name, data in (("m.csv.gz", b"id,text\n"), ("m.csv.zst", b"id,text\n"), ("m.csv.gz", gzip.compress(text)[:-9])):
        with pytest.raises(DataError, match=rf"{re.escape(name)}: cannot be unpacked"):
            read(tmp_path / name, data)
    (tmp_path / "m.csv.gz").write_bytes(gzip.compress(text * 100_000))
    with pytest.raises(DataError, match=r"more than data.max_manifest_mb = 1 once unpacked"):
        open_table(tmp_path / "m.csv.gz", ReadLimits(manifest_mb=1))
    with pytest.raises(UsageError, match=r"\.gz ending"):
        open_table(tmp_path / "m.csv.gz".replace("csv", "parquet"), ReadLimits())


# -- rows in = rows written, or a refusal with a line number ---

BOUNDED = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CELL = st.text(st.sampled_from("ab \",;|\t\n\\'"), max_size=6)
TABLE = st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=8)


def assert_conserved(path: Path, text: str, written: list[list[str]], *, exact: bool) -> None:
    """Asserts that what was written is read, with `exact` by value, or refused, or a row refused, by its line."""
    try:
        rows = list(read(path, text).rows)
    except DataError as error:
        assert re.search(r"line \d+: the quotation mark", str(error))  # noqa: PT017
        return
    if any(row.reason for row in rows):
        assert all(re.match(r"line \d+: ", row.detail or "") for row in rows if row.reason)
        return
    assert len(rows) == len(written)
    if exact:
        assert [[row.values[name] for name in HEAD] for row in rows] == written


@BOUNDED
@example(table=[["'", "", ""], ["", "'", ","]], delimiter=",", end="\n", quoting=0, name="m.csv")
@example(table=[[",", "'", "'"]], delimiter=",", end="\n", quoting=0, name="m.csv")
@given(
    TABLE,
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["m.csv", "m.tsv"]),
)
@example([["1", "a,x\n2,b", "y"]], ",", "\n", csv.QUOTE_MINIMAL, "m.csv")
def test_tables_that_csv_writes(
    tmp_path: Path, table: list[list[str]], delimiter: str, end: str, quoting: Any, name: str
) -> None:
    """A cell of a tab-separated file whose lines are all rows by themselves is the one thing that its custom reads apart."""
    assume(delimiter != "\t" or not any("\t" in cell and "\n" in cell for row in table for cell in row))
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerows([HEAD, *table])
    assert_conserved(tmp_path / name, sink.getvalue(), table, exact=True)


@BOUNDED
@given(TABLE, st.sampled_from([",", ";", "\t"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_tables_with_a_backslash_as_escape(
    tmp_path: Path, table: list[list[str]], delimiter: str, quoting: Any
) -> None:
    sink = io.StringIO()
    writer = csv.writer(
        sink, delimiter=delimiter, lineterminator="\n", quoting=quoting, doublequote=False, escapechar="\\"
    )
    writer.writerows([HEAD, *table])
    assume(delimiter != "\t" or not any("\t" in cell and "\n" in cell for row in table for cell in row))
    assert_conserved(tmp_path / "m.csv", sink.getvalue(), table, exact=False)


@BOUNDED
@given(TABLE, st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["m.csv", "m.tsv"]))
@example([["1", '"a', "x"], ["2", 'b"', "y"]], "\t", "m.tsv")
def test_tables_that_are_joined_without_a_thought(
    tmp_path: Path, table: list[list[str]], delimiter: str, name: str
) -> None:
    """Cells may hold anything but the delimiter and a line break, quotation marks above all."""
    plain = [[cell.replace(delimiter, "-").replace("\n", "/") for cell in row] for row in table]
    lines = [delimiter.join(row) for row in [HEAD, *plain]]
    assert_conserved(tmp_path / name, "\n".join(lines) + "\n", plain, exact=False)
