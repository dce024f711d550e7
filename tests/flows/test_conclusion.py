"""What a run concludes of its verdict, by value."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.refs import ChampionRef, CheckpointRef, Decision, Verdict
from flows.pipeline import conclude, is_same_model
from tasks.store import Store

OWN, OTHER = "0" * 64, "1" * 64
REFUSED_BEFORE = "nothing has changed since this model was refused (the figures are its own): why"
IS_CHAMPION = "nothing that shapes the model has changed: it is m version 3"


@pytest.mark.parametrize(
    ("decision", "champion", "before", "expected"),
    [
        ("promote", None, False, ("promote", "why")),
        ("promote", None, True, ("promote", "why")),  # its publication failed, or was not asked for
        ("promote", OTHER, False, ("promote", "why")),
        ("promote", OTHER, True, ("promote", "why")),
        ("promote", OWN, False, ("unchanged", IS_CHAMPION)),
        ("promote", OWN, True, ("unchanged", IS_CHAMPION)),
        ("reject", OWN, True, ("unchanged", f"{IS_CHAMPION}, which no longer passes the gate: why")),
        ("reject", OWN, False, ("reject", "version 3 is champion and no longer passes the gate: why")),
        ("inconclusive", OWN, False, ("inconclusive", "version 3 is champion and no longer passes the gate: why")),
        ("reject", None, False, ("reject", "why")),
        ("reject", OTHER, False, ("reject", "why")),
        ("reject", OTHER, True, ("unchanged", REFUSED_BEFORE)),
        ("inconclusive", None, True, ("unchanged", REFUSED_BEFORE)),
    ],
)  # fmt: skip
def test_the_decision_of_a_run(
    decision: Decision, champion: str | None, before: bool, expected: tuple[Decision, str]
) -> None:
    verdict = Verdict(
        uri="verdicts/k", sha256=OTHER, rows=8, decision=decision, reason="why", rules=(), model_sha256=OWN
    )
    published = champion and ChampionRef(
        uri="champions/k", sha256=OTHER, rows=0, name="m", version="3", model_sha256=champion
    )
    assert conclude(verdict, published or None, champion == OWN, before) == expected


@pytest.mark.parametrize(
    ("champion", "expected"),
    [(OTHER, "inconclusive"), (OWN, "unchanged")],
)
def test_an_inconclusive_candidate_that_becomes_the_challenger_is_not_unchanged(champion: str, expected: str) -> None:
    verdict = Verdict(
        uri="verdicts/k", sha256=OTHER, rows=8, decision="inconclusive", reason="why", rules=(), model_sha256=OWN
    )
    published = ChampionRef(uri="champions/k", sha256=OTHER, rows=0, name="m", version="3", model_sha256=champion)
    assert conclude(verdict, published, champion == OWN, True, ("needs-approval", "inconclusive"))[0] == expected


@pytest.mark.parametrize(("weights", "card", "same"), [(OWN, "{}", True), (OTHER, "{}", False), (OWN, "{ }", False)])
def test_a_model_is_its_weights_and_its_card(tmp_path: Path, weights: str, card: str, same: bool) -> None:
    for name, text in (("champions/k", card), ("checkpoints/k", "{}")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "model.json").write_text(text)
    champion = ChampionRef(uri="champions/k", sha256=OTHER, rows=0, name="m", version="3", model_sha256=weights)
    checkpoint = CheckpointRef.model_construct(uri="checkpoints/k", model_sha256=OWN)
    assert is_same_model(champion, checkpoint, Store(tmp_path)) is same
