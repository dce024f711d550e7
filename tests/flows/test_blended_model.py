"""A model that blends two is published, verified, loaded, compared and continued as any other."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import crossmodal
from data_contracts.refs import ChampionRef, CheckpointRef
from data_contracts.run_summary import RunSummary
from flows.execute import execute
from flows.history import run_refs
from flows.plan import plan_retrain
from flows.request import Request, make_request
from flows.rerun import run_stage
from flows.stages import Stages, train_here
from tasks.config import load_config
from tasks.encoder_ids import BLEND
from tasks.modeling.card import read_card
from tasks.modeling.inference import load_inputs, predict_logits
from tasks.modeling.package import load_model
from tasks.publish.registry import fetch_champion
from tasks.samples import Samples
from tasks.store import Store
from tasks.train.request import TrainRequest
from tests.support.data import SMALL, write_learnable

pytestmark = pytest.mark.slow

SETTINGS = [
    *SMALL,
    *("name=both", "encoders.image=auto", "encoders.text=auto", "encoders.audio=off", "train.epochs=9"),
    *("gate.margin=1", "gate.min_rows=20", "gate.rules=[]", "split.near_duplicates=false", "train.heads=single"),
    "evaluate.robustness=off",
]


def request_for(folder: Path, *settings: str, run: str = "again") -> Request:
    config = load_config({}, [*SETTINGS, f"data.path={folder / 'data/manifest.csv'}", *settings])
    return make_request(config, str(folder / "store"), None, run)


def write_noisy(folder: Path) -> None:
    """Each fifth label is wrong: neither model can be sure, and each errs in its own way."""
    manifest = write_learnable(folder, rows=60)
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        if number % 5 == 0:
            row["label"] = {"low": "high", "high": "low"}[row["label"]]
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose champion is a blend of two models of pictures and texts, made of 20 train rows."""
    folder = tmp_path_factory.mktemp("both")
    write_noisy(folder / "data")
    summary = execute(request_for(folder, run="first"), Stages())
    assert summary.verdict == "promote", summary.reason
    return folder


def summary_of(folder: Path, run: str) -> RunSummary:
    return RunSummary.model_validate_json((folder / f"store/runs/{run}/summary.json").read_text())


def champion_of(folder: Path) -> tuple[ChampionRef, Store]:
    request = request_for(folder)
    champion = fetch_champion("both", "champion", request.store, request.tracking_uri, None)
    assert champion is not None
    return champion, request.store


def test_what_is_published_answers_with_the_mean_of_both_models(folder: Path) -> None:
    choice = summary_of(folder, "first").encoder_choice
    assert choice is not None
    assert choice.encoders == {"image": BLEND, "text": BLEND}
    assert all(0 < one.figures["val_accuracy"] <= 1 for one in choice.compared)
    champion, store = champion_of(folder)
    published = store.path(champion.uri)
    card = read_card(published, champion.card_sha256)
    assert card.blend is not None
    assert [member.weight for member in card.blend] == [0.5, 0.5]
    assert {spec.encoder for spec in card.encoders.values()} == {"tiny"}
    assert not [path for path in published.rglob("*") if path.suffix in (".pkl", ".pt", ".pickle")]
    logged = [path.read_text() for path in (store.root / "mlartifacts").rglob("model_card.md")]
    assert any("Two models answer each row" in text for text in logged)

    refs = run_refs(store, "first")
    assert refs.valid is not None
    rows = Samples.read(store.path(refs.valid.uri)).of_split("test")
    parts = []
    for one, weighed in zip(choice.compared[:2], card.blend, strict=True):
        model = load_model(store.path(one.uri))
        encoder = next(iter(one.encoders.values()))
        found = execute(
            request_for(
                folder, f"encoders.image={encoder}", f"encoders.text={encoder}", f"name={encoder}", run=encoder
            ),
            Stages(train=only_found),
        )
        assert found.encoder_choice is None
        features = run_refs(store, encoder).features
        logits = predict_logits(model, load_inputs(model, rows, features, store, ("text",)))
        parts.append(weighed.weight * logits / weighed.temperature)
    whole = load_model(published)
    blended = predict_logits(whole, load_inputs(whole, rows, refs.features, store, ("text",)))
    np.testing.assert_allclose(blended, parts[0] + parts[1], atol=1e-4)

    loaded = crossmodal.load("both@champion", store=str(store.root))
    (answer,) = loaded.predict([{"text": "it is low number 3"}])
    assert answer.modalities == ("text",)
    assert sum(answer.probabilities.values()) == pytest.approx(1)


def only_found(request: TrainRequest, store: Store) -> CheckpointRef:
    """What the store has."""
    before = set((store.root / "checkpoints").iterdir())
    ref = train_here(request, store)
    assert set((store.root / "checkpoints").iterdir()) == before
    return ref


def test_an_unchanged_run_makes_no_blend_anew_and_the_plan_knows(folder: Path) -> None:
    before = set((folder / "store/checkpoints").iterdir())
    assert {line["action"] for line in plan_retrain(request_for(folder))} == {"reuse"}
    again = execute(request_for(folder), Stages(train=only_found))
    assert again.verdict == "unchanged"
    assert again.encoder_choice == summary_of(folder, "first").encoder_choice
    assert set((folder / "store/checkpoints").iterdir()) == before


def test_the_same_blend_is_made_again(folder: Path) -> None:
    champion, _ = champion_of(folder)
    (found,) = run_stage(request_for(folder, "encoders.image=tiny", "encoders.text=tiny"), "first", "train")
    assert found.name == "checkpoint"
    assert found.equals
    assert isinstance(found.ref, CheckpointRef)
    assert found.ref.model_sha256 == champion.model_sha256


def test_a_later_model_is_compared_with_it_and_continues_its_network(folder: Path) -> None:
    asked = ("seed=1", "train.continue_from=champion", "encoders.image=tiny", "encoders.text=tiny")
    later = execute(request_for(folder, *asked, "gate.approval=required", run="later"), Stages())
    (compared,) = (rule for rule in later.rules or () if rule.rule.endswith("not worse than the champion"))
    assert "no champion" not in compared.detail
    refs = run_refs(Store(folder / "store", "look"), "later")
    assert refs.checkpoint is not None
    history = json.loads((folder / "store" / refs.checkpoint.uri / "history.json").read_text())
    assert history["start"]["taken"] > 0
    assert history["start"].get("fresh", []) == []
