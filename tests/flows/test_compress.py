"""`crossmodal compress` from end to end: made, judged, published and used; killed, by two at once, refused, as a flow."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crossmodal
from data_contracts.compression import CompressReport
from flows.cli import main
from flows.compress_request import Asked, make_compression
from flows.compressing import compress_model
from tasks.compress.compress import KIND
from tasks.errors import CrossmodalError, PromotionRefused
from tasks.modeling.card import read_card
from tasks.modeling.release import read_release
from tasks.publish import registry
from tasks.retention.verify import Checked, verify_items
from tests.support.compressing import FROZEN, LENIENT, command, compress, models_in, place_of, train
from tests.support.data import SMALL
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_learnable: Callable[[Path], Path]) -> Path:
    return make_learnable(tmp_path_factory.mktemp("compress-data"))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model of `tiny` encoders that reads pictures and words."""
    store = tmp_path_factory.mktemp("compress") / "store"
    train(data, store, "encoders.audio=off")
    return store


@pytest.fixture
def tiny(trained: Path, tmp_path: Path) -> Path:
    """A copy of it: a store moves with all that is in it."""
    shutil.copytree(trained, tmp_path / "store", symlinks=True)
    return tmp_path / "store"


@pytest.fixture
def frozen(data: Path, tmp_path: Path, squeezenet: Path, bert: Path) -> Path:
    """A store with a model of two frozen encoders."""
    store = tmp_path / "frozen"
    encoders = (f"encoders.image=torchvision:squeezenet1_1@{squeezenet}", f"encoders.text=hf:{bert}")
    train(data, store, *FROZEN, *encoders)
    return store


def test_a_small_model_is_made_judged_and_reported(tiny: Path) -> None:
    summary, report = compress(tiny)
    states = {each.method: each.state for each in report.results}
    assert {states[name] for name in ("float16", "int8", "int4")} == {"measured"}
    assert {states[name] for name in ("onnx", "onnx-int8")} == {"not possible"}
    found = {each.method: each for each in report.results}
    sizes = [report.size_bytes, *(found[name].size_bytes or 0 for name in ("float16", "int8", "int4"))]
    assert sizes == sorted(sizes, reverse=True)
    assert 3 < (report.smaller(found["int8"]) or 0) < 4
    assert 4 < (report.smaller(found["int4"]) or 0) < 5  # its kernels have 8 bits
    assert found["int8"].decision == "promote"
    assert report.test_rows == 20
    assert summary.finding == "compressed"
    assert summary.compress is not None
    assert summary.compress.methods["int8"].size_bytes == found["int8"].size_bytes
    page = (tiny / str(summary.report)).read_text()
    assert "<title>tones: " in page
    assert all(f"<b>{each.method}</b>" in page for each in report.results)
    assert [*verify_items(tiny, True, Checked())] == []
    refs = json.loads((tiny / "runs" / report.run / "refs.json").read_text())
    kept = json.loads((tiny / refs["compression"]["uri"] / "artifact.json").read_text())
    assert sum(uri.startswith(f"{KIND}/") for uri in kept["parents"]) == sum(
        e.state == "measured" for e in report.results
    )


@pytest.mark.slow
def test_again_it_computes_nothing(tiny: Path) -> None:
    compress(tiny, "float16,int8")
    kinds = (KIND, "evaluations", "verdicts", "checkpoints")
    before = {path: path.stat().st_mtime_ns for kind in kinds for path in (tiny / kind).glob("*/artifact.json")}
    compress(tiny, "float16", "int8")
    assert {path: path.stat().st_mtime_ns for kind in kinds for path in (tiny / kind).glob("*/artifact.json")} == before


