"""A store that the commit before this one left (tests/support/past_store.py): its registry, its results, a retrain on it."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest

from data_contracts.run_refs import RunRefs
from flows.cli import main
from flows.history import list_runs, run_refs
from flows.hosting.backup import restore
from flows.verifying import verify_store
from tasks.modeling.card import read_card
from tasks.publish import registry
from tasks.store import Store
from tests.support.past_store import FIXTURE, NAME, RATES, retrain_arguments, write_manifest


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("past")
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "backup"


@pytest.fixture
def past(unpacked: Path, tmp_path: Path) -> tuple[Store, str]:
    """The store in a place of its own, and its registry's address."""
    store = Store(tmp_path / "store of the past")
    restore(unpacked, store)
    return store, f"sqlite:///{store.root}/mlflow.db"


def test_the_fixture_is_small_and_names_no_place_of_the_machine_that_made_it(unpacked: Path) -> None:
    assert FIXTURE.stat().st_size <= 200_000
    named = re.compile(rb"(?<![A-Za-z0-9_.-])/(?:home|root|Users|work|mnt|srv|opt)/[A-Za-z0-9._/-]+")
    found = {
        match.decode() for path in unpacked.rglob("*") if path.is_file() for match in named.findall(path.read_bytes())
    }
    assert found == set()


def test_its_models_are_listed_fetched_and_rolled_back(past: tuple[Store, str]) -> None:
    (model,) = registry.list_models(*past)
    assert (model["name"], model["versions"], model["champion"]) == (NAME, 2, "2")
    champion = registry.fetch_champion(NAME, "champion", *past)
    assert champion is not None
    assert read_card(past[0].path(champion.uri)).labels == ("high", "low")
    assert registry.rollback(NAME, "champion", *past).version == "1"
    champion = registry.fetch_champion(NAME, "champion", *past)
    assert champion is not None
    assert champion.version == "1"


def test_its_runs_are_listed_and_all_of_it_is_intact(past: tuple[Store, str]) -> None:
    store, _ = past
    runs = list_runs(store.root)
    assert [run.verdict for run in runs] == ["inconclusive", "promote"]
    assert all(isinstance(run_refs(store, run.run), RunRefs) for run in runs)
    assert verify_store(*past, deep=True).findings == ()


@pytest.mark.slow
def test_a_retrain_on_it_reuses_or_computes_again_and_says_so(
    past: tuple[Store, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The settings of its champion: the same model comes out, from the store or anew, and nothing counts as damaged."""
    store, _ = past
    with pytest.raises(SystemExit) as ended:
        main(retrain_arguments(write_manifest(tmp_path / "data/manifest.csv"), store.root, RATES[-1]))
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert ended.value.code == 0, summary
    assert summary["verdict"] in ("promote", "inconclusive", "unchanged")
    assert not [note for note in summary.get("notes", []) if note.startswith("store:")]
    assert verify_store(*past, deep=True).findings == ()
