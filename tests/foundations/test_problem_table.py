"""The table of problems: each object answers for itself, another one needs no other file, and an unknown one is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from data_contracts.refs import Target
from tasks.config import RunConfig, TrainConfig, load_config
from tasks.errors import DataError, UsageError
from tasks.evaluate.detail import describe
from tasks.evaluate.scorers import make_scorer
from tasks.ingest.manifest.cells import read_label
from tasks.labels import describe_targets, label_columns, require_fitting
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.decision import answer_column, output_names
from tasks.modeling.targets import Targets
from tasks.problems import registry
from tasks.problems.cells import Cell
from tasks.problems.problem import Problem
from tasks.problems.registry import PROBLEMS, get_problem, is_plain, problem_of, width
from tasks.problems.regression import Regression
from tasks.samples import Samples
from tasks.train.losses import class_weights, joint_loss
from tasks.train.sampling import row_chances
from tests.support.cards import card_of, write_card

CELLS = {
    "multiclass": ["a", "b", "a", "b"],
    "multilabel": ["a|b", "a", "[]", "b"],
    "regression": ["1", "2.5", "4", "7"],
}


class Count(Regression):
    """A toy: how many there are."""

    name = "count"

    def read_cell(self, cell: Any, column: str) -> Cell:
        text, fault = super().read_cell(cell, column)
        if text is not None and (float(text) < 0 or "." in text):
            return None, ("bad-label", f"column {column!r}: {text!r} counts nothing")
        return text, fault

    def count_labels(self, target: Target) -> str:
        return "a count"


@pytest.fixture(name="count")
def _count(monkeypatch: pytest.MonkeyPatch) -> Count:
    monkeypatch.setitem(registry._REGISTERED, "count", Count())
    monkeypatch.setitem(CELLS, "count", ["1", "2", "4", "7"])
    return Count()


def samples_of(cells: list[str]) -> Samples:
    rows = len(cells)
    media = {"image": pa.array(["m"] * rows), "audio": pa.nulls(rows, pa.string())}
    ids, others = [f"r{n}" for n in range(rows)], pa.nulls(rows, pa.string())
    return Samples(pa.table({"id": ids, "label": cells, "targets": others, **media}))


def assert_answers(problem: Problem) -> None:
    """A label column of this problem from its cells to the report, as the stages ask for it."""
    cells = CELLS[problem.name]
    assert [read_label(cell, "label", problem.name) for cell in cells] == [(cell, None) for cell in cells]
    assert problem.is_numeric or [problem.text_of(problem.labels_of(cell)) for cell in cells] == cells
    (target,) = describe_targets([("label", problem.name)], [cells])
    require_fitting(load_config({}, [f"data.problem={problem.name}"]), [target])
    samples = samples_of(cells)
    targets = Targets((target,)).fit(samples)
    encoded, rows = targets.encode(samples), torch.arange(len(cells))
    logits = torch.zeros(len(cells), targets.outputs, requires_grad=True)
    joint_loss(logits, encoded.soft(rows), torch.ones(len(cells)), targets, TrainConfig()).backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0
    outputs = targets.activate(logits).detach().numpy()
    assert torch.allclose(
        targets.activate(targets.logits_of(torch.from_numpy(outputs))), targets.activate(logits), atol=1e-5
    )
    assert class_weights(encoded).shape == (targets.outputs,)
    assert (row_chances(encoded) is None) == problem.is_numeric
    assert np.isfinite(problem.validation_score(outputs, encoded.first, targets.columns[0]))
    plain = is_plain(targets.columns)
    labels = [] if plain else {"targets": [targets.columns[0].model_dump()]}
    card = ModelCard.model_validate(card_of(target.labels, **dict(labels)))
    answers, _ = answer_column(card, 0, outputs)
    assert (len(answers), len(output_names(card))) == (4, width(card.label_targets))
    scored, known = make_scorer(card, 0, outputs, cells, target.labels)
    assert (scored.rows, len(known)) == (4, 4)
    score = scored.score()
    assert {problem.gate_metric, problem.baseline_metric, problem.validation_metric, *problem.headline} <= set(score)
    assert problem.baseline_metric in scored.baselines()
    assert registry.get_metric(problem.baseline_metric).baseline is not None
    assert set(scored.differences(scored, 0)) <= set(score)
    detail = describe(samples, problem, scored, target.labels, ("image", "audio"))
    assert (detail.problem, detail.slices[0].value, detail.slices[0].n) == (problem.name, "image", 4)
    assert all(row.media == {"image": "m"} for row in detail.mistakes)
    contract = problem.output_contract(targets.columns[0])
    assert contract.width == targets.outputs
    assert set(problem.score_texts(cells, cells)) <= set(score)
    assert problem.find_gaps("label", Counter((cell, split) for split in ("train", "val") for cell in cells)) == []
    assert problem.find_gaps("label", {(cells[0], "train"): 3})
    words = (
        problem.describe_model("image", 2),
        problem.count_labels(target),
        problem.model_noun,
        problem.mistakes_title,
    )
    assert all(words)


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_every_problem_answers_for_itself(name: str) -> None:
    assert_answers(get_problem(name))


def test_another_problem_needs_its_object_and_its_line(count: Count) -> None:
    assert_answers(count)
    assert read_label("-1", "n", "count")[1] == ("bad-label", "column 'n': '-1' counts nothing")
    config = load_config({}, ['data.columns.labels=["kind","n:count"]'])
    assert [(column.name, column.problem) for column in label_columns(config.data)] == [
        ("kind", "multiclass"),
        ("n", "count"),
    ]


def test_an_unknown_problem_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"problem 'ordinal': unknown; this version has multiclass, multilabel, regression"
    ):
        problem_of(Target(name="label", problem="ordinal"))
    write_card(tmp_path, ["a"], targets=[{"name": "label", "problem": "ordinal", "labels": ["a"]}])
    with pytest.raises(DataError, match=r"model\.json: damaged \(targets\.0: problem 'ordinal' is unknown"):
        read_card(tmp_path)
    with pytest.raises(UsageError, match=r"'data.problem' = 'regresion' .*did you mean 'regression'\?"):
        load_config({}, ["data.problem=regresion"])
    columns = RunConfig.model_validate({"data": {"columns": {"labels": ["age:regresion"]}}}).data
    with pytest.raises(UsageError, match=r"'age:regresion': 'regresion' is no problem; did you mean 'regression'\?"):
        label_columns(columns)
