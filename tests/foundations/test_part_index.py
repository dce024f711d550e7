import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from data_contracts.tables import media_schema
from tasks.errors import EnvironmentFailed
from tasks.part_index import DigestPlaces, PartIndex, parts_among, read_tables_among


def digest(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def write_part(folder: Path, name: str, digests: list[str | None]) -> Path:
    rows = [{"source": digest(f"source of {value}"), "digest": value} for value in digests]
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=media_schema()), folder / f"{name}.parquet")
    return folder / f"{name}.parquet"


def found(paths: list[Path], wanted: list[str]) -> list[str]:
    tables = read_tables_among(paths, ["digest"], pa.array(wanted, pa.string()))
    return [value for table in tables for value in table["digest"].to_pylist()]


def test_rows_are_found_in_whichever_parts_hold_them(tmp_path: Path) -> None:
    paths = [write_part(tmp_path, str(part), [digest(10 * part + row) for row in range(10)]) for part in range(5)]
    wanted = [digest(3), digest(44), digest(41), digest("nowhere")]
    assert found(paths, wanted) == [digest(3), digest(41), digest(44)]
    assert found(paths[:1], wanted) == [digest(3)], "a part that is not asked for"
    assert found(paths, []) == found(paths, [digest("nowhere")]) == found([], wanted) == []


def test_a_part_that_holds_none_is_not_opened_again(tmp_path: Path) -> None:
    paths = [write_part(tmp_path, name, [digest(name)]) for name in "ab"]
    assert found(paths, [digest("a")]) == [digest("a")]
    paths[1].write_bytes(b"not a table any more")
    assert found(paths, [digest("a")]) == [digest("a")]
    with pytest.raises((EnvironmentFailed, pa.ArrowException)):
        found(paths, [digest("b")])


def test_parts_that_come_and_go_between_two_looks(tmp_path: Path) -> None:
    index = PartIndex("digest")
    wanted = pa.array([digest("a"), digest("b")])
    a = write_part(tmp_path, "a", [digest("a")])
    assert index.choose([a], wanted) == [a]
    b = write_part(tmp_path, "b", [digest("b"), digest("c")])
    assert index.choose([a, b], wanted) == [a, b]
    again = write_part(tmp_path, "a2", [digest("a")])
    a.unlink()
    assert index.choose([b, again], wanted) == [b, again]


def test_digests_that_begin_alike_and_rows_without_one(tmp_path: Path) -> None:
    first = digest("a")
    alike = first[:8] + digest("b")[8:]
    paths = [write_part(tmp_path, "a", [first, None]), write_part(tmp_path, "b", [alike, None])]
    wanted = pa.array([first])
    assert parts_among(paths, "digest", wanted) == paths, "both may hold it"
    assert found(paths, [first]) == [first]


def test_the_same_names_in_two_folders(tmp_path: Path) -> None:
    one = write_part(tmp_path / "one", "p", [digest("a")])
    other = write_part(tmp_path / "other", "p", [digest("b")])
    assert parts_among([one], "digest", pa.array([digest("a")])) == [one]
    assert parts_among([other], "digest", pa.array([digest("a")])) == []
    assert parts_among([one], "source", pa.array([digest(f"source of {digest('a')}")])) == [one]


@pytest.mark.parametrize(
    ("here", "wanted"),
    [
        (["b" * 64, "a" * 64, "a" * 64], ["a" * 64, None, "b" * 64, "c" * 64]),
        ([f"{'ab' * 20}{n}" for n in range(9)], [f"{'ab' * 20}{n}" for n in (8, 3, 9)]),  # which begin alike
        (["", "a", "\u00e9", "aa"], ["aa", "", "aaa", "\u00e9", None]),
        ([], ["a"]),
    ],
)
def test_digests_are_found_where_they_stand_first(here: list[str], wanted: list[str | None]) -> None:
    array, texts = pa.array(here, pa.string()), pa.array(wanted, pa.string())
    expected = pc.index_in(texts, value_set=array, skip_nulls=True).fill_null(-1).to_pylist()
    assert DigestPlaces(array).find(texts).tolist() == expected
    cut = pa.chunked_array([texts.slice(0, 1), texts.slice(1)])
    assert DigestPlaces(pa.concat_arrays([texts, array]).slice(len(texts))).find(cut).tolist() == expected
