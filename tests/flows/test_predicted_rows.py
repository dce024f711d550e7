"""Predictions can be joined to their rows: one line for every row of the input, in its order, each with its own answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.refs import ChampionRef, CleanRef
from data_contracts.tables import row_predictions_schema
from flows.predicted_rows import PredictedRows
from flows.predictions import check_target
from tasks.config import load_config
from tasks.errors import UsageError
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.carried_columns import CarriedColumns
from tasks.ingest.manifest.scan import scan
from tasks.modeling.card import ModelCard
from tasks.modeling.predictions import predictions_table
from tasks.modeling.training_rows import ROWS, write_rows
from tasks.samples import Samples
from tasks.store import Store
from tests.support.cards import card_of
from tests.support.data import write_picture

CARD = ModelCard.model_validate(card_of(("0", "1"), ("text",)))
Predict = Callable[..., PredictedRows]


@pytest.fixture
def predict(store: Store) -> Iterator[Predict]:
    """predict(path, "data.max_rows=3", columns=("note",)): the first output of each row is its number in its table / 64."""

    def run(path: Path, *overrides: str, columns: tuple[str, ...] = ()) -> PredictedRows:
        config = load_config({}, ["runtime.workers=1", "media.timeout_s=600", *overrides])
        carried = files.enter_context(CarriedColumns(columns, store.root))
        raw = scan(config, store, path, "predict", carried)
        clean = ingest(raw, config, store, "predict")
        samples = Samples.read(store.path(clean.uri))
        first = np.array(samples.manifest_rows) / 64
        answers = predictions_table(samples, np.stack([first, 1 - first], axis=1), CARD, clean.modalities)
        return PredictedRows.read(answers, raw, clean, CARD, carried, store)

    with ExitStack() as files:
        yield run


def test_every_row_has_its_line_and_its_own_answer(predict: Predict, tmp_path: Path) -> None:
    """Ids unsorted, repeated, missing; empty lines, an empty row, a repeated text, a NUL; labels, one of them unknown."""
    path = tmp_path / "m.csv"
    path.write_text("id,text,label\nz,one,1\n\na,two,1.0\nz,one,2\n,three,\nb,,0\n\nc,fo\0ur,\nA,five,0\n")
    rows = predict(path)
    (table,) = rows.tables()
    assert table.schema.names == row_predictions_schema().names
    found = [
        (row["row"], row["id"], row["label"], row["probabilities"] and row["probabilities"][0] * 64, row["reason"])
        for row in table.to_pylist()
    ]
    assert found == [
        (0, "z", "1", 2, None),
        (1, "a", "1", 4, None),
        (2, "z", "2", 5, None),
        (3, None, None, 6, None),
        (4, "b", "0", None, "no-modality"),
        (5, None, None, None, "nul-in-row"),
        (6, "A", "0", 10, None),
    ]
    refused = table.filter(table["reason"].is_valid())
    assert refused["detail"].to_pylist() == ["all of text are empty", "line 9: a cell holds a NUL character"]
    answered = ("predicted", "targets", "probability", "probabilities", "modalities")
    assert all(refused[name].null_count == 2 for name in answered)
    assert (
        rows.labels.describe() == "1 rows give labels that the model does not know ('2'); no figure counts these rows"
    )
    assert rows.score(CARD) == (3, {"accuracy": pytest.approx(2 / 3)})


def test_rows_of_several_tables_are_told_apart(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both count from 0, and the row that one cannot read is in the other."""
    monkeypatch.setattr("tasks.ingest.manifest.carried_columns.CHUNK_ROWS", 3)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.csv").write_text("id,text\n0,a\n1,\n2,c\n")
    (tmp_path / "data" / "train.csv").write_text("id,text\n0,\n1,e\n2,f\n")
    table = pa.concat_tables(predict(tmp_path / "data", columns=("text",)).tables())
    assert table.column_names[:3] == ["row", "table", "id"]
    assert table.column_names[-1] == "text"
    assert [(row["table"], row["id"], row["text"], row["reason"]) for row in table.to_pylist()] == [
        ("test.csv", "0", "a", None),
        ("test.csv", "1", "", "no-modality"),
        ("test.csv", "2", "c", None),
        ("train.csv", "0", "", "no-modality"),
        ("train.csv", "1", "e", None),
        ("train.csv", "2", "f", None),
    ]
    numbers = [row["probabilities"] and row["probabilities"][0] * 64 for row in table.to_pylist()]
    assert numbers == [2, None, 4, None, 3, 4]


