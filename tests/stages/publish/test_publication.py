"""Publishing by value: what a version says of itself, what is verified and how, what a refusal says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tasks import progress
from tasks.errors import EnvironmentFailed, PromotionRefused
from tasks.modeling.profile import PROFILE
from tasks.modeling.training_rows import ROWS, read_rows
from tasks.publish import publish as publish_module
from tasks.publish import registry
from tasks.publish.verify import DIFFERENT, VerifyRequest
from tasks.store import digest_file

MakeCase = Callable[..., Any]
RUN = "20261125-030000-1a2b3c4d"
STARTED_MS = 1795575600000  # of that run


def client_of(case: Any) -> MlflowClient:
    return MlflowClient(tracking_uri=case.request.tracking_uri, registry_uri=case.request.tracking_uri)


def tags_of(case: Any, version: str = "1") -> dict[str, str]:
    return dict(client_of(case).get_model_version("tiny", version).tags)


def work_of(case: Any) -> Path:
    return Path(case.request.store.root) / "work" / "publish-tiny"


def requiring_approval(case: Any) -> Any:
    gate = case.request.config.gate.model_copy(update={"approval": "required"})
    config = case.request.config.model_copy(update={"gate": gate})
    return type(case.request)(config, *case.place, case.request.run_id)


def heard(case: Any, **changes: Any) -> list[tuple[Any, ...]]:
    """What a publication says of its progress."""
    steps: list[tuple[Any, ...]] = []
    with progress.listening(lambda *what: steps.append(what)):
        case.publish(**changes)
    return [step for step in steps if step[0] == "publish"]


def test_a_version_says_where_it_comes_from(make_case: MakeCase, quick: None) -> None:
    case = make_case(run_id=RUN)
    case.publish()
    store = case.request.store
    folder = store.path(case.checkpoint.uri)
    (logged,) = (store.root / "mlartifacts" / "tiny").glob("*/artifacts/model")
    beside = {path.name: digest_file(path) for path in logged.rglob("*") if path.name in (ROWS, PROFILE)}
    tags = {
        "crossmodal.model_sha256": case.checkpoint.model_sha256,
        "crossmodal.model_json_sha256": digest_file(folder / "model.json"),
        "crossmodal.rows_sha256": beside[ROWS],
        "crossmodal.profile_sha256": beside[PROFILE],
        "crossmodal.train_key": case.checkpoint.train_key,
        "crossmodal.base_key": case.checkpoint.base_key,
        "crossmodal.run": RUN,
        "crossmodal.dataset_sha256": case.valid.sha256,
    }
    if case.checkpoint.base_key is None:
        del tags["crossmodal.base_key"]
    found = tags_of(case)
    assert json.loads(found.pop("crossmodal.metrics")) == case.report.metrics["test"]
    assert found.pop("crossmodal.evidence").startswith(f"{case.verdict.uri} ")
    origin = json.loads(found.pop("crossmodal.origin"))
    assert len(origin["code"]) == 64
    assert {"python", "crossmodal", "torch", "transformers"} <= origin["environment"].keys()
    assert found == {
        **tags,
        "crossmodal.verdict": "promote",
        "crossmodal.status": "verified",
        "crossmodal.status_detail": "taken for granted",
    }
    client = client_of(case)
    version = client.get_model_version("tiny", "1")
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert (version.run_id, run.info.status) == (run.info.run_id, "FINISHED")
    assert version.source == f"{run.info.artifact_uri}/model"
    assert tags.items() <= run.data.tags.items()
    assert "accuracy 0.900 [0.800, 1.000] > majority share 0.500" in version.description
    assert "@champion" in version.description
    assert "tiny" in client.get_registered_model("tiny").description
    assert case.verdict.reason in (logged / "artifacts" / "README.md").read_text()
    known = read_rows(logged / "artifacts")
    assert known is not None
    assert {split: len(digests) for split, digests in known.items()} == {"train": 4, "val": 0, "test": 12}
    assert not any(path.is_dir() for path in work_of(case).iterdir()), "copies are cleared away"


def test_a_checkpoint_that_another_could_start_from_has_a_key_for_it(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    case.publish(checkpoint=case.checkpoint.model_copy(update={"base_key": "b" * 64}))
    assert tags_of(case)["crossmodal.base_key"] == "b" * 64


def test_its_steps_are_told(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    log, verify, promote = (
        ("publish", number, 4, message) for number, message in ((1, "log"), (2, "verify"), (3, "promote"))
    )
    end = ("publish", 4, 4, "")
    assert heard(case) == [log, verify, promote, end]
    assert heard(case) == [end], "it is champion already"
    client = client_of(case)
    client.set_model_version_tag("tiny", "1", "crossmodal.status", "registered")
    assert heard(case) == [verify, promote, end], "a champion that was not verified is"
    assert len(registry.history("tiny", *case.place)) == 1, "and need not move"
    client.delete_registered_model_alias("tiny", "champion")
    assert heard(case) == [verify, promote, end]
    successor = make_case(seed=1, champion=case.checkpoint)
    waits = requiring_approval(successor)
    assert heard(successor, request=waits) == [log, verify, end]
    assert heard(successor, request=waits) == [end], "it was verified before it began to wait"
    release = successor.publish(request=waits)
    assert (release.version, release.alias) == ("2", "challenger")


def test_the_history_names_the_run_and_what_was_champion_before(make_case: MakeCase, quick: None) -> None:
    first = make_case(seed=0, run_id="run-1")
    first.publish()
    make_case(seed=1, champion=first.checkpoint, run_id="run-2").publish()
    assert [
        (move.action, move.version, move.previous, move.run) for move in registry.history("tiny", *first.place)
    ] == [("publish", "1", None, "run-1"), ("publish", "2", "1", "run-2")]


@pytest.mark.parametrize("run_id", [RUN, "by-hand"])
def test_a_candidates_time_begins_with_its_run(make_case: MakeCase, quick: None, run_id: str) -> None:
    """Or, where the run's name does not say when that was, with the version."""
    case = make_case(run_id=run_id)
    case.publish(request=requiring_approval(case))
    began_ms = STARTED_MS if run_id == RUN else client_of(case).get_model_version("tiny", "1").creation_timestamp
    (entry,) = registry.list_pending(*case.place, began_ms)
    assert (entry["version"], entry["age_days"]) == ("1", 0.0)


