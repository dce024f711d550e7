"""What the pipeline hands from stage to stage, and when it looks for the champion. Rows are ingested, extracted and gated
for real; training, evaluation and publishing only note what they get."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data_contracts.refs import ChampionRef, CheckpointRef, CleanRef, EvalReport, ReleaseRef, ValidatedRef
from flows import champion as champion_module
from flows import pipeline, plan
from flows.pipeline import run_pipeline
from flows.request import Request, make_request
from flows.run_state import RunState
from flows.stages import Stages
from tasks.config import load_config
from tasks.errors import PromotionRefused, UsageError
from tasks.modeling.training_rows import ROWS, write_rows
from tasks.samples import Samples
from tasks.store import Store, digest_json
from tasks.train.train import train_key

CHECKED: Any = {"docs": "docs", "warnings": []}


def validated(clean: CleanRef, *_: Any) -> ValidatedRef:
    return ValidatedRef(uri=clean.uri, sha256=clean.sha256, rows=clean.rows, clean=clean, docs="docs")


@dataclass
class World:
    """A pipeline on 40 texts of two classes, whose model has the accuracy `accuracy` on 8 test rows."""

    request: Request
    accuracy: float = 1.0
    refusal: str | None = None
    """Why publishing refuses; None: it does not."""
    champions: list[ChampionRef | None] = field(default_factory=list)
    """What is found each time that the registry is asked, the last one from then on; empty: none."""
    asked: int = 0
    calls: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Stage to what it was last called with."""

    @property
    def store(self) -> Store:
        return self.request.store

    def run(self) -> RunState:
        stages = Stages(
            validate_manifest=lambda *_: CHECKED, validate_samples=validated, validate_features=lambda *_: CHECKED,
            validate_predictions=lambda *_: CHECKED, train=self._train, evaluate=self._evaluate, publish=self._publish,
        )  # fmt: skip
        run_state = RunState()
        run_pipeline(self.request, stages, run_state)
        return run_state

    def find_champion(self, *_: Any) -> ChampionRef | None:
        self.asked += 1
        return self.champions[min(self.asked, len(self.champions)) - 1] if self.champions else None

    def champion(
        self, version: str, trained_on: Sequence[str] = ("old",), anchor: str | None = None, **extract: int
    ) -> ChampionRef:
        """A model that reads text with these settings, those of the run where none is named."""
        knobs = self.request.config.subset("media", "extract", "encoders", "fusion")
        knobs["extract"] |= extract
        encoders = {"text": {"encoder": "tiny", "reads": "inputs"}}
        card = {"format": 2, "labels": ["a", "b"], "modalities": ["text"], "encoders": encoders, "config": knobs}
        folder = self.store.path(f"champions/{version}")
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(json.dumps(card))
        rows = pa.table({"id": list(trained_on), "split": ["train"] * len(trained_on)})
        write_rows(Samples(rows), folder / ROWS)
        sha256 = digest_json(version)
        return ChampionRef(
            uri=f"champions/{version}", sha256=sha256, rows=0, name="small", version=version, model_sha256=sha256,
            anchor=anchor,
        )  # fmt: skip

    def _train(self, *given: Any) -> CheckpointRef:
        self.calls["train"] = given
        sha256 = digest_json("candidate")
        return CheckpointRef(
            uri="checkpoints/k", sha256=sha256, rows=24, model_sha256=sha256, train_key=sha256, modalities=("text",),
            labels=("a", "b"), best_epoch=1, epochs=1,
        )  # fmt: skip

    def _evaluate(self, *given: Any) -> EvalReport:
        self.calls["evaluate"] = given
        _, _, checkpoint, prepared_champion, *_ = given
        figures: dict[str, float | None] = {"accuracy": self.accuracy, "macro_f1": self.accuracy}
        against: dict[str, Any] = {}
        if prepared_champion is not None:
            champion = prepared_champion.champion
            against = {"champion_sha256": champion.model_sha256, "champion_version": champion.version}
            against |= {"champion_metrics": figures, "differences": {"macro_f1": (0.0, -0.1, 0.1)}}
        return EvalReport(
            uri="evaluations/k", sha256=digest_json([self.accuracy, str(against)]), rows=8, metrics={"test": figures},
            intervals={"accuracy": (self.accuracy, self.accuracy)}, by_modalities={}, majority_share=0.5,
            model_sha256=checkpoint.model_sha256, **against,
        )  # fmt: skip

    def _publish(self, *given: Any) -> ReleaseRef:
        self.calls["publish"] = given
        if self.refusal is not None:
            raise PromotionRefused(self.refusal)
        sha256 = digest_json("candidate")
        return ReleaseRef(
            uri="champions/k", sha256=sha256, rows=0, name="small", version="9", alias="champion", model_sha256=sha256
        )


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(make_data: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeWorld:
    """make_world("train.continue_from=champion") is a World under these settings."""

    def make(*overrides: str) -> World:
        sides = ["train", "train", "train", "val", "test"]
        path = make_data(
            40,
            change=lambda row, n: {
                "id": row["id"],
                "text": row["text"],
                "label": "ab"[n % 2],
                "split": sides[n // 2 % 5],
            },
        )
        plain = ["runtime.workers=1", "media.timeout_s=600", "split.min_test_per_class=0", "name=small"]
        request = make_request(
            load_config({}, [*plain, f"data.path={path}", *overrides]), str(tmp_path / "s"), None, "run-1"
        )
        world = World(request)
        for module in (pipeline, champion_module):
            monkeypatch.setattr(module, "fetch_champion", world.find_champion)
        return world

    return make


def test_a_passing_model_is_published_with_what_was_judged(make_world: MakeWorld) -> None:
    world = make_world()
    run_state = world.run()
    assert run_state.decision == "promote"
    made, config, store, address, run = world.calls["publish"]
    assert made == (
        run_state.verdict,
        run_state.checkpoint,
        run_state.report,
        run_state.valid,
        run_state.features,
        None,
    )
    assert (config, store, address, run) == (world.request.config, world.store, world.request.tracking_uri, "run-1")
    assert run_state.release is not None
    assert run_state.release.version == "9"


@pytest.mark.parametrize(("accuracy", "decision"), [(0.5, "reject"), (0.4, "reject")])
def test_a_model_that_does_not_pass_is_not_published(make_world: MakeWorld, accuracy: float, decision: str) -> None:
    world = make_world()
    world.accuracy = accuracy
    run_state = world.run()
    assert (run_state.decision, run_state.release) == (decision, None)
    assert "publish" not in world.calls


def test_a_passing_model_that_publishing_refuses_needs_a_person(make_world: MakeWorld) -> None:
    world = make_world()
    world.refusal = "it was rolled back"
    run_state = world.run()
    assert (run_state.decision, run_state.reason, run_state.release) == ("needs-approval", "it was rolled back", None)


def test_a_champion_that_was_promoted_during_the_training_is_the_one_compared_with(make_world: MakeWorld) -> None:
    world = make_world()
    world.champions = [None, world.champion("1")]
    run_state = world.run()
    assert run_state.champion == world.champions[1]
    assert prepare_champion(world).champion == world.champions[1]
    world.asked, world.champions = 0, [world.champions[1], world.champion("2")]
    assert world.run().champion == world.champions[1]
    assert prepare_champion(world).champion.version == "2"


def test_the_champion_reads_the_samples_under_its_own_knobs(make_world: MakeWorld) -> None:
    world = make_world()
    world.champions = [world.champion("1")]
    run_state = world.run()
    assert prepare_champion(world).features == run_state.features, "knobs that are the run's: nothing is computed twice"
    world.champions = [world.champion("2", max_text_bytes=8)]
    run_state = world.run()
    valid, features, *_ = world.calls["evaluate"]
    assert (valid, features) == (run_state.valid, run_state.features)
    theirs = prepare_champion(world).features["text"]
    assert theirs.fingerprint != features["text"].fingerprint
    assert longest(theirs.parts, world.store) == 8
    assert longest(features["text"].parts, world.store) == len("words of 39")


def test_training_does_not_start_from_a_champion_that_has_seen_todays_test_rows(make_world: MakeWorld) -> None:
    world = make_world("train.continue_from=champion")
    valid = world.run().valid  # there is no champion yet
    assert valid is not None
    world.calls.clear()
    seen = Samples.read(world.store.path(valid.uri)).of_split("test").ids[:2]
    world.asked, world.champions = 0, [world.champion("1", trained_on=seen)]
    with pytest.raises(UsageError, match=rf"2 of 8 test rows are among those that small version 1 .*{seen[0]!r}"):
        world.run()
    assert "train" not in world.calls


@pytest.mark.parametrize(
    ("settings", "gone", "expected"), [((), False, "1"), ((), True, None), (("gate.anchor=off",), False, None)]
)
def test_the_best_champion_so_far_is_compared_with_too(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], gone: bool, expected: str | None
) -> None:
    world = make_world(*settings)
    best = world.champion("1")
    world.champions = [world.champion("2", anchor="1")]
    asked = []

    def fetch_version(name: str, number: str, *_: Any) -> ChampionRef | None:
        asked.append((name, number))
        return None if gone else best

    monkeypatch.setattr(champion_module, "fetch_version", fetch_version)
    world.run()
    anchor = prepare_champion(world).anchor
    assert (None if anchor is None else anchor.champion.version) == expected
    assert asked == ([] if settings else [("small", "1")])


@pytest.mark.parametrize(("setting", "continues"), [("champion", True), ("none", False)])
def test_training_starts_from_the_champion_where_it_is_asked_to(
    make_world: MakeWorld, setting: str, continues: bool
) -> None:
    world = make_world(f"train.continue_from={setting}")
    world.champions = [world.champion("1")]
    run_state = world.run()
    start = world.champions[0] if continues else None
    assert world.calls["train"] == (run_state.valid, run_state.features, world.request.config, world.store, start)
    assert run_state.start == start


def test_a_plan_looks_for_the_model_that_continues_this_champion(make_world: MakeWorld) -> None:
    world = make_world("train.continue_from=champion")
    world.champions = [world.champion("1")]
    run_state = world.run()
    assert run_state.valid is not None
    planned: list[str] = []
    for champion in (None, world.champion("2"), world.champions[0]):
        key = train_key(run_state.valid, run_state.features, world.request.config, world.store, champion)
        with world.store.create("checkpoints", key):
            pass
        planned.append(plan._training(run_state.valid, run_state.features, world.request)["action"])
    assert planned == ["compute", "compute", "reuse"]


def prepare_champion(world: World) -> Any:
    """The champion, as evaluation got it."""
    return world.calls["evaluate"][3]


def longest(parts: Iterable[str], store: Store) -> int:
    """The length of the longest feature."""
    from tasks.contract import read_table

    return max(shape[0] for part in parts for shape in read_table(store.path(part))["shape"].to_pylist())
