"""`crossmodal compress --methods distill`: a student made, judged, published, used; killed, refused; no test row is read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import crossmodal
from flows.cli import main
from flows.compress_request import Asked, make_compression
from flows.compressing import compress_model
from tasks.compress.methods import by_default
from tasks.compress.teacher import KIND, TABLE
from tasks.modeling.card import read_card
from tasks.publish import registry
from tasks.retention.inventory import ARTIFACT_KINDS
from tasks.retention.verify import Checked, verify_items
from tasks.samples import Samples
from tests.support.compressing import FROZEN, LENIENT, command, compress, models_in, place_of, train
from tests.support.data import SMALL
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_learnable: Callable[[Path], Path]) -> Path:
    return make_learnable(tmp_path_factory.mktemp("distill-data"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model of a frozen encoder and a tiny one."""
    import torch
    import torchvision
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("distill")
    torch.manual_seed(0)
    save_file(torchvision.models.get_model("squeezenet1_1").state_dict(), folder / "squeezenet1_1.safetensors")
    train(
        data, folder / "store", *FROZEN, f"encoders.image=torchvision:squeezenet1_1@{folder}/squeezenet1_1.safetensors"
    )
    return folder / "store"


@pytest.fixture
def large(trained: Path, tmp_path: Path) -> Path:
    """A copy of it: a store moves with all that is in it."""
    shutil.copytree(trained, tmp_path / "store", symlinks=True)
    return tmp_path / "store"


@pytest.mark.slow
def test_a_student_is_trained_judged_published_and_used(large: Path, data: Path, tmp_path: Path) -> None:
    _, report = compress(large, publish="distill")
    (found,) = report.results
    assert (found.method, found.state) == ("distill", "measured"), found.reason
    assert (report.smaller(found) or 0) > 2
    assert found.latency is not None
    assert found.metrics["ece"] is not None
    assert report.published == "2"
    place = place_of(large)
    champion = registry.fetch_champion("tones", "champion", place.store, place.tracking_uri)
    assert champion is not None
    card = read_card(place.store.path(champion.uri))
    assert {spec.encoder for spec in card.encoders.values()} == {"tiny"}
    assert card.compression is not None
    teacher = registry.fetch_version("tones", "1", place.store, place.tracking_uri)
    assert teacher is not None
    lineage = card.compression
    assert (lineage.method, lineage.version, lineage.model_sha256) == ("distill", "1", teacher.model_sha256)
    assert crossmodal.load("tones@champion", large).predict([{"text": "it is low number 3"}])[0].label == "low"
    with pytest.raises(SystemExit) as ended:
        main(["models", "export", "tones", str(tmp_path / "release"), "--store", str(large)])
    assert ended.value.code == 0
    readme = (tmp_path / "release" / "README.md").read_text()
    assert "distill" in readme
    assert teacher.model_sha256[:12] in readme
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(data), "--model", "tones", "--out", str(tmp_path / "p.csv"), "--store", str(large)])
    assert ended.value.code == 0
    assert [*verify_items(large, True, Checked())] == []


@pytest.mark.slow
def test_nothing_of_the_test_rows_reaches_the_student(data: Path, trained: Path, large: Path, tmp_path: Path) -> None:
    """The teacher is not asked about them, and with every test label turned round the same weights are trained."""
    turned = data.with_name("turned.csv")
    lines = data.read_text().splitlines()
    swap = {"low": "high", "high": "low"}
    turned.write_text(
        "\n".join(
            ",".join(swap.get(cell, cell) for cell in line.split(",")) if line.endswith("test") else line
            for line in lines
        )
    )
    shutil.copytree(large, tmp_path / "other", symlinks=True)
    weights = trained.parent / "squeezenet1_1.safetensors"
    overrides = (*SMALL, *LENIENT, *FROZEN, f"encoders.image=torchvision:squeezenet1_1@{weights}")
    found = []
    for store, path in ((large, data), (tmp_path / "other", turned)):
        asked = make_compression(Asked("tones", ["distill"], data=str(path), overrides=overrides), place_of(store))
        compress_model(asked)
        found.append(models_in(store)["distill"])
        (table,) = (store / KIND).glob(f"*/{TABLE}")
        splits = {
            name: split
            for folder in (store / "clean").iterdir()
            if (folder / "samples.parquet").is_file()
            for samples in [Samples.read(folder)]
            for name, split in zip(samples.ids, samples.splits, strict=True)
        }
        asked_about = pq.read_table(table)["id"].to_pylist()
        assert {splits[name] for name in asked_about} == {"train", "val"}
        assert len(asked_about) == sum(split != "test" for split in splits.values())
    assert found[0] == found[1]


@pytest.mark.slow
def test_killed_in_training_it_goes_on_and_the_teacher_is_not_asked_again(large: Path, tmp_path: Path) -> None:
    shutil.copytree(large, tmp_path / "whole", symlinks=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    steps = ("--set", "train.checkpoint_steps=1", "--set", "train.epochs=20")
    subprocess.run([*command(tmp_path / "whole", "distill"), *steps], capture_output=True, env=environment, check=True)
    worker = subprocess.Popen(
        [*command(large, "distill"), *steps], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    wait_until(
        lambda: worker.poll() is not None or any((large / "work").glob("train-*/state.safetensors")),
        "the student's training has left its state",
    )
    assert worker.poll() is None, "it was over before it could be killed"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    before = {path: path.stat().st_mtime_ns for path in (large / KIND).glob("*/*")}
    assert before
    subprocess.run([*command(large, "distill"), *steps], capture_output=True, env=environment, check=True)
    assert {path: path.stat().st_mtime_ns for path in (large / KIND).glob("*/*")} == before
    assert models_in(large) == models_in(tmp_path / "whole")


def test_it_is_tried_by_name_only() -> None:
    assert "distill" not in by_default()
    assert "prune" in by_default()
    assert KIND in ARTIFACT_KINDS


@pytest.mark.slow
def test_features_that_a_network_does_not_have_are_refused(large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--set", "fusion.kind=late", "--set", "compress.distill_features_weight=1"]
    with pytest.raises(SystemExit) as ended:
        main(["compress", "tones", "--methods", "distill", *settings, "--store", str(large)])
    assert ended.value.code == 2
    assert "there are no fused features" in capsys.readouterr().err
    assert not list((large / KIND).glob("*"))