def test_a_champion_does_not_wait_for_approval(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    case.publish()
    assert case.publish(request=requiring_approval(case)).alias == "champion"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decision": "reject", "reason": "too few"}, "the verdict is 'reject', not 'promote' (too few)"),
        (
            {"model_sha256": "0" * 64},
            "the verdict is on another model than the one to publish; run the gate again",
        ),
        (
            {"uri": "verdicts/" + "0" * 64},
            f"the verdict verdicts/{'0' * 64} is not the store's on this report; run the gate again",
        ),
    ],
)
def test_why_a_verdict_is_refused(make_case: MakeCase, changes: dict[str, Any], message: str) -> None:
    case = make_case()
    with pytest.raises(PromotionRefused) as caught:
        case.publish(verdict=case.verdict.model_copy(update=changes))
    assert str(caught.value) == f"model tiny: {message}"


def test_a_verdict_with_a_rule_that_did_not_pass_is_refused(make_case: MakeCase) -> None:
    case = make_case()
    *rules, last = case.verdict.rules
    rules = (*rules, last.model_copy(update={"outcome": "fail"}))
    with pytest.raises(PromotionRefused, match="the verdict is 'promote', not 'promote'"):
        case.publish(verdict=case.verdict.model_copy(update={"rules": rules}))


def test_a_verdict_on_another_report_is_refused(make_case: MakeCase) -> None:
    case = make_case()
    with pytest.raises(PromotionRefused, match="is not the store's on this report"):
        case.publish(report=case.report.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(PromotionRefused, match="on another model than the one to publish"):
        case.publish(report=case.report.model_copy(update={"model_sha256": "0" * 64}))


def test_a_damaged_checkpoint_is_named(make_case: MakeCase) -> None:
    case = make_case()
    (case.request.store.path(case.checkpoint.uri) / "model.safetensors").write_bytes(b"x")
    with pytest.raises(EnvironmentFailed) as caught:
        case.publish()
    assert str(caught.value) == (
        f"checkpoint {case.checkpoint.uri}: model.safetensors is damaged; run crossmodal retrain again"
    )


def test_why_another_champion_refuses_a_candidate(make_case: MakeCase, quick: None) -> None:
    first, second = make_case(seed=0), make_case(seed=1)
    lonely = make_case(seed=2, champion=first.checkpoint)
    with pytest.raises(PromotionRefused) as caught:
        lonely.publish()
    assert str(caught.value) == (
        "model tiny: the champion is now version none, but the candidate was compared with 1; run crossmodal retrain again"
    )
    first.publish()
    with pytest.raises(PromotionRefused) as caught:
        second.publish()
    assert str(caught.value) == (
        "model tiny: the champion is now version 1, but the candidate was compared with none; run crossmodal retrain again"
    )


def test_a_model_that_was_rolled_back_says_how_it_comes_back(make_case: MakeCase, quick: None) -> None:
    first = make_case(seed=0)
    second = make_case(seed=1, champion=first.checkpoint)
    first.publish()
    second.publish()
    registry.rollback("tiny", "champion", *first.place)
    with pytest.raises(PromotionRefused) as caught:
        second.publish()
    assert str(caught.value) == (
        "model tiny version 2: this very model was rolled back; bring it back with crossmodal models promote tiny 2"
    )


def test_the_newest_sound_version_of_the_same_files_is_taken(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    case.publish()
    client, tags = client_of(case), tags_of(case)
    source = client.get_model_version("tiny", "1").source
    client.create_model_version("tiny", source=source, tags=tags)
    client.create_model_version("tiny", source=source, tags=tags | {"crossmodal.status": "failed"})
    client.create_model_version("tiny", source=source, tags=tags | {"crossmodal.model_json_sha256": "0" * 64})
    client.create_model_version(
        "tiny", source=source, tags={"crossmodal.model_sha256": tags["crossmodal.model_sha256"]}
    )
    client.create_model_version("tiny", source=source)  # by somebody else
    assert case.publish().version == "2"
    assert len(registry.show_model("tiny", *case.place)) == 6


def test_what_a_killed_publication_left_is_cleared_away(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    for name in ("model", "published"):
        (work_of(case) / name).mkdir(parents=True)
        (work_of(case) / name / "leftover").touch()
    case.publish()
    assert list((case.request.store.root / "mlartifacts").rglob("leftover")) == []


def test_the_profile_is_of_the_training_rows_and_of_those_that_were_judged(
    make_case: MakeCase, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, seen = make_case(), []
    real = publish_module.profile_rows
    monkeypatch.setattr(publish_module, "profile_rows", lambda *what: seen.append(what) or real(*what))
    case.publish()
    ((data, held_out, media, features, model, store),) = seen
    assert set(data.splits) == {"train"}
    assert set(held_out.splits) == {"test"}
    assert (len(data), len(held_out)) == (4, 12)
    assert (media, features, store) == (case.valid.clean.media, case.features, case.request.store)
    assert model == store.path(case.checkpoint.uri)


def test_the_same_model_may_be_registered_by_two_at_once(
    make_case: MakeCase, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, asked = make_case(), []
    real = MlflowClient.search_registered_models
    client_of(case).create_registered_model("tiny")

    def search(self: MlflowClient, *what: Any, **how: Any) -> Any:
        asked.append(what)
        return [] if len(asked) == 1 else real(self, *what, **how)  # not there yet when this one looked

    monkeypatch.setattr(MlflowClient, "search_registered_models", search)
    assert case.publish().version == "1"
    assert asked == [("name='tiny'",)] * 2
    monkeypatch.setattr(MlflowClient, "search_registered_models", lambda *_: [])
    other = make_case(seed=1, champion=case.checkpoint)
    with pytest.raises(EnvironmentFailed, match="already exists"):
        other.publish()


def test_the_verifying_process_gets_all_that_it_compares(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    case, asked = make_case(), []

    def verify(request: VerifyRequest, log: Path) -> tuple[int, str]:
        asked.append(request)
        assert log.parent == work_of(case)
        assert sorted(path.name for path in Path(request.folder).iterdir() if path.suffix != ".md") == sorted(
            ["model.safetensors", "model.json", ROWS, PROFILE]
        )
        return 0, "all right"

    monkeypatch.setattr(publish_module, "verify_apart", verify)
    case.publish()
    assert asked == [
        VerifyRequest(
            folder=str(work_of(case) / "published"),
            store=str(case.request.store.root),
            samples=case.valid.uri,
            predictions=f"{case.report.uri}/predictions.parquet",
            features=case.features,
            rows=case.request.config.publish.verify_rows,
        )
    ]
    assert tags_of(case)["crossmodal.status_detail"] == "all right"
    assert not (work_of(case) / "published").exists()


@pytest.mark.parametrize(
    ("answer", "outcome", "status", "detail"),
    [
        ((DIFFERENT, "apart"), "the published files do not reproduce the evaluation (apart)", "failed", "apart"),
        ((1, "no"), "the verifying process ended with status 1 (no)", "registered", None),
        ((-9, "Killed"), "the verifying process ended with status -9 (Killed)", "registered", None),
        ((DIFFERENT, "0" * 1500), f"the published files do not reproduce the evaluation ({'0' * 1500})", "failed",
         "0" * 1000),
    ],
)  # fmt: skip
def test_a_verification_that_fails_says_how(
    make_case: MakeCase,
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[int, str],
    outcome: str,
    status: str,
    detail: str | None,
) -> None:
    case = make_case()
    monkeypatch.setattr(publish_module, "verify_apart", lambda *_: answer)
    with pytest.raises(EnvironmentFailed) as caught:
        case.publish()
    assert str(caught.value) == (
        f"model tiny version 1: {outcome}; the alias was not moved; run crossmodal retrain again"
    )
    tags = tags_of(case)
    assert (tags["crossmodal.status"], tags.get("crossmodal.status_detail")) == (status, detail)
    assert registry.fetch_champion("tiny", "champion", *case.place) is None
    assert not (work_of(case) / "published").exists()


def test_files_that_cannot_be_fetched_condemn_a_version(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case()
    real = publish_module.register

    def losing(*what: Any) -> Any:
        version = real(*what)
        (folder,) = (case.request.store.root / "mlartifacts" / "tiny").glob("*/artifacts/model/artifacts")
        shutil.rmtree(folder)
        return version

    monkeypatch.setattr(publish_module, "register", losing)
    with pytest.raises(EnvironmentFailed) as caught:
        case.publish()
    tags = tags_of(case)
    assert tags["crossmodal.status"] == "failed"
    assert tags["crossmodal.status_detail"] == str(caught.value)[:1000]
    assert "cannot be fetched" in tags["crossmodal.status_detail"]
