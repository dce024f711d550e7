"""A release: what is in it, that it answers alone, that whatever was changed in it is refused, and that it appears whole."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import crossmodal
from flows.export import export_release, verify_folder
from flows.predictions import find_model
from flows.request import Request, make_request
from flows.serving import golden
from flows.serving.loading import find_published
from flows.serving.prediction import Prediction
from tasks.errors import CrossmodalError, DataError, EnvironmentFailed, UsageError
from tasks.modeling.release import Release, list_hidden, read_release, require_release
from tests.support.markdown import tables_of

MakeCase = Callable[..., Any]
Export = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def request_of(make_case: MakeCase, bert: Path, quick: None) -> Request:
    """Of a store with a model of pictures and texts, the latter read by a frozen encoder."""
    case = make_case(encoder=bert)
    case.publish()
    return make_request(case.request.config, str(case.place[0].root), case.place[1], "run-2")


@pytest.fixture
def export(request_of: Request, tmp_path: Path) -> Export:
    def made(name: str = "release", **options: Any) -> Path:
        return export_release(request_of, "tiny@champion", tmp_path / name, **options)[1]

    return made


def test_a_release_lists_all_that_it_holds_and_where_it_comes_from(export: Export, request_of: Request) -> None:
    folder = export()
    release = read_release(folder)
    assert release is not None
    encoder = f"encoders/{json.loads((folder / 'model.json').read_text())['encoders']['text']['weights_sha256']}"
    assert set(release.files) == {
        *(
            "README.md",
            "bom.cdx.json",
            "model.json",
            "model.safetensors",
            "golden_rows.json",
            "golden/0-image.png",
            "golden/1-image.png",
        ),
        *(
            f"{encoder}/{name}"
            for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
        ),
    }
    assert (release.name, release.version) == ("tiny", "1")
    assert str(request_of.store.root) not in (folder / "release.json").read_text() + (folder / "README.md").read_text()
    lineage = release.lineage
    assert lineage.run == "run-1"
    assert set(lineage.features) == {"image", "text"}
    assert lineage.environment["torch"]
    assert None not in (lineage.dataset_sha256, lineage.rows_sha256, lineage.code.sha256, lineage.environment_sha256)
    found = verify_folder(request_of, folder)
    assert (found.files, found.golden_rows, found.difference) == (len(release.files), 3, 0.0)
    rows = golden.read_golden_rows(folder)
    assert [row.expected.modalities for row in rows] == [("image", "text"), ("image",), ("text",)]


def test_the_bill_of_materials_is_cyclonedx_of_all_files_and_libraries(export: Export) -> None:
    """What https://cyclonedx.org/schema/bom-1.6.schema.json requires of what is in it."""
    folder = export(golden=False)
    release = read_release(folder)
    assert release is not None
    bill = json.loads((folder / "bom.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", bill["serialNumber"])
    model, parts = bill["metadata"]["component"], bill["components"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "tiny", "1")
    assert {part["type"] for part in parts} == {"file", "library", "platform"}
    assert all(part["name"] for part in parts)
    listed = {part["name"]: part["hashes"] for part in parts if part["type"] == "file"}
    found = {name: [{"alg": "SHA-256", "content": sha256}] for name, sha256 in release.files.items()}
    assert found.pop("bom.cdx.json")
    assert (listed, model["hashes"]) == (found, found["model.safetensors"])
    versions = {part["name"]: part["version"] for part in parts if part["type"] != "file"}
    assert versions == release.lineage.environment
    torch = next(part for part in parts if part["name"] == "torch")
    assert torch["purl"] == f"pkg:pypi/torch@{versions['torch']}"
    licences = [licence for part in parts for licence in part.get("licenses", ())]
    assert torch["licenses"]
    assert all(licence.get("expression") or licence["license"]["name"] for licence in licences)
    refs = [model["bom-ref"], *(part["bom-ref"] for part in parts)]
    assert len(set(refs)) == len(refs)
    assert bill["dependencies"] == [{"ref": refs[0], "dependsOn": refs[1:]}]


def test_the_model_card_is_what_the_hub_reads(export: Export) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(export() / "README.md")
    assert (card.data.library_name, card.data.license, card.data.pipeline_tag) == ("crossmodal", "unknown", "other")
    assert card.data.tags == ["crossmodal", "multimodal", "image", "text", "multiclass"]
    assert card.data.model_name == "tiny"
    assert {(result.metric_name, result.metric_value) for result in card.data.eval_results} >= {("accuracy", 0.9)}
    assert all(result.dataset_split == "test" for result in card.data.eval_results)
    figures = next(table for table in tables_of(card.text) if table[0][0] == "metric")
    assert ["accuracy", "0.9000", "0.8000 to 1.0000"] in figures


def test_it_answers_under_its_name_and_version_when_all_else_is_gone(
    export: Export, request_of: Request, bert: Path, tmp_path: Path
) -> None:
    folder = export(golden=False)
    assert not (folder / "golden_rows.json").exists()
    expected = crossmodal.load("tiny", store=request_of.store.root).predict([{"text": "it is low"}])
    shutil.rmtree(bert)
    shutil.rmtree(request_of.store.root)
    moved = folder.rename(tmp_path / "mo@ved")
    model = crossmodal.load(moved, store=tmp_path / "other")
    assert (model.name, model.version) == ("tiny", "1")
    assert model.predict([{"text": "it is low"}]) == expected
    assert verify_folder(request_of, moved).difference is None


TAMPERED: dict[str, Callable[[Path], object]] = {
    "model.safetensors is damaged": lambda folder: flip(folder / "model.safetensors"),
    "model.json is damaged": lambda folder: (folder / "model.json").write_text(
        (folder / "model.json").read_text().replace("no|pe", "nope")
    ),
    "model.safetensors is missing": lambda folder: (folder / "model.safetensors").unlink(),
    "tokenizer.json is damaged": lambda folder: flip(next(folder.glob("encoders/*/tokenizer.json"))),
    "0-image.png is damaged": lambda folder: flip(folder / "golden/0-image.png"),
    "extra.json is not on its list": lambda folder: (folder / "extra.json").write_text("{}"),
    "code.py is nothing that a release holds": lambda folder: relist(folder, "code.py"),
    "../outside.json is nothing that a release holds": lambda folder: relist(folder, "../outside.json"),
}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def relist(folder: Path, name: str) -> None:
    (folder / name).write_text("{}")
    release = read_release(folder)
    assert release is not None
    files = {**release.files, name: "0" * 64}
    (folder / "release.json").write_text(release.model_copy(update={"files": files}).model_dump_json())


def test_whatever_was_changed_is_refused(export: Export, request_of: Request, tmp_path: Path) -> None:
    folder = export()
    for number, (message, tamper) in enumerate(TAMPERED.items()):
        copy = shutil.copytree(folder, tmp_path / str(number))
        tamper(copy)
        with pytest.raises(EnvironmentFailed) as refused:
            verify_folder(request_of, copy)
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)
    for number in range(4):  # weights, card and encoder: not even loaded
        with pytest.raises(EnvironmentFailed, match="copy or export it again"):
            find_published(tmp_path / str(number), request_of)
    loaded = crossmodal.load(folder, store=tmp_path / "other")
    [*TAMPERED.values()][3](folder)
    with pytest.raises(EnvironmentFailed, match="frozen text encoder"):
        loaded.predict([{"text": "it is low"}])


