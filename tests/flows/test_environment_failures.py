"""What the machine lacks is told as what it is: the file, the package, the driver, the scheme; never as an internal error."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

import crossmodal as product
from flows.cli import main, run
from flows.execute import attempt
from flows.preflight import failure, preflight
from flows.request import make_request
from flows.run_state import RunState
from tasks.config import load_config
from tasks.errors import EnvironmentFailed, UsageError
from tasks.ingest.sources.resolve import locate_data
from tasks.packages import missing_package
from tasks.publish import registry
from tasks.publish.connection import connected, probe_registry
from tasks.store import Store


def test_the_end_of_a_file_that_a_library_read_is_no_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def end(*_: object) -> None:
        raise EOFError("Ran out of input")

    monkeypatch.setattr(registry, "list_models", end)
    with pytest.raises(SystemExit) as stop:
        main(["models", "list", "--store", str(tmp_path)])
    assert stop.value.code == 4
    assert "internal error: EOFError: Ran out of input" in capsys.readouterr().err


def test_a_full_disk_is_told_with_the_file_and_what_is_free(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def write() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "file"))

    error = attempt(write, RunState())
    assert isinstance(error, EnvironmentFailed)
    told = f"{tmp_path}/file: No space left on device ("
    assert str(error).startswith(told)
    assert f"MB free in {tmp_path}" in str(error)
    assert run(write, as_json=False, debug=False) == 4
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "way"),
    [
        (
            "mlflow.tracking",
            "'mlflow' is not installed, which this needs; install all of them: pip install crossmodal,",
        ),
        ("great_expectations", "install all of them: pip install crossmodal, without --no-deps"),
        ("s3fs", r"pip install 'crossmodal\[remote\]'"),
        ("psycopg2", r"pip install 'crossmodal\[postgres\]'"),
    ],
)
def test_a_package_that_is_missing_is_named_with_what_brings_it(package: str, way: str) -> None:
    def work() -> None:
        raise ModuleNotFoundError(name=package)

    error = attempt(work, RunState())
    assert isinstance(error, EnvironmentFailed)
    with pytest.raises(EnvironmentFailed, match=way):
        raise error


def test_a_missing_module_of_our_own_is_a_bug() -> None:
    assert missing_package(ModuleNotFoundError(name="tasks.nowhere")) is None
    with pytest.raises(ModuleNotFoundError):
        attempt(lambda: __import__("tasks.nowhere"), RunState())


def test_the_python_interface_names_it_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "not-a-database"))
    for call in (
        lambda: product.load("a", store=tmp_path / "store"),
        lambda: product.retrain(data=_no_rows(tmp_path), store=tmp_path / "store", progress=False),
    ):
        with pytest.raises(EnvironmentFailed, match="'mlflow' is not installed, which this needs; install all of them"):
            call()


def _no_rows(folder: Path) -> Path:
    (folder / "manifest.csv").write_text("id,text,label\n")
    return folder / "manifest.csv"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (
            "postgresql+psycopg://u:secret@h/db",
            r"postgresql\+psycopg://h/db: its driver 'psycopg' is not installed; write",
        ),
        ("mysql://u:secret@h/db", "mysql://h/db: its driver 'MySQLdb' is not installed; install the package"),
        ("postgresql+nothing://h/db", r"is no address of a database \(Can't load plugin.*check MLFLOW_TRACKING_URI"),
    ],
)
def test_the_driver_of_a_database_is_named(uri: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match=words):
        probe_registry(uri)
    with pytest.raises(EnvironmentFailed, match=words) as raised, connected(Store(tmp_path), uri):
        pass
    assert "secret" not in str(raised.value)


def test_a_scheme_that_is_not_read_is_told_with_those_that_are(tmp_path: Path) -> None:
    config = load_config({}, ["name=a", "data.path=ftp://host/manifest.csv"])
    error = failure(preflight(make_request(config, str(tmp_path), None, "run-1")))
    assert isinstance(error, UsageError)
    assert "ftp:// is not read; download it, or put it where one of these leads: abfs, " in str(error)
    assert "--set" not in str(error)
    with pytest.raises(UsageError, match=r"ftp://host/manifest\.csv.*ftp:// is not read"):
        locate_data(config, Store(tmp_path))
