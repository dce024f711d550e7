"""Columns that slices are made of: looked for before anything is decoded, and carried along also where they have a role."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.config import load_config
from tasks.contract import read_table
from tasks.errors import UsageError
from tasks.ingest.manifest.scan import scan
from tasks.store import Store

TABLE = "id,text,label,group,lit,a+b\n1,one,x,ann,no,u\n2,two,y,,yes,\n"
NAMED = ('evaluate.slices=["lit+group"]', """gate.rules=[{metric="auto", min=0, slice="a+b=u"}]""")


def test_a_column_of_a_slice_is_carried_along_also_where_it_has_a_role(tmp_path: Path, store: Store) -> None:
    (tmp_path / "m.csv").write_text(TABLE)
    plain, sliced = (scan(load_config({}, given), store, tmp_path / "m.csv") for given in ((), NAMED))
    cells = [json.loads(text) for text in read_table(store.path(sliced.uri) / "rows.parquet")["metadata"].to_pylist()]
    assert cells == [{"lit": "no", "a+b": "u", "group": "ann"}, {"lit": "yes"}]
    assert any("not used: lit, a+b" in note for note in plain.notes)
    assert not any("not used" in note for note in sliced.notes)


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        ('["grupo"]', "slice 'grupo': data .* have no such column; did you mean 'group'"),
        ('["label"]', "slice 'label': 'label' is the label column: .* the report has for every class"),
        ('["lit+label"]', r"slice 'lit\+label': 'label' is the label column"),
        ('["lit+age"]', r"slice 'age' \(of 'lit\+age'\): data .* its columns are id, text, label, group, lit, a\+b"),
    ],
)
def test_a_column_that_is_not_there(slices: str, message: str, tmp_path: Path, store: Store) -> None:
    (tmp_path / "m.csv").write_text(TABLE)
    with pytest.raises(UsageError, match=message):
        scan(load_config({}, [f"evaluate.slices={slices}"]), store, tmp_path / "m.csv")
    scan(load_config({}, [f"evaluate.slices={slices}"]), store, tmp_path / "m.csv", "predict")
