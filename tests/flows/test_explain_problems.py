"""Explanations of what is no picture of one class: numbers, several labels, tables, clips; and of a transformer of pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.explanations import ExplanationReport
from flows.explaining import explain_model
from flows.request import make_request, resolve_config
from flows.serving.loading import find_published, load_predictor
from flows.serving.predictor import PreparedRow
from tasks.modalities import spec_of
from tasks.modeling.encoder_spec import EncoderSpec
from tests.support.cards import TINY
from tests.support.data import clip_bytes
from tests.support.folder_models import write_model

SETTINGS = [
    "runtime.workers=1",
    "media.timeout_s=600",
    "explain.fidelity_rows=2",
    "explain.samples=2",
    "explain.n_steps=8",
]
COLUMNS = 'data.columns.tabular=["age", "kind"]'
PRICE = {"name": "price", "problem": "regression", "mean": 20.0, "std": 8.0}
TAGS = {"name": "tags", "problem": "multilabel", "labels": ["large", "red"]}


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_URI", "CROSSMODAL_STORE", "CROSSMODAL_REFRESH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def write_rows(folder: Path) -> Path:
    """Clips, sentences and a table of two columns; a number, and several labels of each row."""
    folder.mkdir()
    rng, rows = np.random.default_rng(0), []
    for number in range(12):
        frames = [rng.integers(0, 256, (24, 24, 3), dtype=np.uint8) for _ in range(6)]
        (folder / f"{number}.mp4").write_bytes(clip_bytes(frames))
        row = {"id": f"r{number}", "video": f"{number}.mp4", "text": f"it is number {number} of some"}
        row |= {"age": str(3 * number), "kind": ("cat", "dog")[number % 2], "split": "test" if number < 6 else "train"}
        rows.append(row | {"price": str(5 + 2.5 * number), "tags": ("red", "red;large", "large")[number % 3]})
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "rows.csv"


def table_encoder() -> dict[str, Any]:
    """A table's columns as rows fill them."""
    facts = spec_of("tabular").joined_columns()
    assert facts is not None
    media = [json.dumps({"age": str(3 * number), "kind": ("cat", "dog")[number % 2]}) for number in range(6, 12)]
    spec = facts.fit(EncoderSpec.model_validate(TINY), media, {"age": "numeric", "kind": "categorical"})
    return spec.model_dump(mode="json")


def explained(tmp_path: Path, inputs: tuple[str, ...], target: dict[str, Any], *settings: str) -> ExplanationReport:
    encoders = {"tabular": table_encoder()} if "tabular" in inputs else {}
    labels = target.get("labels", ())
    model = write_model(tmp_path / "model", inputs=inputs, encoders=encoders, labels=labels, targets=[target])
    asked = [*SETTINGS, f"data.columns.label={target['name']}", f"data.problem={target['problem']}", *settings]
    config = resolve_config(None, str(write_rows(tmp_path / "data")), asked)
    request = make_request(config, str(tmp_path / "store"), None, "run")
    explain_model(request, str(model))
    assert "<html" in (request.folder / "report.html").read_text()
    found = ExplanationReport.model_validate_json((request.folder / "explanations.json").read_text())
    for row in found.values:
        assert sum(row.shapley.values()) == pytest.approx(row.value - row.base, abs=1e-6)
    return found


@pytest.mark.slow
def test_of_a_number_the_values_are_in_its_unit_and_the_frames_of_a_clip_add_up(tmp_path: Path) -> None:
    found = explained(tmp_path, ("video", "tabular"), PRICE, COLUMNS)
    assert (found.is_numeric, found.output, found.rows) == (True, "the predicted price", 6)
    assert found.wrong == 0, "a number is near or far, not wrong"
    assert all(row.toward_truth is not None for row in found.values)
    assert found.explained[0].loss == pytest.approx(
        max(abs(float(row.answer) - float(row.label or "")) for row in found.explained), rel=1e-3
    )
    for row in found.explained:
        clip, table = row.attributions
        assert (clip.form, clip.of, table.form) == ("frames", "value", "columns")
        assert [each.name for each in clip.values] == [f"frame {at}" for at in range(1, len(clip.values) + 1)]
        assert len(clip.values) > 1
        assert {each.name for each in table.values} == {"age", "kind"}
        for each in row.attributions:
            assert each.gap is not None
            assert each.gap <= 0.1
            assert sum(part.value for part in each.values) == pytest.approx(each.difference, abs=0.1)


@pytest.mark.slow
def test_of_several_labels_the_likeliest_is_explained_or_the_one_that_is_asked_for(tmp_path: Path) -> None:
    found = explained(tmp_path, ("text", "tabular"), TAGS, COLUMNS)
    assert found.output == "the probability of the most probable label"
    assert {row.output for row in found.values} <= {"large", "red"}
    assert 0 < found.wrong <= found.answered == 6
    assert all(0 < row.value < 1 for row in found.values)
    assert {each.of for row in found.explained for each in row.attributions} == {"log-odds"}
    (tmp_path / "other").mkdir()
    named = explained(tmp_path / "other", ("text", "tabular"), TAGS, COLUMNS, "explain.label=red")
    assert (named.output, {row.output for row in named.values}) == ("the probability of 'red'", {"red"})


def test_a_transformer_of_pictures_is_looked_through_pixel_by_pixel(tmp_path: Path) -> None:
    import torch
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    frozen = {"image": f"hf:{tmp_path / 'vit'}"}
    model = write_model(tmp_path / "model", frozen=frozen, inputs=("image", "text"))
    request = make_request(resolve_config(None, "builtin:digits", SETTINGS), str(tmp_path / "store"), None, "run")
    predictor = load_predictor(find_published(model, request), request, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    (row,) = predictor.prepare([{"image": pixels, "text": "it is low"}])
    assert isinstance(row, PreparedRow)
    before = predictor.answer([row])
    (told,) = predictor.explain([row])
    picture = told.attributions[0]
    assert (picture.method, picture.form) == ("integrated gradients", "picture")
    assert (len(picture.map), len(picture.map[0])) == (32, 32)
    assert picture.gap is not None
    assert picture.gap <= 0.1
    assert picture.difference == pytest.approx(sum(map(sum, picture.map)), abs=0.02)
    assert np.std(picture.map) > 0
    assert predictor.answer([row]) == before
    predictor.close()