def test_another_answer_to_a_golden_row_is_refused(export: Export, request_of: Request) -> None:
    folder = export()
    record = json.loads((folder / "golden_rows.json").read_text())
    expected = record["rows"][0]["expected"]
    expected["probabilities"] = {name: value + 0.01 for name, value in expected["probabilities"].items()}
    (folder / "golden_rows.json").write_text(json.dumps(record))
    from tasks.store import digest_file

    release = read_release(folder)
    assert release is not None
    files = {**release.files, "golden_rows.json": digest_file(folder / "golden_rows.json")}
    (folder / "release.json").write_text(Release(**(release.model_dump() | {"files": files})).model_dump_json())
    with pytest.raises(EnvironmentFailed, match=r"golden row 0 is answered otherwise .*differs by 0\.01"):
        verify_folder(request_of, folder)


EMPTY_LINEAGE = {
    **dict.fromkeys(("run", "train_key", "dataset_sha256", "rows_sha256")),
    "features": {},
    "code": {},
}


def write_record(folder: Path, files: dict[str, str], **fields: object) -> Path:
    """A release of files without a model in it."""
    weights = {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}
    (folder / "model.safetensors").write_bytes(b"weights")
    record = {"name": "m", "version": "1", "model_sha256": weights["model.safetensors"], "lineage": EMPTY_LINEAGE}
    (folder / "release.json").write_text(json.dumps({**record, "files": weights | files, **fields}))
    return folder


