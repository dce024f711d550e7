"""Data as a company's own systems export them: each kind is read as its owner means it, or refused with a way out."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import uuid
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import CrossmodalError
from tests.support.data import write_picture
from tests.support.ingesting import Ingest, Ingested

ROWS = 24
LABELS = ("good", "bad")
SOUNDS = ("Straße", "Wörter", "über", "Köln", "Gruß", "Bär", "Öl")


def sentence(row: int) -> str:
    return f"{SOUNDS[row % 7]} {SOUNDS[row * 3 % 7]} {SOUNDS[row * 5 % 7]} {row}"


def labels_of(found: Ingested) -> Counter[str]:
    return Counter(row["label"] for row in found.samples.values())


def write_rows(path: Path, columns: list[str], rows: list[list[Any]], **dialect: Any) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **dialect).writerows([columns, *rows])
    return path


def write_labels(folder: Path, labels: list[str], columns: tuple[str, ...] = ("text", "label")) -> Path:
    return write_rows(folder / "x.csv", list(columns), [[sentence(n), labels[n % len(labels)]] for n in range(ROWS)])


def write_pictures(folder: Path, name_of: Callable[[int], str], cell_of: Callable[[str], str], count: int = 8) -> Path:
    """Pictures beneath a folder, and a table whose cells mean them."""
    names = [name_of(number) for number in range(count)]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(folder / name, number)
    return write_rows(folder / "x.csv", ["image", "label"], [[cell_of(n), LABELS[i % 2]] for i, n in enumerate(names)])


# -- encodings ---


def table_of(encoding: str, rows: range = range(ROWS)) -> bytes:
    lines = ["text;label", *(f"{sentence(row)};{LABELS[row % 2]}" for row in rows)]
    return "\r\n".join(lines).encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_named_encoding_does_not_garble_next_weeks_unicode(encoding: str, run_ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(table_of(encoding))
    with pytest.raises(CrossmodalError, match=r"data\.csv\.encoding=cp1252 would garble it"):
        run_ingest(tmp_path / "x.csv", "data.csv.encoding=cp1252")
    assert run_ingest(tmp_path / "x.csv").clean.counts.used == ROWS


@pytest.mark.parametrize("encoding", ["cp1252", "cp1250", "iso8859-15"])
def test_a_named_encoding_that_fits_is_followed(encoding: str, run_ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(table_of(encoding))
    assert run_ingest(tmp_path / "x.csv", f"data.csv.encoding={encoding}").clean.counts.used == ROWS


def test_one_row_in_another_encoding_does_not_make_the_others_unreadable(run_ingest: Ingest, tmp_path: Path) -> None:
    rest = "".join(f"{sentence(row)};{LABELS[row % 2]}\n" for row in range(7, ROWS))
    parts = [table_of("utf-8", range(6)), "\nÄrger und Öl;bad\n".encode("cp1252"), rest.encode()]
    (tmp_path / "x.csv").write_bytes(b"".join(parts))
    with pytest.raises(CrossmodalError, match=r"not UTF-8 in line 8 \(byte \d+\), though its other characters"):
        run_ingest(tmp_path / "x.csv")


def test_arabic_of_windows_is_detected(run_ingest: Ingest, tmp_path: Path) -> None:
    words = ("الطلب لم يصل بعد", "خدمة ممتازة شكرا لكم", "أريد استرجاع المال", "المنتج جيد جدا", "التوصيل بطيء")
    lines = [
        "text;label",
        *(f"{words[row % 5]} {words[row * 3 % 5]} {row};{('نعم', 'لا')[row % 2]}" for row in range(ROWS)),
    ]
    (tmp_path / "x.csv").write_bytes("\n".join(lines).encode("cp1256"))
    assert labels_of(run_ingest(tmp_path / "x.csv")) == {"نعم": ROWS // 2, "لا": ROWS // 2}


def test_a_refusal_names_the_encodings_of_asia_that_decode_the_file(run_ingest: Ingest, tmp_path: Path) -> None:
    lines = ["text,label", *(f"今日はとても良い天気①㈱{row},{('良い', '悪い')[row % 2]}" for row in range(ROWS))]
    (tmp_path / "x.csv").write_bytes("\n".join(lines).encode("cp932"))
    with pytest.raises(CrossmodalError, match=r"it can be read as cp932"):
        run_ingest(tmp_path / "x.csv")
    found = run_ingest(tmp_path / "x.csv", "data.csv.encoding=cp932")
    assert labels_of(found) == {"良い": ROWS // 2, "悪い": ROWS // 2}


def test_a_json_line_in_another_encoding_says_so(run_ingest: Ingest, tmp_path: Path) -> None:
    lines = (json.dumps({"text": sentence(row), "label": LABELS[row % 2]}, ensure_ascii=False) for row in range(ROWS))
    (tmp_path / "x.jsonl").write_bytes("\n".join(lines).encode("cp1252"))
    with pytest.raises(CrossmodalError, match=r"line 1: not UTF-8, as JSON is \(byte 1\d of the line is 0xdf\)"):
        run_ingest(tmp_path / "x.jsonl")


# -- labels ---


def test_invisible_characters_around_a_label_make_no_class(run_ingest: Ingest, tmp_path: Path) -> None:
    found = run_ingest(write_labels(tmp_path, ["ja", "nein", "\u200bja", "nein\u200f", "\ufeffja", "nein\u00a0"]))
    assert labels_of(found) == {"ja": ROWS // 2, "nein": ROWS // 2}
    assert any("'\\u200bja' is 'ja'" in note for note in found.clean.notes)


def test_a_label_or_text_of_invisible_characters_is_none(run_ingest: Ingest, tmp_path: Path) -> None:
    rows = [[sentence(row), LABELS[row % 2]] for row in range(ROWS)]
    rows[0][1], rows[1][0] = "\u200b", "\u200b\u00a0"
    found = run_ingest(write_rows(tmp_path / "x.csv", ["text", "label"], rows))
    assert sorted(found.reasons.values()) == ["empty-text", "missing-label"]
    assert set(labels_of(found)) == set(LABELS)


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (
            ["0", "1", "no", "yes"],
            "labels that say yes or no in several words are classes of their own: '1', 'yes' and",
        ),
        (["WAHR", "FALSCH", "TRUE", "FALSE"], "labels that say yes or no in several words"),
        (["R&D", "R&amp;D", "HR"], "labels that differ in entities of HTML only are classes of their own"),
        (
            [str(number / 2) for number in range(12)],
            "12 different numbers, and each is taken for a class; data.problem=",
        ),
        ([f'{{"id": {n}}}' for n in range(ROWS)], "every row has another label"),
    ],
)
def test_labels_that_are_probably_meant_otherwise_are_said(
    labels: list[str], note: str, run_ingest: Ingest, tmp_path: Path
) -> None:
    assert any(note in found for found in run_ingest(write_labels(tmp_path, labels)).clean.notes)


@pytest.mark.parametrize("labels", [["0", "1"], [str(digit) for digit in range(10)], ["yes", "no"], ["a", "b", "c"]])
def test_usual_labels_are_not_doubted(labels: list[str], run_ingest: Ingest, tmp_path: Path) -> None:
    notes = [note for note in run_ingest(write_labels(tmp_path, labels)).clean.notes if note.startswith("label")]
    assert notes == []


def test_numbers_with_the_minus_behind_them_are_negative(run_ingest: Ingest, tmp_path: Path) -> None:
    found = run_ingest(write_labels(tmp_path, ["1.234,50-", "1.000,00", "12,00-"]), "data.problem=regression")
    assert set(labels_of(found)) == {"-1234.5", "1000", "-12"}


def test_decimals_of_parquet_are_classes_by_their_value(run_ingest: Ingest, tmp_path: Path) -> None:
    labels = pa.array([Decimal(row % 2) for row in range(ROWS)], pa.decimal128(38, 9))
    ids = pa.array([uuid.UUID(int=row).bytes for row in range(ROWS)], pa.binary(16))
    pq.write_table(
        pa.table({"id": ids, "text": [sentence(n) for n in range(ROWS)], "label": labels}), tmp_path / "x.parquet"
    )
    found = run_ingest(tmp_path / "x.parquet")
    assert labels_of(found) == {"0": ROWS // 2, "1": ROWS // 2}
    assert set(found.samples) == {str(uuid.UUID(int=row)) for row in range(ROWS)}


@pytest.mark.parametrize(
    ("cell", "way"),
    [
        ({"name": "a", "score": 0.5}, r"here it could be --set data\.columns\.label=label\.name; see"),
        (b"a", r"write it as text \(pandas"),
    ],
)
def test_a_label_that_is_no_text_is_refused_with_the_way(
    cell: object, way: str, run_ingest: Ingest, tmp_path: Path
) -> None:
    pq.write_table(
        pa.table({"text": [sentence(n) for n in range(ROWS)], "label": [cell] * ROWS}), tmp_path / "x.parquet"
    )
    with pytest.raises(CrossmodalError, match=way):
        run_ingest(tmp_path / "x.parquet")


# -- columns ---


def test_two_columns_that_differ_in_case_are_not_chosen_between(run_ingest: Ingest, tmp_path: Path) -> None:
    rows = [[sentence(row), LABELS[row % 2], LABELS[(row + 1) % 2]] for row in range(ROWS)]
    path = write_rows(tmp_path / "x.csv", ["text", "Label", "label"], rows)
    with pytest.raises(CrossmodalError, match="columns 'Label' and 'label' are both label by their names"):
        run_ingest(path)
    found = run_ingest(path, "data.columns.label=label", "data.columns.id=text")
    assert {row["id"]: row["label"] for row in found.samples.values()} == {text: label for text, _, label in rows}


def test_names_in_the_second_line_are_found(run_ingest: Ingest, tmp_path: Path) -> None:
    rows = [["text", "label"], *([sentence(row), LABELS[row % 2]] for row in range(ROWS))]
    path = write_rows(tmp_path / "x.csv", ["Kunde", "Bewertung"], rows)
    with pytest.raises(CrossmodalError, match=r"a row below has 'text', which names a column: data\.csv\.skiprows"):
        run_ingest(path)
    assert run_ingest(path, "data.csv.skiprows=1").clean.counts.used == ROWS


# -- media ---


@pytest.mark.parametrize(
    "cell_of",
    [
        lambda name: name.replace(" ", "%20").replace("ö", "%C3%B6"),
        lambda name: "\\\\server\\share$\\photos\\" + name.replace("/", "\\"),
        lambda name: f"{name} (https://dl.example.com/.attachments/{name.replace(' ', '%20')})",
    ],
    ids=["percent", "share of Windows", "attachment of Airtable"],
)
def test_a_file_is_found_by_what_exports_write_for_it(
    cell_of: Callable[[str], str], run_ingest: Ingest, tmp_path: Path
) -> None:
    path = write_pictures(tmp_path, lambda number: f"in/größe {number}.png".replace("ß", "ss"), cell_of)
    found = run_ingest(path)
    rows = {row["row"]: row["label"] for row in found.samples.values()}
    assert rows == {number + 2: LABELS[number % 2] for number in range(8)}


def test_a_percent_in_a_name_is_one(run_ingest: Ingest, tmp_path: Path) -> None:
    found = run_ingest(write_pictures(tmp_path, lambda number: f"a%20{number}.png", str))
    assert found.clean.counts.used == 8
    assert not any("not where their cells say" in note for note in found.clean.notes)


def test_an_escaped_path_leads_nowhere_else(run_ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "secret.png", 1)
    path = write_pictures(tmp_path / "in", lambda number: f"{number}.png", lambda name: f"..%2fsecret.png#{name}"[:15])
    with pytest.raises(CrossmodalError, match="8 missing-file"):
        run_ingest(path)


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(100))


@pytest.mark.parametrize(
    ("cell", "way"),
    [
        ("file:///data/{name}", r"write the path alone, without file://"),
        ("data:image/png;base64,{png}", r"which is not read: write it as a file"),
        ("{png}", r"the cell holds a PNG in base64, which is not read: write it as a file"),
    ],
)
def test_a_cell_that_is_no_path_is_refused_with_the_way(
    cell: str, way: str, run_ingest: Ingest, tmp_path: Path
) -> None:
    png = base64.b64encode(PNG).decode()
    path = write_pictures(tmp_path, "{}.png".format, lambda name: cell.format(name=name, png=png))
    with pytest.raises(CrossmodalError, match=way):
        run_ingest(path)


def test_several_media_or_an_object_in_a_cell_are_refused_with_the_way(run_ingest: Ingest, tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"image": [[PNG, PNG]] * ROWS, "label": list(LABELS) * (ROWS // 2)}), tmp_path / "x.parquet"
    )
    for settings in ([], ["data.cell_separator=;"]):
        with pytest.raises(CrossmodalError, match="write each medium to a row of its own, or to a column of its own"):
            run_ingest(tmp_path / "x.parquet", *settings)
    objects = [{"image": {"path": f"{row}.png", "width": 16}, "label": LABELS[row % 2]} for row in range(8)]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, objects)))
    with pytest.raises(CrossmodalError, match=r"it could be --set data\.columns\.image=image\.path; see"):
        run_ingest(tmp_path / "x.jsonl")


# -- files and folders ---

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def test_a_pointer_of_git_lfs_is_no_data(run_ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(POINTER)
    with pytest.raises(CrossmodalError, match="a pointer of Git LFS in place of the file: git lfs pull"):
        run_ingest(tmp_path / "x.csv")
    for row in range(8):
        place = tmp_path / "classes" / LABELS[row % 2] / f"{row}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(POINTER + str(row).encode())
    with pytest.raises(CrossmodalError, match=r"8 unreadable-file.*git lfs pull"):
        run_ingest(tmp_path / "classes")


def test_another_format_under_the_ending_of_csv_is_named(run_ingest: Ingest, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "label": ["b"]}), tmp_path / "x.csv")
    with pytest.raises(CrossmodalError, match=r"by its first bytes it is Parquet: name it \.parquet"):
        run_ingest(tmp_path / "x.csv")
    (tmp_path / "y.csv").write_bytes(gzip.compress(b"text,label\na,b\n"))
    with pytest.raises(CrossmodalError, match=r"packed by gzip: let its name end in \.gz"):
        run_ingest(tmp_path / "y.csv")


@pytest.mark.parametrize(
    "names",
    [
        ("data_0_0_0.csv", "data_0_1_0.csv", "data_1_0_0.csv"),
        ("cases0000_part_00.csv", "cases0001_part_00.csv"),
        ("cases_2026-01-31.csv", "cases_2026-02-01.csv"),
        ("2025-12-31.csv", "2026-01-01.csv"),
        ("20251231.csv", "20260101.csv"),
    ],
)
def test_parts_and_days_are_one_table(names: tuple[str, ...], run_ingest: Ingest, tmp_path: Path) -> None:
    for part, name in enumerate(names):
        rows = [[part * ROWS + row, sentence(part * ROWS + row), LABELS[row % 2]] for row in range(ROWS)]
        columns = ["id", "text", "label"]
        turn = (lambda cells: cells[::-1]) if part else list  # the next export has another order
        write_rows(tmp_path / name, turn(columns), [turn(row) for row in rows])
    found = run_ingest(tmp_path)
    assert set(found.samples) == {str(number) for number in range(len(names) * ROWS)}
    assert labels_of(found) == dict.fromkeys(LABELS, len(names) * ROWS // 2)
    settings = found.raw.recognition.settings
    again = run_ingest(tmp_path, *(f"{key}={json.dumps(value)}" for key, value in settings.items()))
    assert (settings["data.layout"], again.samples) == ("tables", found.samples)


@pytest.mark.parametrize("names", [("labels_v1.csv", "labels_v2.csv"), ("export.csv", "export (1).csv")])
def test_versions_of_a_table_are_not_put_together(names: tuple[str, ...], run_ingest: Ingest, tmp_path: Path) -> None:
    for name in names:
        write_rows(tmp_path / name, ["text", "label"], [[sentence(row), LABELS[row % 2]] for row in range(ROWS)])
    with pytest.raises(CrossmodalError, match="give the one that is meant"):
        run_ingest(tmp_path)


@pytest.mark.parametrize(("log", "kind"), [("_delta_log/0.json", "Delta Lake"), ("metadata/snap-1.avro", "Iceberg")])
def test_files_of_a_lakehouse_are_no_table(log: str, kind: str, run_ingest: Ingest, tmp_path: Path) -> None:
    for part in range(2):
        write_rows(tmp_path / f"part-{part}.csv", ["text", "label"], [[sentence(part), "a"]])
    (tmp_path / log).parent.mkdir()
    (tmp_path / log).write_text("{}")
    with pytest.raises(CrossmodalError, match=f"a table of {kind}, whose files also hold rows that were deleted"):
        run_ingest(tmp_path)


def test_classes_below_customers_are_said(run_ingest: Ingest, tmp_path: Path) -> None:
    for number in range(12):
        write_folder_picture(
            tmp_path / f"customer {'ABC'[number % 3]}" / LABELS[number // 3 % 2] / f"{number}.png", number
        )
    notes = run_ingest(tmp_path).clean.notes
    assert any(r"the innermost folders (bad, good) recur below several of them" in note for note in notes)


def write_folder_picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, number)


@pytest.mark.parametrize(
    ("ending", "content", "way"),
    [
        (".heic", b"\0\0\0\x18ftypheic", "HEIC is not read: convert these to JPEG"),
        ("", PNG, r"is a \.png by its first bytes: if all are, give them the ending \.png"),
        ("", b"a text", r"where these are texts, give them the ending \.txt"),
    ],
)
def test_files_without_a_known_ending_are_told_by_their_bytes(
    ending: str, content: bytes, way: str, run_ingest: Ingest, tmp_path: Path
) -> None:
    for label in LABELS:
        (tmp_path / label).mkdir()
        (tmp_path / label / f"one{ending}").write_bytes(content)
    with pytest.raises(CrossmodalError, match=way):
        run_ingest(tmp_path)


def test_tables_beside_media_are_told(run_ingest: Ingest, tmp_path: Path) -> None:
    for number in range(4):
        write_folder_picture(tmp_path / "each" / f"{number}.png", number)
        (tmp_path / "each" / f"{number}.json").write_text(json.dumps({"label": LABELS[number % 2]}))
        write_folder_picture(tmp_path / "deep/photos" / f"{number}.png", number)
    (tmp_path / "deep/export/2026").mkdir(parents=True)
    write_rows(tmp_path / "deep/export/2026/labels.csv", ["image", "label"], [["0.png", "a"], ["1.png", "b"]])
    with pytest.raises(CrossmodalError, match="named as the files beside them, of which each may hold one's label"):
        run_ingest(tmp_path / "each")
    with pytest.raises(CrossmodalError, match=r"where export/2026/labels\.csv says the labels, move it to"):
        run_ingest(tmp_path / "deep")
