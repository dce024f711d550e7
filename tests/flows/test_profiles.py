"""`crossmodal profile`: a commented file from what was recognised, which resolves to what was asked for."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from flows.profiles import toml_value
from flows.request import resolve_config
from tasks.errors import UsageError

Run = Any


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """run("profile", "list") -> (exit status, stdout, stderr), in a store of its own."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--store", str(tmp_path / "store")])
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return call


def test_a_new_profile_holds_the_data_what_was_set_and_what_was_found(run: Run, make_data: Any, tmp_path: Path) -> None:
    data = make_data(
        labels=("a", "b\n[gate]"), change=lambda row, n: row | {"image": "img/none.png"} if n == 3 else row
    )
    settings = ["train.epochs=3", 'data.columns.label="label"', "runtime.workers=1", "split.val=0.25"]
    code, out, err = run(
        "profile", "new", "mine", "--data", str(data), *(part for one in settings for part in ("--set", one))
    )
    assert code == 0, err
    path = tmp_path / "store" / "profiles" / "mine.toml"
    store = f"--store {path.parents[1]}"  # another terminal would look into another store without
    retrain, schedule = out.splitlines()[-2:]
    assert retrain.endswith(f" retrain --profile mine {store}")
    assert schedule.endswith(f' schedule mine --cron "0 3 * * 1" {store}')
    assert str(path) in out
    text = path.read_text()
    assert tomllib.loads(text) == {
        "name": "mine",
        "data": {"path": str(data), "columns": {"label": "label"}},
        "train": {"epochs": 3},
        "runtime": {"workers": 1},
        "split": {"val": 0.25},
        "gate": {},
    }
    assert "# Rows: 12 read, 11 used, 1 quarantined, 0 duplicates." in text
    assert "# Inputs: image (column 'image'), text (column 'text'), audio (column 'audio_path')." in text
    assert "# Label column 'label', multiclass: a 6, b [gate] 5." in text
    config = resolve_config("mine", None, [], str(tmp_path / "store"))
    assert (config.name, config.train.epochs, config.split.val, config.data.columns.label) == ("mine", 3, 0.25, "label")
    uncommented = text.replace("# horizontal_flip = false", "horizontal_flip = true")
    path.write_text(uncommented)
    assert resolve_config("mine", None, [], str(tmp_path / "store")).train.horizontal_flip, (
        "a hint is used by taking the # away"
    )
    code, _, err = run("profile", "new", "mine", "--data", str(data))
    assert (code, path.read_text()) == (2, uncommented)
    assert "is not overwritten" in err


def test_a_profile_elsewhere_is_not_said_to_be_scheduled(
    run: Run, make_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSMODAL_STORE", str(tmp_path / "store"))
    file = tmp_path / "my profiles" / "mine.toml"
    code, out, err = run("profile", "new", "mine", "--data", str(make_data()), "--out", str(file))
    assert code == 0, err
    assert out.splitlines()[-1].endswith(f" retrain --profile '{file}'")  # the store is found by the environment
    assert "schedule" not in out


def test_list_and_show_say_what_a_name_means(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "store" / "profiles"
    own.mkdir(parents=True)
    (own / "photos.toml").write_text('[data]\npath = "photos.csv"\n[train]\nepochs = 7\n')
    (own / "wrong.toml").write_text("[train]\nepoch = 7\n")
    code, out, _ = run("profile", "list", "--json")
    rows = {row["profile"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["photos"]["data"] == f"{own}/photos.csv"
    assert rows["digits"]["data"] == "builtin:digits"
    assert "did you mean 'train.epochs'" in rows["wrong"]["data"]
    _, out, _ = run("profile", "show", "photos")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert lines["train.epochs"] == ["7", "profile"]
    assert lines["train.batch_size"] == ["64", "default"]
    code, _, err = run("profile", "show", "none")
    assert code == 2
    assert "'none' is not one of ['defaults', 'digits', 'photos', 'wrong']" in err


@pytest.mark.parametrize(("name", "more"), [("a/b", []), ("x", ["--out", "x.json"])])
def test_a_wrong_name_or_file_ends_before_the_data_are_read(run: Run, name: str, more: list[str]) -> None:
    code, _, err = run("profile", "new", name, "--data", "/none", *more)
    assert code == 2
    assert "Traceback" not in err


@pytest.mark.parametrize("value", [True, 3, 0.5, 'quo"te\\ \n\x7f é', ["a", 1], {"a b": [True]}])
def test_a_value_is_written_as_toml_reads_it(value: object) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


def test_null_is_refused() -> None:
    with pytest.raises(UsageError, match="no null"):
        toml_value(None)


def test_what_check_recognised_is_a_profile_that_reads_the_same(run: Run, tmp_path: Path) -> None:
    data, profile = tmp_path / "rows.csv", tmp_path / "mine.toml"
    rows = [f"it is {'ab'[n % 2]} number {n};{'ab'[n % 2]};{('train', 'dev', 'test')[n % 3]}" for n in range(24)]
    data.write_text("\n".join(["caption;class;split", *rows]) + "\n")
    code, out, err = run("check", str(data), "--explain", "--write-profile", str(profile), "--json")
    assert code == 0, err
    assert re.search(r"column +role +how found +example", err)
    assert re.search(r"caption +text +its name suggests it +it is a number 0", err)
    assert err.index("how found") < err.index("decode text")
    first = json.loads(out.splitlines()[-1])
    assert first["read"]["settings"]["data.columns.text"] == "caption"
    chosen = tomllib.loads(profile.read_text())
    assert chosen["data"]["csv"]["delimiter"] == ";"
    assert chosen["split"]["folds"] == {"train": ["train"], "val": ["dev"], "test": ["test"]}
    code, out, err = run("check", "--profile", str(profile), "--json")
    assert code == 0, err
    again = json.loads(out.splitlines()[-1])
    assert again["read"]["settings"] == {}
    assert (again["rows"], again["splits"]) == (first["rows"], first["splits"])
    code, _, err = run("check", str(data), "--write-profile", str(profile))
    assert code == 2
    assert "is there already and is not overwritten" in err
