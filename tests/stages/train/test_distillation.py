"""A teacher's part of the loss by value, and a student that learns what the teacher says rather than the labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from data_contracts.compression import Distillation, TeacherRef
from data_contracts.refs import Target
from tasks.errors import EnvironmentFailed
from tasks.modeling.inference import predict_probabilities
from tasks.modeling.package import load_model
from tasks.modeling.targets import Targets
from tasks.samples import Samples
from tasks.train.distillation import load_teacher, similarity_loss, soft_loss
from tasks.train.train import train, train_key

CLASSES = Targets((Target(name="label", labels=("a", "b", "c")),))
MIXED = Targets(
    (
        Target(name="kind", labels=("a", "b")),
        Target(name="tags", problem="multilabel", labels=("x", "y")),
        Target(name="size", problem="regression", mean=3.0, std=2.0),
    )
)
ONE_BATCH = (
    *("train.batch_size=16", "train.learning_rate=0.01", "train.weight_decay=0", "train.label_smoothing=0"),
    *("train.augment=false", "train.ema_decay=0", "fusion.dropout=0", "fusion.modality_dropout=0"),
    *("train.epochs=40", "train.unimodal_loss_weight=0", "train.temperature_scaling=off"),
)


def put_teacher(world: Any, outputs: np.ndarray, alpha: float = 1.0, temperature: float = 2.0) -> Distillation:
    """What a teacher says of the train and val rows, in the store; without fused features."""
    ids = Samples.read(world.store.path(world.valid.uri)).of_split("train", "val").sorted_by_id().ids
    table = pa.table({"id": ids, "outputs": pa.array(list(outputs.astype(np.float32)), pa.list_(pa.float32()))})
    with world.store.create("teachers", "t") as draft:
        pq.write_table(table, draft.path / "teacher.parquet")
        teacher = TeacherRef(uri="teachers/t", sha256="1" * 64, rows=len(ids), parents=(), model_sha256="0" * 64)
        draft.ref = teacher.model_dump(mode="json")
    return Distillation(teacher=teacher, temperature=temperature, alpha=alpha, features_weight=0.0)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_of_classes_it_is_the_divergence_of_softened_shares(temperature: float) -> None:
    torch.manual_seed(0)
    ours, theirs, weights = torch.randn(6, 3), torch.randn(6, 3), torch.rand(6)
    found = soft_loss(ours, theirs.softmax(dim=1), weights, CLASSES, temperature)
    each = functional.kl_div(
        (ours / temperature).log_softmax(dim=1), (theirs / temperature).softmax(dim=1), reduction="none"
    ).sum(dim=1)
    assert found.item() == pytest.approx(temperature**2 * (each * weights).mean().item(), rel=1e-4)


@pytest.mark.parametrize("targets", [CLASSES, MIXED], ids=["classes", "classes, sets and numbers"])
def test_it_is_nothing_where_the_student_says_what_the_teacher_does(targets: Targets) -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, targets.outputs)
    outputs, weights = targets.activate(logits), torch.ones(6)
    assert soft_loss(logits, outputs, weights, targets, 3.0).item() == pytest.approx(0, abs=1e-5)
    for column in range(targets.outputs):  # and of each column something where it does not
        other = logits.clone()
        other[:, column] += 1.0
        assert soft_loss(other, outputs, weights, targets, 3.0).item() > 0.01


def test_rows_are_alike_whatever_the_width_and_direction_of_the_features() -> None:
    torch.manual_seed(0)
    theirs = torch.randn(8, 5)
    turned = torch.linalg.qr(torch.randn(9, 9))[0][:5]
    assert similarity_loss(3.0 * theirs @ turned, theirs).item() == pytest.approx(0, abs=1e-9)
    assert similarity_loss(torch.randn(8, 9), theirs).item() > 0.05


@pytest.mark.slow
def test_the_student_says_what_the_teacher_says_and_not_what_the_labels_do(make_world: Callable[..., Any]) -> None:
    """The teacher calls every class by the name of the next one."""
    world = make_world(*ONE_BATCH)
    samples = Samples.read(world.store.path(world.valid.uri)).of_split("train", "val").sorted_by_id()
    said = np.array(["abc".index(label) for label in samples.labels]) + 1
    outputs = np.eye(3)[said % 3] * 0.94 + 0.02
    for alpha, expected in ((1.0, 1), (0.0, 0)):
        ref = train(world.asked(distillation=put_teacher(world, outputs, alpha)), world.store, isolate=False)
        model = load_model(world.store.path(ref.uri))
        rows = samples.of_split("train")
        answers = predict_probabilities(model, rows, world.features, world.store).argmax(axis=1)
        truth = np.array(["abc".index(label) for label in rows.labels])
        assert (answers == (truth + expected) % 3).mean() >= 15 / 16, alpha


def test_the_key_is_of_what_is_taught_and_not_of_where_it_lies(make_world: Callable[..., Any]) -> None:
    world = make_world()
    taught = put_teacher(world, np.full((20, 3), 1 / 3))
    keys = [train_key(*world.all), train_key(world.asked(distillation=taught), world.store)]
    keys.append(train_key(world.asked(distillation=taught.model_copy(update={"temperature": 3.0})), world.store))
    another = taught.teacher.model_copy(update={"sha256": "2" * 64})
    keys.append(train_key(world.asked(distillation=taught.model_copy(update={"teacher": another})), world.store))
    assert len(set(keys)) == 4
    elsewhere = taught.teacher.model_copy(update={"uri": "teachers/elsewhere"})
    assert train_key(world.asked(distillation=taught.model_copy(update={"teacher": elsewhere})), world.store) == keys[1]


def test_answers_are_found_by_id_and_a_row_without_one_is_an_error(make_world: Callable[..., Any]) -> None:
    world = make_world()
    taught = put_teacher(world, np.arange(60).reshape(20, 3))
    found = load_teacher(taught, ["s03", "s00"], world.store)
    assert found is not None
    assert found.outputs.tolist() == [[9, 10, 11], [0, 1, 2]]
    assert found.fused is None
    with pytest.raises(EnvironmentFailed, match=r"not 1 of those to train on \(for example 's99'\)"):
        load_teacher(taught, ["s00", "s99"], world.store)
    (world.store.path("teachers/t") / "teacher.parquet").unlink()
    with pytest.raises(EnvironmentFailed, match="run compress again"):
        load_teacher(taught, ["s00"], world.store)