def test_what_release_json_says_is_refused_on_one_line_of_shown_characters(tmp_path: Path) -> None:
    assert require_release(write_record(tmp_path, {})).name == "m"
    other = "0" * 64
    refused: dict[str, Callable[[], object]] = {
        "a⟨U+0000⟩.json is nothing that a release holds": lambda: write_record(tmp_path, {"a\0.json": other}),
        "⟨U+001B⟩]0;x⟨U+0007⟩.json is nothing": lambda: write_record(tmp_path, {"\x1b]0;x\x07.json": other}),
        "./model.safetensors is nothing": lambda: write_record(tmp_path, {"./model.safetensors": other}),
        "… ": lambda: write_record(tmp_path, {"long" * 1000 + ".json": other}),
        "model_sha256 is not the sha256 of model.safetensors": lambda: write_record(tmp_path, {}, model_sha256=other),
        "damaged (name: ": lambda: write_record(tmp_path, {}, name="a/b"),
        "damaged (version: ": lambda: write_record(tmp_path, {}, version="latest"),
        "damaged (a.json is named twice)": lambda: (
            write_record(tmp_path, {"a.json": other}) / "release.json"
        ).write_text((tmp_path / "release.json").read_text().replace('"a.json"', f'"a.json": "{other}", "a.json"')),
    }
    for message, write in refused.items():
        write()
        with pytest.raises(CrossmodalError) as error:
            require_release(tmp_path)
        assert message in str(error.value)
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 500


