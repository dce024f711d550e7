"""What does not become champion: damaged bytes, other predictions, verdicts that do not pass or are out of date."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.refs import RuleResult, Verdict
from tasks.errors import EnvironmentFailed, PromotionRefused
from tasks.publish import publish as publish_module
from tasks.publish import registry
from tasks.publish.verify import DIFFERENT, VerifyRequest, spread, verify
from tests.support.registries import champion_version, client_of, logged

Case = Any  # conftest.Case
MakeCase = Callable[..., Any]


def test_tampered_bytes_do_not_become_champion(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case()
    register = publish_module.register

    def tampering(*args: Any) -> Any:
        version = register(*args)
        weights = logged(case) / "artifacts" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
        return version

    with monkeypatch.context() as patch:
        patch.setattr(publish_module, "register", tampering)
        with pytest.raises(EnvironmentFailed, match=r"model tiny version 1: model\.safetensors .* is damaged"):
            case.publish()
    assert champion_version(case) is None
    assert registry.show_model("tiny", *case.place)[0]["status"] == "failed"
    with pytest.raises(PromotionRefused, match="not verified"):
        registry.promote("tiny", "1", "champion", *case.place)


def test_bytes_that_predict_otherwise_do_not_become_champion(make_case: MakeCase) -> None:
    case, other = make_case(seed=0), make_case(seed=1)
    confused = case.report.model_copy(update={"uri": other.report.uri})
    with pytest.raises(EnvironmentFailed, match="do not reproduce the evaluation"):
        case.publish(report=confused)
    assert champion_version(case) is None
    assert registry.show_model("tiny", *case.place)[0]["status"] == "failed"
    assert case.publish().version == "2", "a sound publication afterwards takes a new version"
    assert champion_version(case) == "2"


def test_a_verifying_process_that_dies_condemns_nothing(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case()
    monkeypatch.setattr(publish_module, "run_verification", lambda *_: (-9, "Killed"))
    with pytest.raises(EnvironmentFailed, match=r"ended with status -9 \(Killed\)"):
        case.publish()
    assert champion_version(case) is None
    monkeypatch.setattr(publish_module, "run_verification", lambda *_: (0, ""))
    assert case.publish().version == "1"


def refusals() -> Iterator[Any]:
    failing = RuleResult(
        rule="r", metric="accuracy", value=0.1, threshold=0.5, baseline="", n=1, outcome="fail", detail=""
    )
    yield pytest.param({"decision": "reject"}, id="rejected")
    yield pytest.param({"decision": "inconclusive"}, id="inconclusive")
    yield pytest.param({"decision": "needs-approval"}, id="needs approval")
    yield pytest.param({"rules": (failing,)}, id="promote with a failing rule")
    yield pytest.param({"model_sha256": "0" * 64}, id="on another model")
    yield pytest.param({"uri": "verdicts/" + "0" * 64}, id="not in the store")
    yield pytest.param({"reason": "because"}, id="not the stored one")


@pytest.mark.parametrize("changes", list(refusals()))
def test_only_a_passing_verdict_is_published(changes: dict[str, Any], make_case: MakeCase) -> None:
    case = make_case()
    forged = Verdict.model_validate(case.verdict.model_dump() | changes)
    with pytest.raises(PromotionRefused):
        case.publish(verdict=forged)
    assert registry.list_models(*case.place) == []


def test_a_verdict_against_a_former_champion_is_refused(make_case: MakeCase, quick: None) -> None:
    first, second = make_case(seed=0), make_case(seed=1)
    first.publish()
    with pytest.raises(PromotionRefused, match="compared with none"):
        second.publish()
    assert make_case(seed=1, champion=first.checkpoint).publish().version == "2"


def test_a_champion_that_changes_during_the_verification_is_not_overwritten(
    make_case: MakeCase, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_case(seed=0)
    second = make_case(seed=1, champion=first.checkpoint)
    third = make_case(seed=2, champion=second.checkpoint)
    first.publish()
    second.publish()

    def verify(*_: Any) -> tuple[int, str]:
        client_of(third).set_registered_model_alias("tiny", "champion", "1")  # by hand, in MLflow's own UI
        return 0, "the files are right"

    monkeypatch.setattr(publish_module, "run_verification", verify)
    with pytest.raises(PromotionRefused, match="the champion is now version 1"):
        third.publish()
    assert champion_version(third) == "1"


@pytest.mark.parametrize(("apart", "status"), [(0.0, 0), (5e-6, 0), (2e-5, DIFFERENT), (5e-3, DIFFERENT)])
def test_published_bytes_reproduce_every_probability_to_1e_5(
    make_case: MakeCase, apart: float, status: int, tmp_path: Path
) -> None:
    case = make_case()
    store = case.request.store
    table = pq.read_table(store.path(case.report.uri) / "predictions.parquet")
    rows = np.array(table["probabilities"].to_pylist())
    rows[7, 1] += apart
    column = table.schema.get_field_index("probabilities")
    table = table.set_column(column, "probabilities", pa.array(list(rows), pa.list_(pa.float64())))
    pq.write_table(table, store.path("predictions.parquet"))
    request = VerifyRequest(
        folder=str(store.path(case.checkpoint.uri)), store=str(store.root), rows=64, features=case.features,
        samples=case.valid.uri, predictions="predictions.parquet",
    )  # fmt: skip
    assert verify(request).status == status


def test_a_damaged_published_file_is_named(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    uri = case.publish().uri
    (case.request.store.path(uri) / "model.json").write_text("{}")
    (logged(case) / "artifacts" / "model.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(EnvironmentFailed, match=r"model tiny version 1: model\.json .* is damaged"):
        registry.fetch_champion("tiny", "champion", *case.place)
    (logged(case) / "artifacts" / "model.json").unlink()
    with pytest.raises(EnvironmentFailed, match=r"model\.json cannot be fetched"):
        registry.fetch_champion("tiny", "champion", *case.place)


@pytest.mark.parametrize(("total", "most"), [(0, 5), (1, 5), (5, 5), (500, 64), (10_000, 1)])
def test_verified_rows_are_spread(total: int, most: int) -> None:
    rows = spread(total, most)
    assert len(rows) == min(total, most)
    assert rows == sorted(set(rows))
    assert all(0 <= row < total for row in rows)
    if most > 1 and total > 1:
        assert (rows[0], rows[-1]) == (0, total - 1)


@pytest.mark.parametrize("damage", ["edited", "lost"])
def test_a_damaged_tokenizer_does_not_become_champion(
    damage: str, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(tokenizer=b'{"model": {}}')
    register = publish_module.register

    def tampering(*args: Any) -> Any:
        version = register(*args)
        (file,) = (logged(case) / "artifacts").glob("tokenizer-*.json")
        file.unlink() if damage == "lost" else file.write_text('{"model": {"type": "BPE"}}')
        return version

    with monkeypatch.context() as patch:
        patch.setattr(publish_module, "register", tampering)
        expected = r"tokenizer-\w+\.json " + ("cannot be fetched" if damage == "lost" else "at .* is damaged")
        with pytest.raises(EnvironmentFailed, match=expected):
            case.publish()
    assert champion_version(case) is None
    assert registry.show_model("tiny", *case.place)[0]["status"] == "failed"
