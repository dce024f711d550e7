"""`crossmodal translate` on real files: what it generates, marks and leaves, that nothing is done twice, what it refuses."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_contracts.tables import PREDICTIONS
from data_contracts.translation import GENERATED, TranslationReport
from flows.cli import main
from flows.data_stages import prepare
from flows.request import Request, make_request, resolve_config
from flows.run_failed import RunFailed
from flows.run_state import RunState
from flows.stages import Stages
from flows.translating import translate_manifest
from tasks.samples import Samples
from tasks.translate.shards import count_missing, generate_shard, plan_generation, source_digests
from tests.support.data import SMALL
from tests.waiting import wait_until

SETTINGS = [*SMALL, "train.epochs=2", "translate.shard_rows=8", "split.near_duplicates=false"]
SPOKEN = ["translate.source=text", "translate.target=audio", "translate.generator=espeak-ng"]
speaks = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def request_for(data: Path, store: Path, *settings: str, run: str = "run") -> Request:
    return make_request(resolve_config(None, str(data), [*SETTINGS, *settings]), str(store), None, run)


def drop(manifest: Path, column: str, every: int) -> None:
    """Every so many rows lack this cell."""
    rows = list(csv.DictReader(manifest.open()))
    for number, row in enumerate(rows):
        if number % every == 0:
            row[column] = ""
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def generated_sources(store: Path, modality: str) -> Counter[str]:
    """How often the store holds each source of this modality."""
    parts = store.glob(f"media/{modality}/*/*.parquet")
    return Counter(source for part in parts for source in pq.read_table(part, columns=["source"])["source"].to_pylist())


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_URI", "CROSSMODAL_STORE", "CROSSMODAL_REFRESH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def translated(tmp_path_factory: pytest.TempPathFactory, make_learnable: Callable[[Path], Path]) -> Any:
    """Pictures retrieved for texts: (request, summary, report)."""
    folder = tmp_path_factory.mktemp("translated")
    request = request_for(make_learnable(folder / "data"), folder / "store")
    summary = translate_manifest(request, folder / "rows.parquet")
    report = TranslationReport.model_validate_json((request.folder / "translation.json").read_text())
    return request, summary, report


@pytest.mark.slow
def test_every_way_to_use_it_is_compared_on_the_same_rows(translated: Any) -> None:
    _, summary, report = translated
    assert [arm.plan.name for arm in report.arms] == [
        "text + generated image", "text only", "generated image only", "text + real image", "real image only"
    ]  # fmt: skip
    assert [pairing.theirs for pairing in report.pairings] == [arm.plan.name for arm in report.arms[1:]]
    assert {arm.rows for arm in report.arms} == {report.generated["test"]}
    assert [arm.generated > 0 for arm in report.arms] == [True, False, True, False, False]
    assert summary.finding in ("helps", "hurts", "no difference shown")
    assert summary.reason.startswith(summary.finding)
    assert report.pair is not None
    assert {(recall.query, recall.k) for recall in report.pair.recalls} == {
        ("text", 1), ("text", 5), ("image", 1), ("image", 5)
    }  # fmt: skip


@pytest.mark.slow
def test_a_generated_cell_of_a_test_row_is_marked_in_every_table(translated: Any) -> None:
    request, _, report = translated
    store = request.store.root
    marked = 0
    for path in [*store.glob(f"evaluations/*/{PREDICTIONS}"), *store.glob("translated/*/samples.parquet")]:
        table = pq.read_table(path)
        rows = set(table[GENERATED].to_pylist())
        assert len(rows) == 1  # of a model that reads generated pictures all are, of another none
        marked += rows == {"image"}
    assert marked == 4
    lines = list(csv.DictReader((request.folder / "rows.csv").open()))
    test = [line for line in lines if line["split"] == "test"]
    assert len(test) == report.generated["test"]
    assert {line["image_generated"] for line in test} == {"true"}
    assert all(line["image_digest"] != line["real_image_digest"] for line in test)
    out = pq.read_table(request.folder.parents[2] / "rows.parquet")
    assert out["id"].to_pylist() == [line["id"] for line in lines]
    page = (request.folder / "report.html").read_text()
    assert page.count('<span class="mark">generated</span></td>\n<td><b>') == len(report.shown)
    assert str(store) not in page
    assert "http://" not in page


@pytest.mark.slow
def test_a_retrieved_picture_is_of_a_training_row_and_never_the_own_one(translated: Any) -> None:
    request, _, _ = translated
    lines = list(csv.DictReader((request.folder / "rows.csv").open()))
    pictures = {line["real_image_digest"] for line in lines if line["split"] == "train"}
    assert {line["image_digest"] for line in lines} <= pictures
    alone = Counter(line["text_digest"] for line in lines)
    train = [line for line in lines if line["split"] == "train" and alone[line["text_digest"]] == 1]
    assert all(line["image_digest"] != line["real_image_digest"] for line in train)


@pytest.mark.slow
def test_the_same_again_generates_and_trains_nothing(translated: Any) -> None:
    request, summary, _ = translated
    kinds = ("pairs", "translated", "checkpoints", "evaluations", "translations")
    before = {path: path.stat().st_mtime_ns for kind in kinds for path in request.store.root.glob(f"{kind}/*/*.*")}
    again = translate_manifest(request_for(Path(request.config.data.path), request.store.root, run="again"))
    after = {path: path.stat().st_mtime_ns for kind in kinds for path in request.store.root.glob(f"{kind}/*/*.*")}
    assert {path for path in before if "translations" not in path.parts} == {
        path for path in after if "translations" not in path.parts
    }
    assert all(after[path] == before[path] for path in before)
    assert again.found["generated"] == 0
    assert again.finding == summary.finding


# -- shards ---


@pytest.fixture
def planned(learnable: Path, tmp_path: Path) -> Any:
    """Shards of texts to be spoken, and their store: nothing is generated yet."""
    request = request_for(learnable, tmp_path / "store", *SPOKEN)
    valid = prepare(request, request.config, Stages(), RunState())
    digests = source_digests(Samples.read(request.store.path(valid.uri)), request.config)
    return plan_generation(valid.clean, digests, request.config), request, learnable


@speaks
def test_what_is_there_is_not_generated_again_and_new_rows_are(planned: Any, tmp_path: Path) -> None:
    shards, request, learnable = planned
    made = [generate_shard(shard, request.store) for shard in shards]
    assert sum(made) == len({digest for shard in shards for digest in shard.digests})
    assert [generate_shard(shard, request.store) for shard in shards] == [0] * len(shards)
    rows = list(csv.DictReader(learnable.open()))
    rows[0]["text"] = "something that nobody said before"
    with learnable.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    later = request_for(learnable, request.store.root, *SPOKEN)
    valid = prepare(later, later.config, Stages(), RunState())
    digests = source_digests(Samples.read(later.store.path(valid.uri)), later.config)
    assert count_missing(plan_generation(valid.clean, digests, later.config), later.store) == 1
    other = request_for(learnable, request.store.root, *SPOKEN, "translate.voice=de")
    assert count_missing(plan_generation(valid.clean, digests, other.config), other.store) == len(set(digests))


WORKER = """
import sys
from pathlib import Path
from tasks.store import Store
from tasks.translate.shards import GenerationShard, generate_shard
store, *paths = sys.argv[1:]
for path in paths:
    print(generate_shard(GenerationShard.model_validate_json(Path(path).read_text()), Store(store)), flush=True)
