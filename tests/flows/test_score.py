"""Scoring: only what a version has not scored, nothing twice and nothing lost, whatever ends it in between."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from data_contracts.refs import ChampionRef
from data_contracts.run_summary import ScoredVersion
from flows.request import make_request, resolve_config
from flows.run_state import RunState
from flows.scoring import check_folder
from flows.version_scoring import score_version
from tasks.errors import DataError, UsageError
from tasks.modeling.training_rows import ROWS, write_rows
from tasks.progress import listening_to_lines
from tasks.samples import Samples
from tasks.score.partition import REFUSED
from tasks.store import Store, digest_file
from tests.support.folder_models import write_model

Score = Callable[..., ScoredVersion]
LEARNED = Samples(pa.table({"id": ["t1"], "split": ["train"], "group": ["ann"]}))
TEXTS = {f"r{number}": f"words of {number}" for number in range(7)}


def write_texts(path: Path, texts: dict[str, str], groups: dict[str, str] | None = None) -> Path:
    lines = [f"{name},{text},{(groups or {}).get(name, '')}" for name, text in texts.items()]
    path.write_text("\n".join(["id,text,group", *lines]) + "\n")
    return path


@pytest.fixture
def score(store: Store, tmp_path: Path) -> Score:
    """score(texts, version="1", part_rows=4) with a small model of random weights that reads texts, into tmp_path/out."""

    def run(
        texts: dict[str, str] | Path, version: str = "1", part_rows: int = 4, groups: dict[str, str] | None = None
    ) -> ScoredVersion:
        folder = write_model(store.path(f"champions/v{version}"), int(version), inputs=("text",))
        if not (folder / ROWS).is_file():
            write_rows(LEARNED, folder / ROWS, ("text",))
        path = texts if isinstance(texts, Path) else write_texts(tmp_path / "rows.csv", texts, groups)
        settings = ["runtime.workers=1", "media.timeout_s=600"]
        request = make_request(resolve_config(None, str(path), settings), str(store.root), None, "run")
        sha256 = digest_file(folder / "model.safetensors")
        ref = ChampionRef(
            uri=f"champions/v{version}", sha256=sha256, rows=0, name="m", version=version, model_sha256=sha256
        )
        return score_version(request, ref, tmp_path / "out", part_rows, (0, 1), RunState())

    return run


@pytest.fixture
def scores(tmp_path: Path) -> Callable[[], pd.DataFrame]:
    """All scores, as pandas reads the folder."""
    return lambda: pd.read_parquet(tmp_path / "out").sort_values(["version", "id"], ignore_index=True)


def parts(folder: Path) -> dict[str, int]:
    """Name to when it was last written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("part-*.parquet")}


def test_only_what_is_new_is_scored(score: Score, scores: Callable[[], pd.DataFrame], tmp_path: Path) -> None:
    first = score(TEXTS)
    assert (first.rows, first.known, first.scored, first.refused, first.parts) == (7, 0, 7, 0, 2)
    before = parts(tmp_path)
    again = score(dict(reversed(TEXTS.items())))
    assert (again.rows, again.known, again.scored, again.parts) == (7, 7, 0, 0), "places do not count"
    assert parts(tmp_path) == before
    edited = score(TEXTS | {"r2": "other words", "n1": "new words", "n2": "words of 3"})
    assert (edited.known, edited.scored, edited.copied) == (6, 3, 1)
    found = scores()
    assert list(found["id"]) == sorted([*TEXTS, "n1", "n2", "r2"])
    assert set(found["model"]) == {"m"}
    answers = found.set_index(["id", "content"])["probabilities"].map(tuple)
    assert len(set(answers.loc["r2"])) == 2, "the edited row has an answer of its own"
    assert list(answers.loc["n2"]) == list(answers.loc["r3"]), "the same content has the same answer"
    other = score(TEXTS, version="2")
    assert (other.known, other.scored) == (0, 7), "another version has scored nothing"
    dataset = ds.dataset(tmp_path / "out", partitioning="hive")
    assert dataset.to_table(columns=["version"])["version"].value_counts().to_pylist() == [
        {"values": 1, "counts": 10},
        {"values": 2, "counts": 7},
    ]


