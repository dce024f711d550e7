"""How rows are divided, what each part's figures are, and where errors are found without being asked."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.refs import CleanRef, RowCounts, ValidatedRef
from data_contracts.slices import SliceBy
from data_contracts.tables import media_schema, metadata_schema, samples_schema
from tasks.config import RunConfig, load_config
from tasks.errors import UsageError
from tasks.evaluate.rule_checks import require_rules_fit
from tasks.evaluate.slice_figures import BesideChampion, Measured
from tasks.evaluate.slices import Partition, find_partitions
from tasks.evaluate.suspected_slices import find_suspected_slices
from tasks.media.media_store import media_kind
from tasks.problems.multiclass_metrics import ClassScorer
from tasks.samples import Samples
from tasks.store import Store, digest_json


def scorer(truth: np.ndarray, right: np.ndarray, classes: int = 2) -> ClassScorer:
    return ClassScorer(
        np.full((len(truth), classes), 1 / classes), truth, np.where(right, truth, (truth + 1) % classes)
    )


def put(store: Store, cells: list[dict[str, Any]], splits: list[str], sizes: list[int | None]) -> ValidatedRef:
    """Samples with these metadata and texts of these sizes; None: a row without text."""
    rows, uri = len(cells), "clean/k"
    columns: dict[str, Any] = {
        "id": [f"s{n}" for n in range(rows)], "label": ["a"] * rows, "split": splits, "weight": [1.0] * rows,
        "row": list(range(rows)), "image": ["i"] * rows, "text": [size and f"t{size}" for size in sizes],
    }  # fmt: skip
    schema = samples_schema()
    table = pa.table({name: columns.get(name, pa.nulls(rows, pa.string())) for name in schema.names}, schema=schema)
    store.path(uri).mkdir(parents=True)
    pq.write_table(table, store.path(uri) / "samples.parquet")
    own = {"id": columns["id"], "metadata": [json.dumps(row) if row else None for row in cells]}
    pq.write_table(pa.table(own, schema=metadata_schema()), store.path(uri) / "metadata.parquet")
    digest = digest_json("media")
    media = [{"source": f"{n}", "digest": f"t{size}", "shape": [size]} for n, size in enumerate(sizes) if size]
    media.append({"source": "bad", "digest": None, "shape": None})  # it did not decode
    store.put_part(media_kind("text", digest), "p", pa.Table.from_pylist(media, schema=media_schema()))
    clean = CleanRef(
        uri=uri, sha256=digest, rows=rows, labels=("a",), modalities=("image", "text"), media={"text": digest},
        counts=RowCounts(rows_in=rows, used=rows, quarantined=0, duplicates=0), splits={},
    )  # fmt: skip
    return ValidatedRef(uri=uri, sha256=digest, rows=rows, clean=clean, docs="d")


def divide(store: Store, cells: list[dict[str, Any]], sizes: list[int | None], *settings: str) -> dict[str, Partition]:
    """The first half of the rows is train, the other half test."""
    half = len(cells) // 2
    valid = put(store, cells, ["train"] * half + ["test"] * half, sizes)
    samples = Samples.read(store.path(valid.uri))
    found = find_partitions(
        valid, samples, np.arange(half, 2 * half), ("image", "text"), load_config({}, settings), store
    )
    return {each.by.name: each for each in found}


def test_rows_by_a_column_a_combination_and_quartiles_of_the_train_rows(tmp_path: Any) -> None:
    train: list[dict[str, Any]] = [
        {"speaker": "ann", "age": 10 * n, "lit": n % 2 == 0, "camera": n % 3} for n in range(10)
    ]
    test: list[dict[str, Any]] = [
        {"speaker": "ann", "age": "22.5", "lit": True, "camera": 1}, {"speaker": "bob", "age": 23, "camera": 2}, {},
        *({"speaker": f"rare {n}", "age": 500, "lit": False} for n in range(7)),
    ]  # fmt: skip
    settings = ('evaluate.slices=["speaker", "age", "camera", "speaker + lit"]', "evaluate.max_slice_values=3")
    asks = 'gate.rules=[{metric="accuracy", min=0, slice="speaker=rare 6"}]'
    found = divide(Store(tmp_path), [*train, *test], [10] * 20, *settings, asks)
    assert list(found) == ["speaker", "age", "camera", "speaker+lit"], "all texts are of one size, in all rows"
    speaker, age, camera, both = found.values()
    assert speaker.values.tolist() == ["(missing)" if n == 2 else "ann" if n == 0 else "rare 6" if n == 9 else "(others)"
                                       for n in range(10)]  # fmt: skip
    assert speaker.by.others == 7
    assert "rare 0" in speaker.known
    assert age.by.edges == (22.5, 45.0, 67.5)
    assert age.values.tolist() == ["q1", "q2", "(missing)", *["q4"] * 7]
    assert [age.describe(value) for value in ("q1", "q2", "q4")] == ["q1 (22.5 or less)", "q2 (over 22.5 to 45)",
                                                                    "q4 (over 67.5)"]  # fmt: skip
    assert set(camera.values) == {"1", "2", "(missing)"}, "few numbers stay what they are"
    assert both.values.tolist()[:4] == ["ann+true", "bob+(missing)", "(missing)+(missing)", "(others)"]


def test_a_few_other_words_do_not_make_a_column_of_numbers_one_of_texts(tmp_path: Any) -> None:
    ages: list[Any] = [*range(10, 20), "unknown", *range(10, 18), 99, "q1", None]
    found = divide(Store(tmp_path), [{"age": age} for age in ages], [10] * 22, 'evaluate.slices=["age"]')["age"]
    assert found.by.edges == (12.25, 14.5, 16.75)
    assert found.values.tolist() == ["q1"] * 3 + ["q2"] * 2 + ["q3"] * 2 + ["q4", "q4", r"\q1", "(missing)"]
    assert "unknown" in found.known
    assert found.numbers is not None
    assert np.isnan(found.numbers).sum() == 2
    mixed = [{"age": age} for age in [*range(8), *"abcdefghijkl"]]
    assert divide(Store(tmp_path / "b"), mixed, [10] * 20, 'evaluate.slices=["age"]')["age"].by.edges == ()


def test_no_value_with_rows_enough_vanishes_among_others(tmp_path: Any) -> None:
    test = [{"speaker": f"s{n % 6}"} for n in range(18)] + [{"speaker": "seldom"}]
    own = {"s0", "s1", "s2", "s3", "s4", "s5", "(others)"}

    def values(*settings: str) -> Partition:
        store = Store(tmp_path / str(len(list(tmp_path.iterdir()))))
        few = ('evaluate.slices=["speaker"]', "evaluate.max_slice_values=2")
        return divide(store, [*[{}] * 19, *test], [10] * 38, *few, *settings)["speaker"]

    enough = values("gate.min_slice_rows=3")
    assert ({*enough.values.tolist()}, enough.by.others) == (own, 1)
    asked = values('gate.rules=[{metric="accuracy", min=0.5, slice="speaker=*", support=3}]')
    assert {*asked.values.tolist()} == own
    assert {*values().values.tolist()} == {"s0", "s1", "(others)"}


def test_values_that_look_alike_are_told_apart(tmp_path: Any) -> None:
    test: list[dict[str, Any]] = [
        {"a": "x", "b": "y+z", "n": 2**53 + 1, "t": "(missing)", "long": "w" * 200},
        {"a": "x+y", "b": "z", "n": 2**53 + 2, "long": "w" * 201},
        {"a": "x\\", "b": "z", "n": 1, "t": "*", "long": "w"},
    ]
    found = divide(Store(tmp_path), [*[{}] * 3, *test], [10] * 6, 'evaluate.slices=["a+b", "n", "t", "long"]')
    assert found["a+b"].values.tolist() == ["x+y\\+z", "x\\+y+z", "x\\\\+z"]
    assert found["n"].values.tolist() == [str(2**53 + 1), str(2**53 + 2), "1"]
    assert found["t"].values.tolist() == ["\\(missing)", "(missing)", "\\*"]
    assert len({*found["long"].values.tolist()}) == 3
    assert max(map(len, found["long"].values.tolist())) < 120


@pytest.mark.parametrize("name", ["modalities", "text.size", "a=b", "a + b=c"])
def test_a_slice_that_no_rule_could_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a slice"):
        load_config({}, [f"evaluate.slices={[name]}".replace("'", '"')])


def test_rows_by_what_is_present_and_by_size_need_no_setting(tmp_path: Any) -> None:
    sizes: list[int | None] = [1, 2, 3, 4, None, 9, 1, 2, 3, None, 4, 400]
    found = divide(Store(tmp_path), [{}] * 12, sizes)
    assert list(found) == ["modalities", "text.size"]
    assert found["modalities"].values.tolist() == ["image+text"] * 3 + ["image"] + ["image+text"] * 2
    assert (found["text.size"].by.edges, found["text.size"].by.unit) == ((2.0, 3.0, 4.0), "characters")
    assert found["text.size"].values.tolist() == ["q1", "q1", "q2", "(missing)", "q3", "q4"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("slice='speaker=anm'", ["'anm' is no value of speaker", "did you mean 'ann'"]),
        ("slice='text.sise=q1'", ["'text.sise'", "did you mean 'text.size'"]),
        ("slice='audio.size=q1'", ["'audio.size' is no slice of these rows"]),
        ("modalities='image+audio'", ["'audio' is no modality of these data", "'image', 'text'"]),
    ],
)
def test_a_rule_about_what_the_data_do_not_have(rule: str, words: list[str], tmp_path: Any) -> None:
    store = Store(tmp_path)
    valid = put(store, [{"speaker": "ann"}, {"speaker": "bob"}] * 4, ["train", "test"] * 4, [1, 2, 3, 4, 5, 6, 7, 8])
    config = load_config({}, [f'gate.rules=[{{metric="accuracy", min=0, {rule}}}]'])
    if "sise" in rule:  # is taken for a column, which reading the manifest refuses
        assert config.slices == ("text.sise",)
        return
    with pytest.raises(UsageError) as error:
        require_rules_fit(config, valid, store)
    assert all(word in str(error.value) for word in words)
    require_rules_fit(load_config({}, ['gate.rules=[{metric="accuracy", min=0, slice="speaker=bob"}]']), valid, store)


def partition(name: str, values: list[str], numbers: list[float] | None = None) -> Partition:
    cells = np.array(values)
    return Partition(
        SliceBy(name=name), cells, {}, frozenset(values), None if numbers is None else np.array(numbers), True
    )


def test_figures_of_every_value_beside_the_champions() -> None:
    """Of 40 rows of ann the candidate loses 10; of bob's 40, in 4 clusters, none; of eve there are too few."""
    truth = np.arange(90) % 2
    right = ~np.isin(np.arange(90), np.arange(10))
    speakers = partition("speaker", ["ann"] * 40 + ["bob"] * 40 + ["eve"] * 10)
    config = RunConfig.model_validate({"gate": {"rules": [
        {"metric": "accuracy", "max_drop": 0.1, "slice": "speaker=ann", "confidence": 0.9},
        {"metric": "accuracy", "min": 0.1, "slice": "speaker=*", "confidence": 0.8},
        {"metric": "accuracy", "min": 0.1, "modalities": "image"},
    ]}})  # fmt: skip
    pair = (scorer(truth, right), scorer(truth, truth >= 0))
    clusters = np.where(np.arange(90) < 40, np.arange(90), 36 + np.arange(90) // 10)
    beside = BesideChampion("3", pair, np.arange(90), None)
    found = Measured(pair[0], clusters, beside, config).report([speakers], {"image": pair[1], "text": pair[1]}, [])
    ann, bob, eve = found.slices
    assert [(each.name, each.rows, each.clusters, each.metrics["accuracy"]) for each in found.slices] == [
        ("speaker=ann", 40, None, 0.75), ("speaker=bob", 40, 4, 1.0), ("speaker=eve", 10, 1, 1.0),
    ]  # fmt: skip
    assert [sorted(each.intervals) for each in found.slices] == [[0.8, 0.95], [0.8, 0.95], [0.8]]
    assert ann.reference is not None
    assert (ann.reference.changes["accuracy"], ann.reference.p) == (-0.25, pytest.approx(2 / 2**10))
    low, high = ann.reference.intervals[0.9]["accuracy"]
    assert low < -0.25 < high < 0
    assert bob.reference is not None
    assert (bob.reference.p, bob.reference.intervals) == (1.0, {})
    assert eve.reference is not None
    assert eve.reference.p is None
    assert list(found.inputs) == ["image"]
    assert found.inputs["image"].reference is not None
    assert found.inputs["image"].reference.changes["accuracy"] == pytest.approx(10 / 90)
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_a_slice_that_nobody_named_is_found_on_other_rows() -> None:
    generator = np.random.default_rng(0)
    speakers, sizes = generator.choice(["ann", "bob"], 800), generator.integers(0, 100, 800).astype(float)
    bad = (speakers == "ann") & (sizes > 70)
    right = generator.random(800) < np.where(bad, 0.4, 0.95)
    of = [partition("speaker", speakers.tolist()), partition("text.size", ["q1"] * 800, sizes.tolist())]
    answers = scorer(np.arange(800) % 2, right)
    worst, *others = find_suspected_slices(of, answers, None, 20, 0)
    assert len(worst.conditions) == 2, "ann, and long texts"
    assert any(text.startswith("text.size > 7") or text.startswith("text.size > 6") for text in worst.conditions)
    assert worst.conditions[0] in ("speaker = ann", "speaker ≠ bob") or worst.conditions[1] in (
        "speaker = ann",
        "speaker ≠ bob",
    )
    assert worst.error > 0.4
    assert worst.rest < 0.15
    assert worst.p < 1e-6
    assert all(leaf.p > 0.01 for leaf in others)
    equal = scorer(np.arange(800) % 2, generator.random(800) < 0.9)
    assert all(leaf.p > 0.05 for leaf in find_suspected_slices(of, equal, np.arange(800) // 4, 20, 0))
    assert find_suspected_slices(of, scorer(np.arange(800) % 2, np.ones(800, bool)), None, 20, 0) == []
    assert find_suspected_slices(of, answers, None, 300, 0) == [], "too few rows to halve"