"""


@speaks
@pytest.mark.slow
def test_two_workers_generate_nothing_twice(planned: Any, tmp_path: Path) -> None:
    shards, request, _ = planned
    paths = []
    for number, shard in enumerate(shards):
        paths.append(tmp_path / f"shard-{number}.json")
        paths[-1].write_text(shard.model_dump_json())
    command = [sys.executable, "-c", WORKER, str(request.store.root)]
    workers = [
        subprocess.Popen([*command, *map(str, order)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        for order in (paths, paths[::-1])
    ]
    made = [sum(map(int, worker.communicate()[0].split())) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert sum(made) == len({digest for shard in shards for digest in shard.digests})
    assert set(generated_sources(request.store.root, "audio").values()) == {1}


@speaks
@pytest.mark.slow
def test_a_command_that_was_killed_goes_on_after_its_last_shard(learnable: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    flags = [part for setting in (*SETTINGS, *SPOKEN, "translate.shard_rows=2") for part in ("--set", setting)]
    command = [
        sys.executable,
        "-m",
        "flows",
        "translate",
        "--data",
        str(learnable),
        "--store",
        str(store),
        "--json",
        *flags,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment, start_new_session=True)
    real = 1  # the part with the real sounds, which ingest writes
    wait_until(lambda: len(list(store.glob("media/audio/*/*.parquet"))) >= real + 3, "three shards are generated")
    assert run.poll() is None
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = {path: path.stat().st_mtime_ns for path in store.glob("media/audio/*/*.parquet")}
    assert not list(store.glob("translations/*"))
    again = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    summary = json.loads(again.stdout.strip().splitlines()[-1])
    assert summary["found"]["reused"] >= 3 * 2 - 1
    assert summary["found"]["generated"] > 0
    after = {path: path.stat().st_mtime_ns for path in store.glob("media/audio/*/*.parquet")}
    assert before.items() <= after.items()
    assert set(generated_sources(store, "audio").values()) == {1}


@speaks
@pytest.mark.slow
def test_only_missing_cells_are_filled_and_only_they_are_marked(learnable: Path, tmp_path: Path) -> None:
    drop(learnable, "audio", 4)
    request = request_for(learnable, tmp_path / "store", *SPOKEN, "translate.mode=fill")
    translate_manifest(request)
    report = TranslationReport.model_validate_json((request.folder / "translation.json").read_text())
    assert [arm.plan.name for arm in report.arms] == ["text + audio filled", "text + audio as it is", "text only"]
    filled = next(arm for arm in report.arms if arm.plan.uses == "filled")
    assert 0 < filled.generated < filled.rows
    lines = list(csv.DictReader((request.folder / "rows.csv").open()))
    assert all((line["audio_generated"] == "true") == (line["real_audio_digest"] == "") for line in lines)


# -- refused before any work ---


def refusal(data: Path, store: Path, *settings: str) -> str:
    with pytest.raises(Exception, match="translate") as caught:
        translate_manifest(request_for(data, store, *settings))
    error = caught.value.error if isinstance(caught.value, RunFailed) else caught.value
    assert error.exit_code in (2, 4)
    assert not list(store.glob("media/*"))  # nothing was decoded
    return str(error)


def test_what_gives_nothing_to_do_is_refused_before_anything_is_decoded(
    learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    assert "nothing is to be filled" in refusal(learnable, store, "translate.mode=fill")
    assert "no row of the data has video; they have" in refusal(learnable, store, "translate.source=video")
    assert "real video is what it retrieves" in refusal(learnable, store, "translate.target=video")
    assert "encoders.image = off" in refusal(learnable, store, "encoders.image=off")
    away = ["translate.source=audio", "translate.target=text", f"translate.generator=whisper:{tmp_path}/none"]
    assert "there is no folder" in refusal(learnable, store, *away)
    reading = ["translate.source=image", "translate.target=text", "translate.generator=tesseract"]
    assert "no row of the data has image_2" in refusal(learnable, store, *reading, "translate.source=image_2")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install tesseract-ocr" in refusal(learnable, store, *reading)
    drawing = f"translate.generator=diffusers:{tmp_path}/none"
    monkeypatch.setattr("tasks.translate.generators.choose.find_spec", lambda name: True)
    assert "there is no folder" in refusal(learnable, store, drawing)
    monkeypatch.setattr("tasks.translate.generators.choose.find_spec", lambda name: None)
    assert "pip install 'crossmodal[diffusion]'" in refusal(learnable, store, drawing)


def test_the_command_says_what_is_wrong_and_ends_with_two(learnable: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["translate", "--data", str(learnable), *arguments])
        assert ended.value.code == 2
        return capsys.readouterr().err

    assert "did you mean 'retrieval'?" in refused("--generator", "retreival")
    assert "must end in .csv or .parquet" in refused("--out", "rows.xlsx")
