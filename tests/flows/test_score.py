"""Scoring: only what a version has not scored, nothing twice and nothing lost, whatever ends it in between."""

from __future__ import annotations

import fcntl
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
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
from tasks import locks
from tasks.errors import DataError, UsageError
from tasks.modeling.training_rows import ROWS, write_rows
from tasks.progress import listening_to_lines
from tasks.samples import Samples
from tasks.score.partition import REFUSED, Partition
from tasks.score.row_keys import RowKeys, find_new
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
    for left in (f".part-000001.parquet.{'a' * 32}", f".{REFUSED}.{'b' * 32}"):  # by a kill
        (folder / left).write_bytes(b"PAR1")
        (folder / f"{left}.lock").touch()
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


def test_rows_that_share_their_ids_have_their_own_answers(
    score: Score, scores: Callable[[], pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tables of a folder count their rows from the beginning, and each is a part; also where one is ended between them."""
    shards = tmp_path / "shards"
    shards.mkdir()
    texts = {f"{shard}{name}": f"words of {name} in {shard}" for shard in "01" for name in ("r1", "r2")}
    for shard in "01":
        write_texts(shards / f"rows-{shard}.csv", {name: texts[f"{shard}{name}"] for name in ("r1", "r2")})
    score(texts)
    expected = scores().set_index("content")["probabilities"].str[0].to_dict()
    assert len({round(value, 4) for value in expected.values()}) == 4
    shutil.rmtree(tmp_path / "out")
    write = Partition.write

    def end_at_the_second(partition: Partition, table: pa.Table) -> None:
        if (partition.folder / "part-000000.parquet").exists():
            raise KeyboardInterrupt
        write(partition, table)

    with monkeypatch.context() as patch:
        patch.setattr(Partition, "write", end_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            score(shards, part_rows=2)
    resumed = score(shards, part_rows=2)
    assert (resumed.known, resumed.scored, resumed.copied) == (2, 2, 0)
    found = scores()
    assert list(found["id"]) == ["r1", "r1", "r2", "r2"]
    assert found.set_index("content")["probabilities"].str[0].to_dict() == pytest.approx(expected, abs=1e-5)
    assert set(found["rows_of_id"]) == {2}
    assert score(shards, part_rows=1).known == 4


def test_the_last_score_of_an_id_is_of_what_the_row_says_now(score: Score, tmp_path: Path) -> None:
    """Edited and edited back; the parts are read in their order, and a part is in the order of the rows."""
    texts = {"r3": "third", "r1": "first", "r2": "second"}
    copied = []
    for edited in (texts, texts | {"r1": "other words", "r0": "new words"}, texts | {"r0": "new words"}, texts):
        copied.append(score(edited).copied)
    parts = [pd.read_parquet(path) for path in sorted((tmp_path / "out").rglob("part-*.parquet"))]
    assert [list(part["id"]) for part in parts] == [["r3", "r1", "r2"], ["r1", "r0"], ["r1"]]
    assert copied == [0, 0, 1, 0]
    (first, last) = (part.set_index("id").loc["r1"] for part in (parts[0], parts[2]))
    assert (first["content"], list(first["probabilities"])) == (last["content"], list(last["probabilities"]))
    mixed = score({"x2": "later", "x1": "first", "x0": "more"})
    assert (mixed.scored, mixed.copied) == (3, 1)
    newest = pd.read_parquet(max((tmp_path / "out").rglob("part-*.parquet")))
    assert list(newest["id"]) == ["x2", "x1", "x0"], "one copied between two computed"


def test_what_is_known_of_ids_with_several_contents() -> None:
    def new(data: list[str], stored: list[str], counts: list[int]) -> list[bool]:
        """Each row is an id and a content, `1a`."""
        rows, before = (RowKeys.of([row[0] for row in of], [row[1] for row in of]) for of in (data, stored))
        return find_new(rows, np.ones(len(data), bool), before, np.array(counts, np.int64)).new.tolist()

    assert new(["1a", "2a"], [], []) == [True, True]
    assert new(["1a"], ["1a", "1b"], [1, 1]) == [True], "edited back"
    assert new(["1a"], ["1a", "1b", "1a"], [1, 1, 1]) == [False]
    assert new(["1a", "1b"], ["1a", "1b"], [2, 2]) == [False, False], "shards: not anew at every run"
    assert new(["1a", "1b", "1a"], ["1a", "1b"], [2, 2]) == [False, False, False]
    assert new(["1a", "1b"], ["1a"], [1]) == [True, True], "a second shard: both say that there are two"
    assert new(["1b"], ["1a", "1b"], [2, 2]) == [True], "a shard is gone: the id is of one row again"
    assert new(["1b"], ["1a", "1b", "1b"], [2, 2, 1]) == [False]
    assert new(["1a", "1b"], ["1a", "1b", "1c"], [2, 2, 2]) == [True, True], "one was edited, and edited back"


def test_every_row_that_cannot_be_read_is_listed_also_where_all_have_one_id(score: Score, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,text_path\n" + "".join(f"r,none-{number}.txt\n" for number in range(6)))
    with pytest.raises(DataError, match=r"all 6 rows are refused \(missing-file 6\)"):
        score(tmp_path / "rows.csv")
    listed = pd.read_csv(tmp_path / "out/model=m/version=1" / REFUSED)
    assert list(listed["row"]) == [2, 3, 4, 5, 6, 7], "lines of the file"
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "good.txt").write_text("words")
    (tmp_path / "rows.csv").write_text("id,text_path\n" + "r,bad.txt\nr,good.txt\n" * 2)
    done = score(tmp_path / "rows.csv")
    assert (done.rows, done.known, done.repeated, done.scored, done.refused) == (4, 0, 1, 1, 2)
    assert list(pd.read_csv(tmp_path / "out/model=m/version=1" / REFUSED)["row"]) == [2, 4]


def test_a_score_says_whether_the_model_knows_the_row(score: Score, scores: Callable[[], pd.DataFrame]) -> None:
    score(TEXTS, groups={"r0": "ann", "r1": "bob"})
    found = scores().set_index("id")
    assert list(found.loc[["r0", "r1", "r2"], "group"].fillna("")) == ["ann", "bob", ""]
    assert list(found.loc[["r0", "r1", "r2"], "seen"].fillna("")) == ["group", "", ""]


def test_a_second_process_waits_and_says_so(score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out" / "model=m" / "version=1"
    folder.mkdir(parents=True)
    said: list[str] = []
    waits = threading.Event()

    def hear(line: str, level: str) -> None:
        if "waits" in line:
            said.append(line)
            waits.set()

    done: list[ScoredVersion] = []
    monkeypatch.setattr(locks, "SAY_AFTER_S", 0)
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
