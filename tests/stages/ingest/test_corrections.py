"""A corrections file is applied by id, in the lineage, and refused as a whole where a line fits no row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_contracts.refs import CleanRef, RawRef
from tasks.config import RunConfig
from tasks.errors import DataError, UsageError
from tasks.ingest.ingest import ingest, ingest_key
from tasks.ingest.manifest.corrections import DROPPED, read_corrections
from tasks.ingest.manifest.scan import scan
from tasks.samples import Samples
from tasks.store import Store
from tests.support.data import MakeData

Run = Callable[..., tuple[RawRef, CleanRef]]


@pytest.fixture
def run(make_data: MakeData, store: Store, config: RunConfig, tmp_path: Path) -> Run:
    """run(lines, ...) ingests 12 rows, labelled a and b in turn, with the corrections of these lines."""

    def ingest_corrected(
        lines: str | None, head: str = "id,label,new_label", **options: Any
    ) -> tuple[RawRef, CleanRef]:
        data = {"corrections": None}
        if lines is not None:
            path = tmp_path / "corrections.csv"
            path.write_text(f"{head}\n{lines}\n", encoding="utf-8")
            data = {"corrections": str(path)}
        data |= options.pop("data", {})
        ours = config.model_copy(update={"data": config.data.model_copy(update=data)})
        raw = scan(ours, store, make_data(**options), options.get("purpose", "train"))
        return raw, ingest(raw, ours, store)

    return ingest_corrected


def labels_of(clean: CleanRef, store: Store) -> dict[str, str]:
    samples = Samples.read(store.path(clean.uri))
    return dict(zip(samples.ids, samples.labels, strict=True))


def test_labels_are_changed_and_rows_dropped_and_both_are_counted(run: Run, store: Store) -> None:
    before = labels_of(run(None)[1], store)
    raw, clean = run("s0,a,b,why not\ns1,b,drop,\ns2,a,,", head="id,label,new_label,why")
    after = labels_of(clean, store)
    assert before["s0"] == "a"
    assert after == {**{key: label for key, label in before.items() if key != "s1"}, "s0": "b"}
    assert clean.counts.quarantined == 1
    refused = pq.read_table(store.path(clean.uri) / "quarantine.parquet").to_pylist()
    assert [(row["id"], row["reason"], row["detail"]) for row in refused] == [
        ("s1", DROPPED, "line 3 of corrections.csv")
    ]
    found = clean.corrections
    assert found == raw.corrections
    assert found is not None
    assert (found.relabelled, found.dropped, found.kept, found.splits) == (1, 1, 1, {"none": 2})
    assert any("1 labels changed, 1 rows dropped; 1 lines without a change" in note for note in clean.notes)


def test_the_order_of_lines_is_no_other_version_and_other_lines_are(run: Run, config: RunConfig) -> None:
    first, _ = run("s0,a,b\ns1,b,drop")
    again, _ = run("s1,b,drop\ns0,a,b")
    other, _ = run("s0,a,b")
    digests = [each.corrections.sha256 for each in (first, again, other) if each.corrections]
    assert digests[0] == digests[1] != digests[2]
    assert first.sha256 == again.sha256 != other.sha256
    assert ingest_key(first, config) != ingest_key(first.model_copy(update={"corrections": None}), config)


def test_copies_of_a_corrected_row_are_corrected_with_it(run: Run, store: Store) -> None:
    def change(row: dict[str, Any], number: int) -> dict[str, Any]:
        twin = {"image": "img/0.png", "audio_path": "snd/0.wav", "text": "words of 0", "label": "a"}
        return {**row, **(twin if number == 2 else {})}

    _, clean = run("s0,a,b", change=change)
    assert labels_of(clean, store)["s0"] == "b"
    assert (clean.counts.duplicates, clean.counts.quarantined) == (1, 0)  # else both: one content, two labels
    assert any("2 labels changed, 0 rows dropped; 1 of these as copies" in note for note in clean.notes)


def test_corrections_of_val_and_test_rows_are_said(run: Run) -> None:
    splits = ("train", "val", "test")
    _, clean = run("s1,b,a\ns2,a,b", change=lambda row, number: {**row, "split": splits[number % 3]})
    assert clean.corrections is not None
    assert clean.corrections.splits == {"test": 1, "val": 1}
    assert any("1 of val and 1 of test among them: figures on those rows" in note for note in clean.notes)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("s0,a,b\nnobody,a,b", r"line 3, id 'nobody', label 'a': no row has this id; nothing was applied"),
        ("s0,b,a", r"line 2, id 's0', label 'b': its label is 'a' by now; nothing was applied"),
        ("s0,a,aa", r"no row of the data has the new label 'aa'; nothing was applied: did you mean 'a'\?"),
        ("x,a,b\ny,a,b\nz,a,b", r"id 'x'.*and 2 more lines: 3, 4\)"),
    ],
)
def test_a_line_that_fits_no_row_refuses_the_file(run: Run, lines: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(lines)


def test_a_class_called_drop_is_not_dropped_by_mistake(run: Run) -> None:
    with pytest.raises(DataError, match=r"'drop' is a label of these data, too"):
        run("s0,a,drop", labels=("a", "drop"))


def test_lines_about_rows_that_max_rows_leaves_out_are_counted(run: Run) -> None:
    lines = "\n".join(f"s{number},{'ab'[number % 2]},{'ba'[number % 2]}" for number in range(12))
    raw, clean = run(lines, data={"max_rows": 6})
    assert raw.corrections is not None
    assert (raw.corrections.relabelled, raw.corrections.unused) == (6, 6)
    assert any("6 lines about rows that data.max_rows leaves out" in note for note in clean.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\ns0,a\n", r"has no column 'new_label'; it takes id, label, new_label"),
        ("id,label,new_label\n,a,b\n", r"line 2 has no id"),
        ("id,label,new_label\ns0,a,b\ns0,a,b\n", r"id 's0' stands in several lines"),
        (b"\xff\xfe\x00", r"cannot be read as a CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "corrections.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError, match=message):
        read_corrections(str(path))
    with pytest.raises(UsageError, match="No such file"):
        read_corrections(str(tmp_path / "nowhere.csv"))


def test_what_a_spreadsheet_made_of_it_is_read(run: Run, store: Store) -> None:
    """A byte order mark, semicolons, and the apostrophe by which rows.csv keeps a cell from being run as a formula."""
    _, clean = run(
        "'=s0;a;b", head="\ufeffid;label;new_label", change=lambda row, n: {**row, "id": "=s0" if n == 0 else row["id"]}
    )
    assert labels_of(clean, store)["=s0"] == "b"