def test_a_sample_of_the_rows_says_which_they_are(predict: Predict, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("text\n\n" + "\n".join(f"text {number}" for number in range(9)))
    table = pa.concat_tables(predict(path, "data.max_rows=4", columns=("text",)).tables())
    assert len(table) == 4
    for row in table.to_pylist():
        assert row["text"] == f"text {row['row']}"
        assert row["probabilities"][0] * 64 == row["row"] + 3
        assert row["id"] is None


def test_a_folder_and_a_single_file(predict: Predict, tmp_path: Path) -> None:
    """Every file is a row; a folder beside media is no class when they are predicted."""
    folder = tmp_path / "new"
    for number, name in enumerate(("b.png", "a.png", "deep/c.png")):
        write_picture(folder / name, number)
    (folder / "bad.png").write_bytes(b"junk")
    (folder / "Thumbs.db").write_bytes(b"")
    table = pa.concat_tables(predict(folder).tables())
    assert [(row["row"], row["id"], row["reason"]) for row in table.to_pylist()] == [
        (0, "a.png", None),
        (1, "b.png", None),
        (2, "bad.png", "unreadable-image"),
        (3, "deep/c.png", None),
    ]
    assert table["label"].null_count == 4
    table = pa.concat_tables(predict(folder / "b.png").tables())
    assert [(row["row"], row["id"], row["label"], row["reason"]) for row in table.to_pylist()] == [
        (0, "b.png", None, None)
    ]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("p.xlsx", "--out 'p.xlsx': predictions are written as Parquet, CSV or JSON lines; use a name that ends in "
         ".parquet, .csv, .jsonl"),
        ("-", "--out '-': predictions are written as Parquet"),
        ("none/p.csv", "/none' does not exist"),
        ("folder.csv", "--out 'folder.csv': is a folder"),
        ("m.csv", "--out 'm.csv': is the data to be predicted; choose another file"),
    ],
)  # fmt: skip
def test_where_predictions_cannot_go(out: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "m.csv").write_text("text\na\n")
    with pytest.raises(UsageError) as error:
        check_target(out, str(tmp_path / "m.csv"))
    assert message in str(error.value)
    assert check_target("P.CSV", "builtin:digits") == tmp_path / "P.CSV"


def test_predictions_do_not_become_the_table_of_the_folder_that_they_are_of(tmp_path: Path) -> None:
    write_picture(tmp_path / "new" / "a.png", 0)
    for out in (tmp_path / "new" / "p.csv", tmp_path / "new" / "." / "p.csv"):
        with pytest.raises(UsageError, match=f"lies in the folder to be predicted.*--out {tmp_path / 'p.csv'}"):
            check_target(str(out), str(tmp_path / "new"))
    check_target(str(tmp_path / "p.csv"), str(tmp_path / "new"))
    (tmp_path / "new" / "test.csv").write_text("image\na.png\n")
    check_target(str(tmp_path / "new" / "p.csv"), str(tmp_path / "new"))


def test_figures_on_rows_of_the_training_are_said_to_be_so(predict: Predict, store: Store, tmp_path: Path) -> None:
    """By content where there is any: the ids of another table may be the same numbers."""
    (tmp_path / "old.csv").write_text("id,text,label\n1,one,1\n2,two,0\n3,three,1\n")
    (tmp_path / "new.csv").write_text("id,text,label\n1,other,1\n8,two,0\n9,three,\n")
    old = predict(tmp_path / "old.csv")
    clean = {path.name: path for path in (store.root / "clean").iterdir()}
    samples = Samples.read(next(iter(clean.values())))
    table = samples.table(["id", "text"]).append_column("split", pa.array(["train", "val", "test"]))
    store.path("champions/k").mkdir(parents=True)
    write_rows(Samples(table), store.path("champions/k") / ROWS, ("text",))
    champion = ChampionRef(uri="champions/k", sha256="0" * 64, rows=0, name="m", version="1", model_sha256="0" * 64)
    ref = lambda name: CleanRef.model_construct(uri=f"clean/{name}")  # noqa: E731
    assert str(old.describe_seen(ref(*clean), champion, CARD, store)).startswith(
        "2 of the 3 rows with a label are among"
    )
    new = predict(tmp_path / "new.csv")
    (name,) = {path.name for path in (store.root / "clean").iterdir()} - {*clean}
    assert str(new.describe_seen(ref(name), champion, CARD, store)).startswith("1 of the 2 rows with a label are among")
