"""Labels that come later: joined by id with what both versions had answered, decided by the gate, written to the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data_contracts.live_verdict import LiveVerdict
from data_contracts.refs import ChampionRef
from data_contracts.tables import scores_schema
from flows.feedback import decide_live, read_labels
from flows.request import make_request, resolve_config
from tasks.config import RunConfig, load_config
from tasks.errors import DataError, UsageError
from tasks.modeling.card import ModelCard
from tasks.publish.journal import read_journal
from tasks.score.late_labels import collect_labels, pair_scores, read_scores
from tasks.score.partition import open_partition, partition_folder
from tasks.store import Store
from tests.support.cards import card_of

CARD = ModelCard.model_validate(card_of(("a", "b"), ("text",)))
ROWS = 400
LABELS = {f"r{number}": "ab"[number % 2] for number in range(ROWS)}
Decide = Callable[..., LiveVerdict]


def ref(version: str) -> ChampionRef:
    digest = version * 64
    return ChampionRef(
        uri=f"champions/{version}", sha256=digest, rows=0, name="m", version=version, model_sha256=digest
    )


def scores(right: dict[str, bool], contents: dict[str, str] | None = None, **columns: dict[str, Any]) -> pa.Table:
    """The scores of rows that are answered rightly or not."""
    rows: list[dict[str, Any]] = []
    for number, (name, good) in enumerate(right.items()):
        answer = LABELS.get(name, "a") if good else "ba"["ab".index(LABELS.get(name, "a"))]
        rows.append(
            {
                "id": name,
                "predicted": answer,
                "probabilities": [0.9, 0.1] if answer == "a" else [0.1, 0.9],
                "modalities": "text",
                "content": (contents or {}).get(name, f"{number:032x}"),
                "rows_of_id": 1,
                "scored_at": 0,
                **{key: values[name] for key, values in columns.items() if name in values},
            }
        )
    return pa.Table.from_pylist(rows, schema=scores_schema())


@pytest.fixture
def decide(store: Store, tmp_path: Path) -> Decide:
    """decide(candidate's scores, champion's, lines of the file of labels, "gate.margin=0.1"): version 2 against version 1."""

    def run(candidate: pa.Table, champion: pa.Table, lines: list[str] | None = None, *settings: str) -> LiveVerdict:
        for version, table in (("2", candidate), ("1", champion)):
            with open_partition(partition_folder(tmp_path / "scores", "m", version), version * 64) as partition:
                if table.num_rows:
                    partition.write(table)
        path = tmp_path / "labels.csv"
        path.write_text(
            "\n".join(["id,label", *(lines or [f"{name},{label}" for name, label in LABELS.items()])]) + "\n"
        )
        config: RunConfig = load_config({}, settings)
        request = make_request(resolve_config(None, str(path), ()), str(store.root), None, "run")
        return decide_live(str(path), (ref("2"), CARD), (ref("1"), CARD), tmp_path / "scores", config, request)

    return run


def right_but(every: int) -> dict[str, bool]:
    """Each `every`th row is answered wrongly."""
    return {name: number % every != 0 for number, name in enumerate(LABELS)}


def test_a_challenger_that_is_shown_to_be_better_passes_and_the_journal_has_one_line(
    decide: Decide, store: Store
) -> None:
    found = decide(scores(right_but(50)), scores(right_but(5)), None, "gate.mode=better")
    assert (found.decision, found.rows, found.clusters, found.version, found.champion) == (
        "promote",
        400,
        None,
        "2",
        "1",
    )
    assert (found.metrics["accuracy"], found.champion_metrics["accuracy"]) == (0.98, 0.8)
    assert {rule.outcome for rule in found.rules} == {"pass"}
    assert found.notes == ()
    (line,) = read_journal(store)
    entry = line.entry
    assert (entry.event, entry.version, entry.previous, entry.decision) == ("verdict", "2", "1", "promote")
    assert set(entry.evidence) == {"verdict", "model", "evaluation", "labels", "champion"}
    assert entry.reason.startswith("live rows: promoted: ")
    again = decide(scores({}), scores({}), None, "gate.mode=better")
    assert (again, len(read_journal(store))) == (found, 1), "the same evidence is no second verdict"


def test_a_worse_challenger_is_rejected(decide: Decide) -> None:
    assert decide(scores(right_but(4)), scores(right_but(50))).decision == "reject"


def test_few_rows_decide_nothing(decide: Decide) -> None:
    few = decide(
        scores(right_but(50)), scores(right_but(50)), [f"r{number},{'ab'[number % 2]}" for number in range(40)]
    )
    assert (few.decision, few.rows) == ("inconclusive", 40)
    assert "40 test rows to compare with the champion on, fewer than 50" in few.reason


def test_rows_of_a_group_and_of_one_content_are_one_cluster(decide: Decide) -> None:
    groups = {name: f"g{number // 4}" for number, name in enumerate(LABELS) if number < 200}
    contents = {name: f"{number // 2:032x}" for number, name in enumerate(LABELS)}
    tables = [scores(right_but(every), contents, group=groups) for every in (50, 5)]
    assert decide(*tables).clusters == 50 + 100


def test_what_decides_nothing_is_counted(decide: Decide) -> None:
    champion = scores(right_but(5), {"r9": "f" * 32}, seen={"r0": "row", "r1": "group", "r2": "group"})
    candidate = scores(right_but(50) | {"n1": True}, seen={"r2": "group"})
    lines = [f"{name},{label}" for name, label in LABELS.items()]
    lines += ["n1,a", "x1,a", "x2,b", "r3,b", "r4,b", "r5,", ",a", "r6,c"]
    lines[lines.index("r6,a")] = "r6,c"
    found = decide(candidate, champion, lines)
    assert found.notes == (
        "2 lines have no id or no label",
        "2 lines repeat one before them",
        "1 ids have two different labels, and are left out",
        "2 ids are unknown: neither version has scored them",
        "2 rows are scored by one of the two only, or with another content",
        "2 rows are known to either version from its training, and are left out",
        "1 rows give labels that the model does not know ('c'); no figure counts these rows",
    )
    assert found.rows == 400 - 5, "without r0, r1, r4, r6 and r9"


def test_the_newest_score_of_an_id_counts() -> None:
    first, second = scores({"r0": False}), scores({"r0": True}, {"r0": "e" * 32})
    assert pair_scores(first, second, ["r0"], same_inputs=True).unpaired == 1
    assert pair_scores(first, second, ["r0"], same_inputs=False).rows == 1


def test_an_id_of_several_rows_is_left_out(tmp_path: Path) -> None:
    """The newest score of an id says how many rows of the data had it: r0 two, r1 one again."""
    with open_partition(tmp_path, "1" * 64) as partition:
        partition.write(scores({"r0": True, "r1": True, "r2": True}, rows_of_id={"r0": 2, "r1": 2}))
        partition.write(scores({"r0": False, "r1": True}, {"r0": "e" * 32}, rows_of_id={"r0": 2}))
    found = read_scores(tmp_path, "1" * 64, ["r0", "r1", "r2", "r3"])
    pairs = pair_scores(
        found, scores({"r0": True, "r1": True, "r2": True}), ["r0", "r1", "r2", "r3"], same_inputs=False
    )
    assert (pairs.ids, pairs.ambiguous, pairs.unpaired, pairs.unknown) == (["r1", "r2"], 1, 0, 1)


def test_lines_of_labels() -> None:
    found = collect_labels([("a", "1"), ("a", "1"), ("b", "1"), ("b", "2"), ("b", "1"), (None, "1"), ("c", None)])
    assert (found.labels, found.repeated, found.conflicting, found.unusable) == ({"a": "1"}, 2, 1, 2)


def test_what_cannot_be_decided_says_why(decide: Decide, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="version 1 has none; score the rows with crossmodal score"):
        decide(scores(right_but(5)), scores({}))
    with pytest.raises(DataError, match=r"no row to compare on \(1 ids are unknown"):
        decide(scores({}), scores(right_but(5)), ["x1,a"])
    (tmp_path / "kinds.csv").write_text("id,kind\nr0,a\n")
    with pytest.raises(UsageError, match="needs the columns id and label, and has id, kind"):
        read_labels(tmp_path / "kinds.csv", RunConfig(), CARD)
