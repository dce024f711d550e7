"""What the pipeline hands from stage to stage, and when it looks for the champion. Rows are ingested, extracted and gated
for real; training, evaluation and publishing only note what they get."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from data_contracts.refs import ChampionRef, CheckpointRef, CleanRef, EvalReport, ReleaseRef, ValidatedRef
from flows import champion as champion_module
from flows import pipeline, plan
from flows.pipeline import evaluate_champion, run_pipeline
from flows.request import Request, make_request
from flows.run_state import RunState
from flows.stages import Stages
from tasks.config import load_config
from tasks.errors import PromotionRefused, UsageError
from tasks.modeling.training_rows import ROWS, write_rows
from tasks.samples import Samples
from tasks.store import Store, digest_json
from tasks.train.request import TrainRequest
from tasks.train.train import train_key
from tests.support.data import TINY

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
    alias: str = "champion"
    """Of what is published."""
    champions: list[ChampionRef | None] = field(default_factory=list)
    """What is found each time that the registry is asked, the last one from then on; empty: none."""
    asked: int = 0
    calls: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Stage to what it was last called with."""

    @property
    def store(self) -> Store:
        return self.request.store

    def run(self, flow: Callable[[Request, Stages, RunState], None] = run_pipeline) -> RunState:
        stages = Stages(
            validate_manifest=lambda *_: CHECKED, validate_samples=validated, validate_features=lambda *_, **__: CHECKED,
            validate_predictions=self._validate, train=self._train, evaluate=self._evaluate, publish=self._publish,
        )  # fmt: skip
        run_state = RunState()
        flow(self.request, stages, run_state)
        return run_state

    def find_champion(self, *arguments: Any) -> ChampionRef | None:
        config = self.request.config
        place = (self.store, self.request.tracking_uri, self.request.verify_key)
        assert arguments == ("small", config.publish.alias, *place)
        self.asked += 1
        return self.champions[min(self.asked, len(self.champions)) - 1] if self.champions else None

    def champion(
        self, version: str, trained_on: Sequence[str] = ("old",), anchor: str | None = None, **extract: int
    ) -> ChampionRef:
        """A model that reads text with these settings, those of the run where none is named."""
        params = self.request.config.subset("media", "extract", "encoders", "fusion")
        params["extract"] |= extract
        encoders = {"text": {"encoder": "tiny", "reads": "inputs"}}
        card = {"format": 2, "labels": ["a", "b"], "modalities": ["text"], "encoders": encoders, "config": params}
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

    def _train(self, *arguments: Any) -> CheckpointRef:
        self.calls["train"] = arguments
        sha256 = digest_json("candidate")
        return CheckpointRef(
            uri="checkpoints/k", sha256=sha256, rows=24, model_sha256=sha256, train_key=sha256, modalities=("text",),
            labels=("a", "b"), best_epoch=1, epochs=1,
        )  # fmt: skip

    def _validate(self, *arguments: Any) -> Any:
        self.calls["validate"] = arguments
        return {"docs": "of the predictions", "warnings": ["they hardly vary"]}

    def _evaluate(self, *arguments: Any) -> EvalReport:
        self.calls["evaluate"] = arguments
        _, _, checkpoint, prepared_champion, *_ = arguments
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

    def _publish(self, *arguments: Any) -> ReleaseRef:
        self.calls["publish"] = arguments
        if self.refusal is not None:
            raise PromotionRefused(self.refusal)
        sha256 = digest_json("candidate")
        return ReleaseRef(
            uri="champions/k", sha256=sha256, rows=0, name="small", version="9", alias=self.alias, model_sha256=sha256
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
        plain = [*TINY, "runtime.workers=1", "media.timeout_s=600", "split.min_test_per_class=0", "name=small"]
        request = make_request(
            load_config({}, [*plain, f"data.path={path}", *overrides]), str(tmp_path / "s"), None, "run-1"
        )
        world = World(request)
        for module in (pipeline, champion_module):
            monkeypatch.setattr(module, "fetch_champion", world.find_champion)
        return world

    return make


def test_a_passing_model_is_published_with_what_was_evaluated(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    real, journaled = pipeline.record_decisions, []
    monkeypatch.setattr(
        pipeline, "record_decisions", lambda *arguments: journaled.append(arguments) or real(*arguments)
    )
    run_state = world.run()
    assert journaled == [("small", "champion", world.store, world.request.tracking_uri)]
    assert run_state.decision == "promote"
    inputs, config, store, address, run = world.calls["publish"]
    assert inputs == (
        run_state.verdict,
        run_state.checkpoint,
        run_state.report,
        run_state.valid,
        run_state.features,
        None,
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


def test_a_model_that_a_rule_leaves_to_a_person_is_published_and_waits(make_world: MakeWorld) -> None:
    """Again, too, when the same model comes out of a later run; a rejected one would be unchanged then."""
    world = make_world('gate.rules=[{"metric": "accuracy", "min": 0.95, "outcome": "needs-approval"}]')
    world.accuracy, world.alias = 0.9, "challenger"
    for _ in range(2):
        run_state = world.run()
        assert run_state.decision == "needs-approval"
        assert str(run_state.reason).startswith(
            "small version 9 waits, as a rule of the gate asks for it, 14 days for approval: crossmodal models promote"
        )
        assert "accuracy 0.900 [0.900, 0.900] < 0.95" in str(run_state.reason)
        assert run_state.test_uses == 0
    world.accuracy = 0.2
    assert world.run().test_uses == 1


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


def test_the_champion_reads_the_samples_under_its_own_settings(make_world: MakeWorld) -> None:
    world = make_world()
    world.champions = [world.champion("1")]
    run_state = world.run()
    assert prepare_champion(world).features == run_state.features, (
        "settings that are the run's: nothing is computed twice"
    )
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
    valid, features, config = run_state.valid, run_state.features, world.request.config
    assert valid is not None
    asked = TrainRequest(valid=valid, features=features, config=config, champion=start)
    assert world.calls["train"] == (asked, world.store)
    assert run_state.start == start


def test_what_a_run_leaves_of_each_stage(make_world: MakeWorld) -> None:
    world = make_world()
    run_state = world.run()
    assert run_state.splits == {"train": 24, "val": 8, "test": 8}
    assert set(run_state.seconds) == {"ingest", "validate", "extract", "train", "evaluate", "publish"}
    assert run_state.docs["predictions"] == "of the predictions"
    assert run_state.warnings == ["they hardly vary"]
    assert world.calls["validate"] == (run_state.report, run_state.checkpoint, world.store)
    expected = (run_state.valid, run_state.features, run_state.checkpoint, None, world.request.config, world.store)
    assert world.calls["evaluate"] == expected
    assert run_state.before == frozenset()
    again = world.run()
    assert again.reused(again.clean), "what the store held before is known as such"
    assert again.verdict == run_state.verdict


def test_the_very_model_that_is_champion_is_unchanged_and_compared_with_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    own = digest_json("candidate")
    world.champions = [world.champion("1").model_copy(update={"model_sha256": own})]
    shutil.copytree(world.store.path("champions/1"), world.store.path("checkpoints/k"))
    run_state = world.run()
    assert (run_state.decision, run_state.prepared_champion) == ("unchanged", None)
    assert run_state.reason == "nothing that shapes the model has changed: it is small version 1"
    assert "publish" not in world.calls


def test_a_refusal_of_the_same_figures_is_unchanged_the_next_time(make_world: MakeWorld) -> None:
    world = make_world()
    world.accuracy = 0.4
    first = world.run()
    again = world.run()
    assert (first.decision, again.decision) == ("reject", "unchanged")
    assert again.reason == f"nothing has changed since this model was refused (the figures are its own): {first.reason}"


def test_the_keys_of_the_config_sign_and_verify(make_world: MakeWorld, tmp_path: Path) -> None:
    key, private = tmp_path / "key.pem", Ed25519PrivateKey.generate()
    key.touch(mode=0o600)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    world = make_world(f"publish.sign_key={key}", "publish.verify_key=/keys/public.pem")
    world.run()
    (inputs, *_) = world.calls["publish"]
    assert inputs.sign_key.get_secret_value() == key.read_bytes()
    assert world.request.verify_key == "/keys/public.pem", "World.find_champion is asked for models signed with it"
    assert world.asked


def test_a_release_under_another_alias_waits_for_a_person(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "ask_for_approval", lambda *arguments: asked.append(arguments) or "promote it")
    asked: list[Any] = []
    world = make_world("publish.alias=live")
    run_state = world.run()
    assert (run_state.decision, run_state.reason) == ("needs-approval", "promote it")
    assert asked == [(run_state.release, world.request.config, run_state.verdict)]


@pytest.mark.parametrize(
    ("accuracy", "decision", "stands"), [(1.0, "unchanged", "still passes"), (0.5, "reject", "no longer passes")]
)
def test_the_champion_is_evaluated_as_it_reads_the_rows_and_nothing_is_trained(
    make_world: MakeWorld, accuracy: float, decision: str, stands: str
) -> None:
    world = make_world()
    world.accuracy, world.champions = accuracy, [world.champion("1", max_text_bytes=8)]
    run_state = world.run(evaluate_champion)
    assert set(world.calls) == {"evaluate", "validate"}
    valid, features, checkpoint, prepared, config, _ = world.calls["evaluate"]
    assert (valid, features, prepared) == (run_state.valid, run_state.features, None)
    assert (checkpoint.uri, checkpoint.model_sha256, checkpoint.labels) == (
        "champions/1", world.champions[0].model_sha256, ("a", "b"),
    )  # fmt: skip
    assert config.extract.max_text_bytes == longest(features["text"].parts, world.store) == 8
    assert (run_state.decision, run_state.champion) == (decision, world.champions[0])
    assert run_state.splits == {"train": 24, "val": 8, "test": 8}
    assert run_state.verdict is not None
    (rule,) = run_state.verdict.rules
    assert run_state.reason == run_state.verdict.reason
    assert run_state.reason == f"small version 1 {stands} the gate on 8 test rows: {rule.detail}"
    assert set(run_state.seconds) == {"ingest", "validate", "extract", "evaluate"}
    assert world.run(evaluate_champion).reused(run_state.clean)


def test_without_rules_the_champion_passes_on_its_figures(make_world: MakeWorld) -> None:
    world = make_world("gate.rules=[]")
    world.champions = [world.champion("1")]
    assert (
        world.run(evaluate_champion).reason == "small version 1 still passes the gate on 8 test rows: it has no rules"
    )


def test_there_must_be_a_champion_to_evaluate(make_world: MakeWorld) -> None:
    with pytest.raises(
        UsageError, match=r"^mode 'evaluate only': there is no small@champion yet; run with mode 'full' "
    ):
        make_world().run(evaluate_champion)


def test_a_plan_looks_for_the_model_that_continues_this_champion(make_world: MakeWorld) -> None:
    world = make_world("train.continue_from=champion")
    world.champions = [world.champion("1")]
    run_state = world.run()
    raw, valid = run_state.raw, run_state.valid
    assert raw is not None
    assert valid is not None
    planned: list[str] = []
    for champion in (None, world.champion("2"), world.champions[0]):
        config = world.request.config
        asked = TrainRequest(valid=valid, features=run_state.features, config=config, champion=champion)
        key = train_key(asked, world.store)
        with world.store.create("checkpoints", key):
            pass
        planned.append(
            plan._Plan(world.request, raw, None, {}, False)._known_training(valid, run_state.features, None)[0][
                "action"
            ]
        )
    assert planned == ["compute", "compute", "reuse"]


def prepare_champion(world: World) -> Any:
    """The champion, as evaluation got it."""
    return world.calls["evaluate"][3]


def longest(parts: Iterable[str], store: Store) -> int:
    """The length of the longest feature."""
    from tasks.contract import read_table

    return max(shape[0] for part in parts for shape in read_table(store.path(part))["shape"].to_pylist())