@pytest.mark.slow
def test_a_published_one_is_a_version_as_any_other(
    tiny: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, report = compress(tiny, publish="int8")
    assert report.published == "2"
    place = place_of(tiny)
    versions = registry.show_model("tones", place.store, place.tracking_uri)
    assert [(each["version"], each["status"], each["aliases"]) for each in versions] == [
        ("1", "verified", []),
        ("2", "verified", ["champion"]),
    ]
    moves = registry.history("tones", place.store, place.tracking_uri)
    assert (moves[-1].version, moves[-1].previous, moves[-1].run) == ("2", "1", report.run)
    champion = registry.fetch_champion("tones", "champion", place.store, place.tracking_uri)
    assert champion is not None
    card = read_card(place.store.path(champion.uri))
    assert card.compression is not None
    assert (card.compression.method, card.compression.version) == ("int8", "1")
    model = crossmodal.load("tones@champion", tiny)
    assert (model.version, model.predict([{"text": "it is low number 3"}])[0].label) == ("2", "low")
    store = ["--store", str(tiny)]
    for arguments in (
        ["predict", str(data), "--model", "tones", "--out", str(tmp_path / "p.csv"), *store],
        ["score", str(data), "--model", "tones", *store],
        ["models", "export", "tones", str(tmp_path / "release"), *store],
        ["models", "verify", str(tmp_path / "release")],
        ["models", "diff", "tones", "1", "2", *store],
        ["store", "verify", "--deep", *store],
        ["store", "gc", *store],
        ["models", "rollback", "tones", *store],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        assert ended.value.code == 0, (arguments, said.err)
        if arguments[:2] == ["models", "diff"]:
            assert "version 1" in said.out
            assert "version 2" in said.out
    release = read_release(tmp_path / "release")
    assert release is not None
    assert release.lineage.compression == card.compression
    assert "int8" in (tmp_path / "release" / "README.md").read_text()
    with pytest.raises(CrossmodalError, match="int8 of version 1 already"):
        make_compression(Asked(str(tmp_path / "release"), ["int4"], data=str(data)), place_of(tiny))


@pytest.mark.slow
def test_weights_that_were_tampered_with_are_refused(tiny: Path, tmp_path: Path) -> None:
    compress(tiny, publish="int4")
    with pytest.raises(SystemExit):
        main(["models", "export", "tones", str(tmp_path / "release"), "--store", str(tiny)])
    weights = tmp_path / "release" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CrossmodalError, match="damaged"):
        crossmodal.load(tmp_path / "release")


@pytest.mark.slow
def test_frozen_encoders_are_compressed_exported_and_used(frozen: Path, tmp_path: Path) -> None:
    _, report = compress(frozen, "int8,onnx,onnx-int8", publish="onnx-int8")
    found = {each.method: each for each in report.results}
    assert all(found[name].state == "measured" for name in ("int8", "onnx", "onnx-int8")), report.results
    assert all(value < 1e-4 for value in found["onnx"].encoder_difference.values())
    assert all(0 < value < 0.2 for value in found["onnx-int8"].encoder_difference.values())
    assert found["onnx"].differences["accuracy"][0] == 0
    assert (report.smaller(found["onnx-int8"]) or 0) > 2.5
    assert report.published == "2"
    with pytest.raises(SystemExit) as ended:
        main(["models", "export", "tones", str(tmp_path / "release"), "--store", str(frozen)])
    assert ended.value.code == 0
    graphs = sorted((tmp_path / "release" / "encoders").glob("*/encoder.onnx"))
    assert len(graphs) == 2
    elsewhere = crossmodal.load(tmp_path / "release", tmp_path / "other")
    here = crossmodal.load("tones", frozen)
    rows = [{"text": "it is high number 5"}, {"text": "it is low number 7"}]
    answers = [[answer.probabilities["low"] for answer in model.predict(rows)] for model in (here, elsewhere)]
    np.testing.assert_allclose(*answers, atol=1e-6)
    graphs[0].write_bytes(graphs[0].read_bytes()[:-9] + b"123456789")
    with pytest.raises(CrossmodalError, match="damaged"):
        crossmodal.load(tmp_path / "release", tmp_path / "other")


@pytest.mark.slow
def test_an_input_of_no_use_is_left_out_by_validation_rows_alone(data: Path, tmp_path: Path) -> None:
    """With every test label turned round the same inputs are left out, and the same weights are trained."""
    read = data.read_text().splitlines()
    turned = [line.replace(",low,", ",X,").replace(",high,", ",low,").replace(",X,", ",high,") for line in read]
    twisted = data.with_name("twisted.csv")
    twisted.write_text("\n".join(new if old.endswith("test") else old for old, new in zip(read, turned, strict=True)))
    found = []
    for number, path in enumerate((data, twisted)):
        store = tmp_path / str(number)
        train(data, store, "encoders.audio=off")
        asked = make_compression(
            Asked("tones", ["prune"], data=str(path), overrides=(*SMALL, *LENIENT, "encoders.audio=off")),
            place_of(store),
        )
        compress_model(asked)
        report = CompressReport.model_validate_json((asked.request.folder / "compress.json").read_bytes())
        found.append(report.results[0])
    assert found[0].state == "measured", found[0].reason
    assert [each.input for each in found[0].inputs if each.left_out]
    assert found[0].inputs == found[1].inputs
    assert found[0].metrics != found[1].metrics
    assert found[0].latency is not None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tones", "--methods", "int9"], 2, "did you mean 'int8'?"),
        (["tones", "--methods", "onnx"], 2, "no frozen pretrained encoder"),
        (["tones", "--methods", "distill"], 2, "its encoders are tiny already"),
        (["tones", "--methods", "int8", "--set", "compress.distill_temperature=0"], 2, "compress.distill_temperature"),
        (["tones", "--publish", "float61"], 2, "did you mean 'float16'?"),
        (["tones", "--methods", "int8", "--publish", "int4"], 2, "is not among --methods"),
        (["nobody"], 2, "not in the registry"),
        (["./nowhere"], 2, "no folder with model.json"),
        (["tones", "--data", "/nowhere/at/all.csv"], 2, "/nowhere/at/all.csv"),
    ],
)
def test_bad_input_is_one_line_before_any_work(
    trained: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    before = sorted((trained / "runs").iterdir())
    with pytest.raises(SystemExit) as ended:
        main(["compress", *arguments, "--store", str(trained)])
    shown = capsys.readouterr().err
    assert (ended.value.code, said in shown) == (code, True), shown
    assert len([line for line in shown.splitlines() if line.startswith("error:")]) == 1
    assert sorted((trained / "runs").iterdir()) == before


def test_data_without_test_rows_are_refused_before_anything_is_decoded(
    tiny: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = data.with_name("lacking.csv")
    lacking.write_text("\n".join(line for line in data.read_text().splitlines() if not line.endswith(",test")))
    before = sorted((tiny / "clean").iterdir())
    with pytest.raises(SystemExit) as ended:
        main(["compress", "tones", "--data", str(lacking), "--methods", "int8", "--store", str(tiny)])
    assert ended.value.code == 3
    assert "split 'test' has no rows" in capsys.readouterr().err
    assert sorted((tiny / "clean").iterdir()) == before


def test_a_missing_extra_is_named_where_it_is_asked_for_and_noted_where_not(
    frozen: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tasks.compress.methods.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        main(["compress", "tones", "--methods", "onnx", "--store", str(frozen)])
    assert ended.value.code == 4
    assert "pip install 'crossmodal[compress]'" in capsys.readouterr().err
    asked = make_compression(Asked("tones"), place_of(frozen))
    assert "crossmodal[compress]" in asked.not_possible["onnx"]
    assert asked.methods == ("float16", "int8", "int4", "prune")


def test_one_that_the_gate_does_not_pass_is_not_published(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rule that no model of these rows meets."""
    rule = ["--set", 'gate.rules=[{metric = "ece", max = -1.0}]']
    with pytest.raises(SystemExit) as ended:
        main(["compress", "tones", "--publish", "int8", "--store", str(tiny), *rule])
    assert ended.value.code == PromotionRefused.exit_code
    assert "was not published" in capsys.readouterr().err
    assert len(registry.show_model("tones", place_of(tiny).store, place_of(tiny).tracking_uri)) == 1


def last_json(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_to_the_same_models(tiny: Path, tmp_path: Path) -> None:
    """SIGKILL once each of the first methods is made."""
    shutil.copytree(tiny, tmp_path / "whole", symlinks=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    methods = "float16,int8,int4"
    subprocess.run(command(tmp_path / "whole", methods), capture_output=True, env=environment, check=True)
    for made in (1, 2):
        worker = subprocess.Popen(
            command(tiny, methods), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        wait_until(
            lambda made=made, worker=worker: (  # type: ignore[misc]
                worker.poll() is not None or len(list((tiny / KIND).glob("*/artifact.json"))) >= made
            ),
            "a method's model is in the store",
        )
        assert worker.poll() is None, "it was over before it could be killed"
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    before = {path: path.stat().st_mtime_ns for path in (tiny / KIND).glob("*/artifact.json")}
    subprocess.run(command(tiny, methods), capture_output=True, env=environment, check=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert models_in(tiny) == models_in(tmp_path / "whole")
    assert [*verify_items(tiny, True, Checked())] == []


@pytest.mark.slow
def test_two_workers_do_nothing_twice(tiny: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    kinds = (KIND, "evaluations")
    before = {kind: len(list((tiny / kind).glob("*"))) for kind in kinds}
    workers = [
        subprocess.Popen(
            command(tiny, "float16,int8,int4"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(2)
    ]
    outputs = [worker.communicate() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    found = [last_json(out)["compress"]["methods"] for out, _ in outputs]
    assert all(found[0][name]["size_bytes"] == found[1][name]["size_bytes"] for name in found[0])
    made = {kind: len(list((tiny / kind).glob("*"))) - before[kind] for kind in kinds}
    assert made == {KIND: 3, "evaluations": 4}  # and the original by itself
    assert not list((tiny / "trash").glob("*"))


@pytest.mark.slow
def test_as_a_flow_each_method_is_a_task(tiny: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from flows.environment import use_prefect; use_prefect(Path(sys.argv[1])); "
        "from flows.compress import compress; import json; "
        "print(json.dumps(compress('tones', methods=['float16', 'int8'], publish='int8', store=sys.argv[1])))"
    )
    environment = os.environ | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summary = last_json(done.stdout)
    assert summary["compress"]["published"] == "2"
    logged = done.stdout + done.stderr
    assert all(f"Task run '{name}' - Finished in state Completed()" in logged for name in ("float16", "int8"))
