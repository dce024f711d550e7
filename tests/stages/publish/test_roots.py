"""What a registry needs of a store, and what is linked instead of copied."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import pytest

from tasks.errors import EnvironmentFailed, PromotionRefused
from tasks.publish import registry
from tasks.publish.chain import chain_of, require_chained
from tasks.publish.roots import read_registry, require_intact
from tasks.store import Store, read_record
from tests.support.registries import client_of, logged

Case = Any  # conftest.Case
MakeCase = Callable[..., Any]


def needed_for(case: Case) -> dict[str, tuple[str, ...]]:
    return {version.version: version.needed_for for version in read_registry(*case.place).versions}


def test_no_registry_needs_nothing(store: Store) -> None:
    assert read_registry(store, f"sqlite:///{store.root}/mlflow.db").versions == ()


def test_aliases_what_they_can_be_given_back_to_and_candidates_are_needed(make_case: MakeCase, quick: None) -> None:
    first = make_case(seed=0)
    second = make_case(seed=1, champion=first.checkpoint)
    third = make_case(seed=2, champion=second.checkpoint)
    for case in (first, second, third):
        case.publish()
    registry.rollback("tiny", "champion", *first.place)
    gate = third.request.config.gate.model_copy(update={"approval": "required"})
    config = third.request.config.model_copy(update={"gate": gate})
    fourth = make_case(seed=3, champion=second.checkpoint)
    dataclasses.replace(fourth, request=dataclasses.replace(fourth.request, config=config)).publish()
    assert needed_for(first) == {
        "1": ("rollback of champion", "anchor"),
        "2": ("alias champion",),
        "3": (),
        "4": ("alias challenger", "approval"),
    }
    one = read_registry(*first.place).versions[0]
    assert one.artifacts == (one.files, f"checkpoints/{first.checkpoint.train_key}", first.verdict.uri)
    assert (one.run, one.why_not) == ("run-1", None)
    record = read_record(first.request.store.root, first.verdict.uri)
    assert record is not None
    assert one.evidence == (first.verdict.uri, record.link)


def test_runs_deleted_in_mlflow_are_told_of(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    case.publish()
    client = client_of(case)
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    client.delete_run(run.info.run_id)
    assert [place.parent.name for place in read_registry(*case.place).deleted_runs] == [run.info.run_id]


def test_damage_to_a_published_model_in_the_store_is_healed_from_the_registry(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    case.publish()
    champion = registry.fetch_champion("tiny", "champion", *case.place)
    assert champion is not None
    root = case.request.store.root
    for name in ("model.safetensors", "model.json"):
        published, kept = logged(case) / "artifacts" / name, root / champion.uri / name
        trained = root / case.checkpoint.uri / name
        assert trained.read_bytes() == published.read_bytes() == kept.read_bytes()
        assert not published.samefile(kept), "damage to one is not damage to the other"
        assert trained.samefile(kept), "in the store, what can be fetched again takes no room beside what was trained"
    weights = root / champion.uri / "model.safetensors"
    intact = weights.read_bytes()
    weights.write_bytes(bytes([intact[0] ^ 1]) + intact[1:])
    healed = registry.fetch_champion("tiny", "champion", *case.place)
    assert healed is not None
    assert (root / healed.uri / "model.safetensors").read_bytes() == intact
    assert case.request.store.find("checkpoints", str(case.checkpoint.train_key)) is None, "it is trained again"
    (version,) = read_registry(*case.place).versions
    require_intact(version, *case.place)
    (logged(case) / "artifacts" / "rows.safetensors").write_bytes(b"x")
    with pytest.raises(EnvironmentFailed, match=r"rows\.safetensors at .* is damaged"):
        require_intact(version, *case.place)


def test_published_files_are_verified_in_a_store_that_cannot_be_written_to(
    make_case: MakeCase, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case()
    case.publish()
    (version,) = read_registry(*case.place).versions
    store, may = case.place[0], os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != store.root and may(path, mode))
    monkeypatch.setattr(store, "scratch_dir", None)
    require_intact(version, *case.place)
    (logged(case) / "artifacts" / "rows.safetensors").write_bytes(b"x")
    with pytest.raises(EnvironmentFailed, match=r"rows\.safetensors at .* is damaged"):
        require_intact(version, *case.place)


def test_the_chain_reaches_from_the_verdict_to_the_data(make_case: MakeCase) -> None:
    case = make_case()
    store = case.request.store
    uris = [link.uri for link in chain_of(case.verdict, store)]
    assert uris == [case.verdict.uri, case.report.uri, case.checkpoint.uri, case.valid.uri]
    other = make_case(seed=1)
    with pytest.raises(PromotionRefused, match=f"does not rest on {other.checkpoint.uri}"):
        require_chained(case.verdict, other.checkpoint, case.valid, store)


def test_a_verdict_whose_evaluation_is_another_one_publishes_nothing(make_case: MakeCase) -> None:
    case, other = make_case(seed=0), make_case(seed=1)
    store = case.request.store
    store.path(case.report.uri).rename(store.root / "aside")
    key = case.report.uri.partition("/")[2]
    with store.create("evaluations", key, [other.valid.uri, other.checkpoint.uri]) as draft:
        (draft.path / "predictions.parquet").write_bytes((store.root / "aside/predictions.parquet").read_bytes())
    with pytest.raises(PromotionRefused, match="is not the store's on this report"):
        case.publish()
    assert registry.fetch_champion("tiny", "champion", *case.place) is None