def test_hidden_files_are_named_and_no_golden_row_at_all_is_damage(tmp_path: Path) -> None:
    release = require_release(write_record(tmp_path, {}))
    for name in (".git/objects/a", ".extra.json", "golden/.cache/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_hidden(tmp_path, release) == [".extra.json", ".git", "golden/.cache"]
    (tmp_path / "golden_rows.json").write_text('{"rows": []}')
    with pytest.raises(DataError, match=r"golden_rows.json: damaged \(Tuple should have at least 1 item"):
        golden.read_golden_rows(tmp_path)


def test_all_that_a_golden_row_expects_is_compared() -> None:
    answer = Prediction(
        label="a",
        probability=0.6,
        probabilities={"a": 0.6, "b": 0.4},
        prediction_set=("a", "b"),
        modalities=("text",),
        model="m",
        version="1",
    )
    differences = {
        0.0: {"prediction_set": ("b", "a"), "version": "2"},
        0.25: {"probability": 0.85},
        0.5: {"probabilities": {"a": 0.1, "b": 0.4}},
        math.inf: {"prediction_set": ("a",)},
    }
    for expected, changes in differences.items():
        found = answer.model_copy(update=changes)
        assert golden._difference(golden.GoldenRow(expected=answer), found) == pytest.approx(expected)
    for changes in ({"prediction_set": None}, {"probability": None}, {"abstained": True}, {"probability": math.nan}):
        assert golden._difference(golden.GoldenRow(expected=answer), answer.model_copy(update=changes)) == math.inf


def test_a_missing_alias_is_told_from_a_missing_model(request_of: Request) -> None:
    with pytest.raises(UsageError, match=r"tiny has no alias challenger; it has champion \(version 1\)"):
        find_model(request_of, "tiny@challenger")
    with pytest.raises(UsageError, match="other@challenger: not in the registry; it holds tiny"):
        find_model(request_of, "other@challenger")
    with pytest.raises(UsageError, match=r"'./release': name a model of the registry.*crossmodal.load\('./release'\)"):
        find_model(request_of, "./release")


def test_a_release_appears_whole_or_not_at_all(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for name, message in (("full", "is not empty"), ("no/where", "does not exist")):
        with pytest.raises(UsageError, match=message):
            export(name)
    before = set(tmp_path.iterdir())

    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("flows.export.write_release", broken)
        with pytest.raises(EnvironmentFailed, match="No space left on device; nothing was left there"):
            export("release")
    assert set(tmp_path.iterdir()) == before
    (tmp_path / "empty").mkdir()
    assert read_release(export("empty", golden=False)) is not None


def test_a_release_of_the_hub_is_loaded_by_its_id(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("tiny", "other"):  # as the hub's client leaves what it downloaded
        place = tmp_path / "hub" / f"models--org--{name}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text("c" * 40)
        (place / "snapshots").mkdir()
    folder = export(golden=False).rename(tmp_path / "hub" / "models--org--tiny" / "snapshots" / ("c" * 40))
    (tmp_path / "hub" / "models--org--other" / "snapshots" / ("c" * 40)).mkdir()
    model = crossmodal.load("hf:org/tiny", store=tmp_path / "any")
    assert (model.name, model.version, model.labels) == ("tiny", "1", ("no|pe", "yes"))
    assert crossmodal.load("hf:org/tiny@main", store=tmp_path / "any") == model
    with pytest.raises(UsageError, match="hf:org/other: is no release of crossmodal"):
        crossmodal.load("hf:org/other", store=tmp_path / "any")
    with pytest.raises(UsageError, match=r"hf:a/b/c: the hub has no 'a/b/c'"):
        crossmodal.load("hf:a/b/c", store=tmp_path / "any")
    with pytest.raises(EnvironmentFailed, match="neither in the cache nor on a hub that answers"):
        crossmodal.load("hf:org/unknown", store=tmp_path / "any")
    flip(folder / "model.safetensors")
    with pytest.raises(EnvironmentFailed, match="damaged"):
        crossmodal.load("hf:org/tiny", store=tmp_path / "any")


def test_encoders_stay_behind_on_request(export: Export, bert: Path, tmp_path: Path) -> None:
    folder = export(golden=False, encoders=False)
    assert not (folder / "encoders").exists()
    model = crossmodal.load(folder, store=tmp_path / "other")
    shutil.rmtree(bert)
    with pytest.raises(CrossmodalError, match="reads text with files that are not here any more"):
        model.predict([{"text": "it is low"}])


ALONE = """
import sqlite3
import sys
from importlib.machinery import PathFinder

ABSENT = set(sys.argv[2].split(","))
find_spec = PathFinder.find_spec
PathFinder.find_spec = staticmethod(lambda name, *rest: None if name.partition(".")[0] in ABSENT else find_spec(name, *rest))
import crossmodal
from flows.cli import main
from flows.serving.golden import read_golden_rows
from pathlib import Path

folder = Path(sys.argv[1])
model = crossmodal.load(str(folder))
for golden in read_golden_rows(folder):
    (answer,) = model.predict([golden.row(folder)])
    assert answer.label == golden.expected.label
    for name, value in golden.expected.probabilities.items():
        assert abs(value - answer.probabilities[name]) < 1e-5, (answer, golden)
print(model.predict(folder / "golden")["predicted"].tolist())
sqlite3.connect(".crossmodal/mlflow.db").execute("CREATE TABLE any_table (number)")  # a registry, for which MLflow is needed
for arguments in (["models", "verify", str(folder)], ["models", "list"]):
    try:
        main(arguments)
    except SystemExit as stop:
        print(stop.code)
"""
ABSENT = {
    "fastapi": "fastapi",
    "great-expectations": "great_expectations",
    "mlflow": "mlflow",
    "peft": "peft",
    "prefect": "prefect",
    "prometheus-client": "prometheus_client",
    "scikit-learn": "sklearn",
    "sqlalchemy": "sqlalchemy",
    "uvicorn": "uvicorn",
}
"""What a slim installation lacks: distribution to module."""


def test_the_extra_for_predicting_is_part_of_what_is_required() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    slim = project["optional-dependencies"]["predict"]
    assert set(slim) < set(project["dependencies"])
    names = {re.split(r"[<>=]", requirement)[0] for requirement in project["dependencies"] if requirement not in slim}
    assert names >= ABSENT.keys()


@pytest.mark.slow
def test_the_golden_rows_are_predicted_without_prefect_mlflow_and_great_expectations(
    export: Export, request_of: Request, bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(export(), tmp_path / "elsewhere" / "release")
    shutil.rmtree(bert)
    shutil.rmtree(request_of.store.root)
    (home := tmp_path / "home").mkdir()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder), ",".join(ABSENT.values())],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, verified, signature, code, missing = done.stdout.splitlines()
    assert "signed" in signature, done
    assert (verified.startswith("tiny version 1: 11 files, 3 golden rows"), code, missing) == (True, "0", "4"), done
    assert "the package 'mlflow' is not installed" in done.stderr
