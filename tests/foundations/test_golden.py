"""No number of a stage changes unnoticed: on a small fixed input each stage gives the figures of its version."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from flows.auditing import audit_manifest
from flows.cli import main
from flows.data_stages import prepare
from flows.encoder_choice import train_model
from flows.request import make_request, resolve_config
from flows.run_state import RunState
from flows.stages import Stages, TranslateStages
from flows.translating import generate
from tasks.compare.classical import Rows, fit_svm
from tasks.compress.quantize import pack_weights
from tasks.config import load_config
from tasks.config_sections import MediaConfig, MonitorConfig
from tasks.config_training import EncodersConfig
from tasks.explain.fidelity import try_orders
from tasks.explain.shapley import shapley_values
from tasks.extract.extract import extract_shard, plan_shards
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.ingest.sources.digits import build_digits
from tasks.media.video import decode_video
from tasks.modeling.card import read_card
from tasks.modeling.classical import SIDE_PX, hog, summarise_cepstra
from tasks.modeling.packed_weights import unpack_weights
from tasks.modeling.pretrained.describe import describe_encoder
from tasks.modeling.pretrained.weights import frozen_encoder
from tasks.monitor.compare import compare_profiles
from tasks.samples import Samples
from tasks.stage_code import STAGES
from tasks.store import Store
from tasks.train.blending import blend_models
from tasks.train.paired_losses import TrainedModel, pair_losses
from tasks.translate.outcome import rows_table
from tasks.translate.tables import make_table, plan_arms
from tests.support.data import TINY, write_learnable
from tests.support.golden import assert_figures, golden, is_close
from tests.support.near_copies import clusters_of, write_pairs
from tests.support.profiles import make_profile

SETTINGS = (
    *TINY,
    "train.epochs=2", "train.batch_size=16", "train.threads=1", "train.learning_rate=1e-4", "runtime.workers=1",
    "media.timeout_s=600", "data.max_quarantined=0.5",
)  # fmt: skip
"""So little that the gate is not sure, and nothing is published."""


def _summary(values: list[Any]) -> dict[str, Any]:
    """What is left of many arrays: how many numbers, their mean size, and how far they spread."""
    numbers = np.concatenate([np.ravel(value) for value in values]).astype(np.float64)
    return {"count": int(numbers.size), "mean": float(np.abs(numbers).mean()), "std": float(numbers.std())}


def _read(folder: Path, pattern: str) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def _stages(folder: Path) -> dict[str, Any]:
    """From files to a verdict: 66 rows, of which one repeats another, one cannot be decoded, and one has no label."""
    manifest = write_learnable(folder / "data", 60)
    (folder / "data/img/broken.png").write_bytes(b"no picture")
    with manifest.open("a", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["again", "img/3.png", "snd/3.wav", "it is high number 3", "high", "test"])
        writer.writerow(["broken", "img/broken.png", "", "it is low", "low", ""])
        writer.writerow(["silent", "img/4.png", "", "it is low and quiet", "low", ""])
        writer.writerow(["unlabelled", "img/5.png", "", "it is", "", ""])
        writer.writerows([f"open {number}", "", "", f"a word, {number}", "low", ""] for number in range(2))
    store = folder / "store"
    settings = [part for value in SETTINGS for part in ("--set", value)]
    with pytest.raises(SystemExit) as stop:
        main(["retrain", "--plain", "--data", str(manifest), "--store", str(store), "--json", *settings])
    assert stop.value.code == 0
    refs = {kind: _only(store, f"{kind}/*/artifact.json")["ref"] for kind in ("evaluations", "verdicts")}
    results = [json.loads(path.read_text())["expectations"] for path in store.glob("validations/*/result.json")]
    fields = ("suite", "name", "success", "unexpected")
    checked = sorted(([each[field] for field in fields] for result in results for each in result), key=str)
    history = _only(store, "checkpoints/*/history.json")
    report = refs["evaluations"]
    return {
        "media": {name: _summary(_decoded(store, name)) for name in ("image", "audio", "text")},
        "ingest": {
            "samples": sorted([row["id"], row["split"]] for row in _read(store, "clean/*/samples.parquet")),
            "refused": sorted([row["id"], row["reason"]] for row in _read(store, "clean/*/quarantine.parquet")),
        },
        "validate": {"outcomes": [each for each in checked if each[0] not in ("manifest", "predictions")]},
        "check_tables": {"outcomes": [each for each in checked if each[0] in ("manifest", "predictions")]},
        "tiny_inputs": {
            name: _summary([row["values"] for row in _read(store, f"features/{name}/*/*.parquet")])
            for name in ("image", "text", "audio")
        },
        "train": {
            figure: [epoch[figure] for epoch in history["epochs"]]
            for figure in ("train_loss", "val_loss", "val_accuracy", "grad_norm", "learning_rate")
        },
        "evaluate": {
            "metrics": report["metrics"],
            "intervals": report["intervals"],
            "by_modalities": {name: figures["accuracy"] for name, figures in report["by_modalities"].items()},
        },
        "gate": {
            "decision": refs["verdicts"]["decision"],
            "rules": [[rule["rule"], rule["threshold"], rule["outcome"]] for rule in refs["verdicts"]["rules"]],
        },
    }


def _decoded(store: Path, modality: str) -> list[Any]:
    dtype = "<i2" if modality == "audio" else "u1"
    return [np.frombuffer(row["data"], dtype) for row in _read(store, f"media/{modality}/*/*.parquet") if row["data"]]


def _only(store: Path, pattern: str) -> dict[str, Any]:
    (path,) = store.glob(pattern)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_from_files_to_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_clip: Callable[..., bytes]
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "CROSSMODAL_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    found = _stages(tmp_path)
    limits = MediaConfig().model_dump(mode="json")
    found["media"]["video"] = _summary([np.frombuffer(decode_video(make_clip(30), limits).data, np.uint8)])
    for stage, figures in found.items():
        assert_figures(stage, figures)


def test_near_duplicates(tmp_path: Path, store: Store) -> None:
    config = load_config({}, [*TINY, "runtime.workers=1", "media.timeout_s=600"])
    clean = ingest(scan(config, store, write_pairs(tmp_path / "d", 12, lambda row, n: row)), config, store)
    texts = [row for row in _read(store.root, "signatures/text/*/*.parquet") if row["form"]]
    pictures = [row for row in _read(store.root, "signatures/image/*/*.parquet") if row["form"]]
    clusters = Counter(clusters_of(store, type("Done", (), {"clean": clean})).values())
    figures = {
        "texts": _summary([np.frombuffer(row["form"], np.uint8) for row in texts]),
        "pictures": _summary([np.frombuffer(row["form"], np.uint8) for row in pictures]),
        "clusters": sorted(clusters.values()),
    }
    assert_figures("near_duplicates", figures)


def test_pretrained(squeezenet: Path, make_data: Callable[..., Path], tmp_path: Path) -> None:
    found = {}
    for regime in ("head", "full"):
        store = Store(tmp_path / regime)
        store.prepare()
        overrides = ("runtime.workers=1", "encoders.text=off", "encoders.audio=off", "encoders.image_px=48")
        settings = [*overrides, f"encoders.image=torchvision:squeezenet1_1@{squeezenet}", f"train.regime={regime}"]
        config = load_config({}, [*TINY, *settings])
        clean = ingest(scan(config, store, make_data(5)), config, store)
        (shard,) = plan_shards(clean, config, store)
        extract_shard(shard, store)
        found[regime] = _summary([row["values"] for row in _read(store.root, "features/image/*/*.parquet")])
    assert_figures("embeddings", found["head"])
    assert_figures("pretrained_inputs", found["full"])
    named = f"torchvision:squeezenet1_1@{squeezenet}"
    encoder = frozen_encoder("image", describe_encoder("image", named, "full", EncodersConfig(image_px=48)))
    pictures = torch.linspace(0, 1, 2 * 3 * 48 * 48).reshape(2, 3, 48, 48)
    with torch.inference_mode():
        assert_figures("pretrained", _summary([encoder(pictures, torch.ones(2, dtype=torch.long)).numpy()]))


def test_the_digits(tmp_path: Path) -> None:
    build_digits(tmp_path, 0)
    rows = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    sounds = [np.frombuffer(path.read_bytes()[44:], "<i2") for path in sorted(tmp_path.glob("audio/*.wav"))]
    figures = {
        "labels": dict(sorted(Counter(row["label"] for row in rows).items())),
        "present": [sum(row[name] is not None for row in rows) for name in ("image_path", "audio_path", "text")],
        "texts": [row["text"] for row in rows[:5]],
        "sounds": _summary(sounds),
    }
    assert_figures("digits", figures)


def test_monitoring() -> None:
    tests = compare_profiles(make_profile(), make_profile(seed=1, brightness=0.7, missing=100), MonitorConfig(), seed=0)
    assert_figures("monitor", {test.name: [test.effect, test.p, test.p_holm, test.drifted] for test in tests})


def test_the_audit(tmp_path: Path) -> None:
    manifest = write_learnable(tmp_path / "data", 80)
    text = manifest.read_text()
    manifest.write_text(text.replace("number 50,low", "number 50,high").replace("number 61,high", "number 61,low"))
    config = resolve_config(None, str(manifest), [*SETTINGS, "audit.folds=2"])
    request = make_request(config, str(tmp_path / "store"), None, "audit")
    audit_manifest(request)
    found = json.loads((request.folder / "audit.json").read_text())
    figures = {
        # without their log loss: of 60 rows it differs by hundredths with the last bits of a spectrum
        "views": {each["view"]: [each["rows"], each["accuracy"]] for each in found["views"]},
        "noise": found["noise"],
        "rows": [[row["id"], row["kinds"]] for row in found["findings"]],
        "shortcuts": {each["name"]: each["effect"] for each in found["shortcuts"]},
    }
    assert_figures("audit", figures)


def test_two_models_on_the_same_rows(tmp_path: Path) -> None:
    manifest = write_learnable(tmp_path / "data", 60)
    models = []
    for encoder in ("tiny", "classical"):
        off = ("encoders.image=off", "encoders.audio=off", "train.heads=single", "split.near_duplicates=false")
        config = resolve_config(None, str(manifest), [*SETTINGS, *off, f"encoders.text={encoder}"])
        request, state = make_request(config, str(tmp_path / "store"), None, encoder), RunState()
        valid = prepare(request, config, Stages(), state)
        trained = train_model(None, valid, request, Stages(), state)
        models.append(TrainedModel(trained.checkpoint, trained.features, config))
    found = pair_losses(models[0], models[1], ("text",), valid, request.store)
    assert_figures("paired_losses", found.model_dump(mode="json"))
    both = replace(models[0], checkpoint=blend_models(models, valid, request.store))
    paired = pair_losses(both, models[0], (), valid, request.store)
    temperature = read_card(request.store.path(both.checkpoint.uri)).temperature
    assert_figures("blend", {"loss": paired.losses[0], "temperature": temperature})


def test_compression() -> None:
    weights = torch.linspace(-1, 1, 64 * 40).reshape(64, 40).sin()
    kinds = ("float16", "int8", "int4")
    packed = {bits: unpack_weights(pack_weights({"w": weights}, bits))["w"].numpy() for bits in kinds}
    assert_figures("compress", {bits: _summary([values]) for bits, values in packed.items()})


def test_comparing() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    classes = np.arange(60) % 3
    features = (rng.normal(size=(60, 5)) + np.eye(3, 5)[classes] * 2).astype(np.float32)
    rows = {
        split: Rows(features[start:end], classes[start:end], np.ones(end - start))
        for split, start, end in (("train", 0, 30), ("val", 30, 45), ("test", 45, 60))
    }
    fitted = fit_svm(rows, 3)
    spectrum = np.sin(np.arange(50 * 64, dtype=np.float32)).reshape(50, 64)
    figures = {
        "hog": _summary([hog(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)[0].numpy()]),
        "cepstra": _summary([summarise_cepstra(torch.from_numpy(spectrum)[None], torch.tensor([50]))[0].numpy()]),
        "svm": [dict(fitted.chosen), _summary([fitted.outputs])],
    }
    assert_figures("compare", figures)


def test_explaining() -> None:
    values = np.array([[0.1], [0.3], [0.2], [0.6], [0.15], [0.5], [0.4], [0.9]])
    parts = np.array([0.5, -0.2, 0.3, 0.1])

    def without(taken: np.ndarray) -> np.ndarray:
        """What the parts that are left add up to."""
        return np.asarray(1.0 + (~taken) @ parts)

    curves = try_orders("image", parts, without, np.random.default_rng(0))
    assert curves is not None
    assert_figures("explain", {"shapley": shapley_values(values).tolist(), "curves": curves.model_dump(mode="json")})


def test_a_translation(tmp_path: Path) -> None:
    manifest = write_learnable(tmp_path / "data", 60)
    torch.manual_seed(0)
    weights = torchvision.models.get_model("squeezenet1_1", weights=None).state_dict()
    save_file(weights, tmp_path / "weights.safetensors")
    labels = f"imagenet-labels:squeezenet1_1@{tmp_path / 'weights.safetensors'}"
    ways = {labels: ("image", "text"), "retrieval": ("text", "image")}
    found = []
    for generator, (source, target) in ways.items():
        asked = [f"translate.source={source}", f"translate.target={target}", f"translate.generator={generator}"]
        config = resolve_config(None, str(manifest), [*SETTINGS, "split.near_duplicates=false", *asked])
        request = make_request(config, str(tmp_path / "store"), None, "translate")
        valid, state = prepare(request, config, Stages(), RunState()), RunState()
        samples = Samples.read(request.store.path(valid.uri))
        made = generate(valid, samples, config, request.store, Stages(), TranslateStages(), state)
        tables = [
            make_table(valid, plan, made.outputs, config, request.store)
            for plan in plan_arms(source, target, "add", True)
        ]
        found.append(
            (made, rows_table(valid, made, config, request.store), [[each.rows, each.modalities] for each in tables])
        )
    (_, named, _), (retrieved, _, arms) = found
    pair = retrieved.pair
    assert pair is not None
    assert_figures("generate", dict(Counter(named["text"].to_pylist())))
    assert_figures(
        "pair", {"rows": pair.rows, "same_label": pair.same_label, "recalls": [each.value for each in pair.recalls]}
    )
    assert_figures("translate", {"rows": named.num_rows, "arms": json.loads(json.dumps(arms))})


def test_every_stage_has_figures_and_the_newest_are_its_versions() -> None:
    assert golden().keys() == STAGES.keys()
    for stage, known in golden().items():
        assert max(map(int, known)) == STAGES[stage].version, f"{stage}: version {STAGES[stage].version} has no figures"


@pytest.mark.parametrize(
    ("known", "found", "same"),
    [
        ({"a": [1.0, "x"]}, {"a": [1.001, "x"]}, True),
        ({"a": [1.0, "x"]}, {"a": [1.01, "x"]}, False),
        ({"a": 3}, {"a": 4}, False),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": "train"}, {"a": "val"}, False),
        ({"a": True}, {"b": True}, False),
    ],
)
def test_what_counts_as_the_same_figures(known: Any, found: Any, same: bool) -> None:
    assert is_close(known, found) is same