def test_a_run_that_is_ended_resumes_after_its_last_part(
    score: Score, scores: Callable[[], pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended while the second part is written: the first is whole, and the beginning of another is no part to any reader."""
    write = pq.write_table
    begun: list[str] = []

    def end(table: pa.Table, path: Path, **options: object) -> None:
        if path.name.startswith(".part-"):
            begun.append(path.name)
        if len(begun) == 2:
            path.write_bytes(b"PAR1")
            raise KeyboardInterrupt
        write(table, path, **options)

    monkeypatch.setattr(pq, "write_table", end)
    with pytest.raises(KeyboardInterrupt):
        score(TEXTS)
    folder = tmp_path / "out" / "model=m" / "version=1"
    (folder / ".part-000001.parquet.left-by-a-kill").write_bytes(b"PAR1")
    (folder / f".{REFUSED}.left-by-a-kill").touch()
    assert len(scores()) == 4
    monkeypatch.setattr(pq, "write_table", write)
    resumed = score(TEXTS)
    assert (resumed.known, resumed.scored, resumed.parts) == (4, 3, 1)
    assert list(scores()["id"]) == sorted(TEXTS)
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", REFUSED, "part-000000.parquet", "part-000001.parquet",
    ]  # fmt: skip


def test_refused_rows_are_listed_and_tried_again(
    score: Score, scores: Callable[[], pd.DataFrame], tmp_path: Path
) -> None:
    texts = TEXTS | {"r1": "", "r2": ""}
    first = score(texts, part_rows=2)
    assert (first.scored, first.refused) == (5, 2)
    listed = pd.read_csv(tmp_path / "out" / "model=m" / "version=1" / REFUSED)
    assert list(zip(listed["id"], listed["reason"], strict=True)) == [("r1", "no-modality"), ("r2", "no-modality")]
    second = score(TEXTS | {"r2": ""})
    assert (second.known, second.scored, second.refused) == (5, 1, 1)
    assert "r1" in set(scores()["id"])
    with pytest.raises(DataError, match=r"all 2 rows are refused \(no-modality 2\); see .*_refused.csv"):
        score({"r1": "", "r2": ""})


def test_a_score_says_whether_the_model_knows_the_row(score: Score, scores: Callable[[], pd.DataFrame]) -> None:
    score(TEXTS, groups={"r0": "ann", "r1": "bob"})
    found = scores().set_index("id")
    assert list(found.loc[["r0", "r1", "r2"], "group"].fillna("")) == ["ann", "bob", ""]
    assert list(found.loc[["r0", "r1", "r2"], "seen"].fillna("")) == ["group", "", ""]


def test_a_second_process_waits_and_says_so(score: Score, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "model=m" / "version=1"
    folder.mkdir(parents=True)
    said: list[str] = []
    waits = threading.Event()

    def hear(line: str, level: str) -> None:
        if "waits" in line:
            said.append(line)
            waits.set()

    done: list[ScoredVersion] = []
    with (folder / ".lock").open("a") as lock, listening_to_lines(hear):
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=lambda: done.append(score(TEXTS)))
        second.start()
        waits.wait()
        assert done == []
        fcntl.flock(lock, fcntl.LOCK_UN)
        second.join()
    assert (done[0].scored, len(said)) == (7, 1)


def test_the_scores_of_another_model_of_that_name_are_not_added_to(score: Score, tmp_path: Path) -> None:
    score(TEXTS)
    (tmp_path / "out/model=m/version=1").rename(tmp_path / "out/model=m/version=2")
    with pytest.raises(UsageError, match="are of another model of that name and version"):
        score(TEXTS, version="2")


def test_scores_do_not_lie_among_the_data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(UsageError, match="lies in the folder of the data"):
        check_folder(tmp_path / "data" / "scores", str(tmp_path / "data"))
    write_texts(tmp_path / "file", TEXTS)
    with pytest.raises(UsageError, match="is a file"):
        check_folder(tmp_path / "file", str(tmp_path / "data"))
    assert check_folder(tmp_path / "scores", str(tmp_path / "data")) == tmp_path / "scores"
