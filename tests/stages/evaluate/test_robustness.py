"""Corrupted test rows: read as those of the store are, the same for both models and in every run, and held to rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from data_contracts.refs import ChampionRef, CheckpointRef, CleanRef, PreparedChampion, RowCounts, ValidatedRef
from data_contracts.slices import SLICES, SliceReport
from data_contracts.tables import media_schema, samples_schema
from tasks.config import RunConfig, load_config
from tasks.errors import UsageError
from tasks.evaluate.evaluate import evaluate, evaluate_key
from tasks.evaluate.inference_cost import find_meter, measure_inference
from tasks.evaluate.robustness import MediaModel, _corrupt
from tasks.evaluate.rule_checks import require_rules_fit
from tasks.evaluate.slice_figures import asked_corruptions
from tasks.extract.extract import collect_features, extract_shard, plan_shards
from tasks.gate.gate import evaluate_rules
from tasks.media.canonical import Canonical
from tasks.media.media_store import media_fingerprint, media_kind
from tasks.modalities import MODALITIES
from tasks.modeling.card import read_card
from tasks.modeling.inference import predict_probabilities
from tasks.modeling.package import build_model, describe_model, load_model, save_model
from tasks.modeling.training_rows import ROWS, write_rows
from tasks.samples import Samples
from tasks.store import Store, digest_json
from tests.support.data import TINY

COUNT = 24
OFF = ("encoders.audio=off", "encoders.video=off", "encoders.tabular=off", "evaluate.robustness_rows=20")
RULE = '{metric="accuracy", corruption="text/typos", severity=3, '


def config_of(*settings: str) -> RunConfig:
    return load_config({}, [*TINY, *OFF, *settings])


def put_media(store: Store, config: RunConfig) -> dict[str, list[str]]:
    """A picture and a text for each row; the last row has no picture."""
    rng, found = np.random.default_rng(0), {}
    pictures = [rng.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(COUNT)]
    texts = [f"the text of number {number}" for number in range(COUNT)]
    media = {
        "image": [Canonical(each.shape, each.tobytes()) for each in pictures],
        "text": [Canonical((len(each),), each.encode()) for each in texts],
    }
    for modality, all_ in media.items():
        rows = [
            {"source": f"{modality}{n}", "digest": one.digest, "shape": list(one.shape), "data": one.data}
            for n, one in enumerate(all_)
        ]
        kind = media_kind(modality, media_fingerprint(modality, config.media))  # type: ignore[arg-type]
        store.put_part(kind, "part", pa.Table.from_pylist(rows, schema=media_schema()))
        found[modality] = [one.digest for one in all_]
    return found


class Case:
    """An untrained model of pictures and texts, and 24 test rows."""

    def __init__(self, folder: Path) -> None:
        self.store, config = Store(folder), config_of()
        cells: dict[str, Any] = put_media(self.store, config)
        columns = {
            "id": [f"r{n}" for n in range(COUNT)], "label": ["a", "b", "c"] * (COUNT // 3), "split": ["test"] * COUNT,
            "weight": [1.0] * COUNT, "row": list(range(COUNT)), "text": cells["text"], "image": [*cells["image"][:-1], None],
        }  # fmt: skip
        names = samples_schema().names
        table = pa.table({n: columns.get(n, pa.nulls(COUNT, pa.string())) for n in names}, schema=samples_schema())
        self.store.path("samples").mkdir(parents=True)
        pq.write_table(table, self.store.path("samples/samples.parquet"))
        clean = CleanRef(
            uri="samples", sha256="1" * 64, rows=COUNT, labels=("a", "b", "c"), modalities=("image", "text"),
            counts=RowCounts(rows_in=COUNT, used=COUNT, quarantined=0, duplicates=0), splits={"test": COUNT},
            media={name: media_fingerprint(name, config.media) for name in ("image", "text")},  # type: ignore[arg-type]
        )  # fmt: skip
        self.valid = ValidatedRef(uri="samples", sha256="2" * 64, rows=COUNT, clean=clean, docs="docs")
        shards = plan_shards(self.valid, config, self.store)
        for shard in shards:
            extract_shard(shard, self.store)
        self.features = collect_features(self.valid, config, self.store, shards)
        torch.manual_seed(0)
        card = describe_model(self.valid, self.features, config)
        self.store.path("model").mkdir()
        save_model(build_model(card), self.store.path("model"), card)
        self.checkpoint = CheckpointRef(
            uri="model", sha256="3" * 64, rows=1, model_sha256="3" * 64, train_key="3" * 64, modalities=("image", "text"),
            labels=("a", "b", "c"), best_epoch=1, epochs=1,
        )  # fmt: skip

    @property
    def samples(self) -> Samples:
        return Samples.read(self.store.path("samples"))

    def slices(self, config: RunConfig, champion: PreparedChampion | None = None) -> SliceReport:
        report = evaluate(self.valid, self.features, self.checkpoint, champion, config, self.store)
        return SliceReport.model_validate_json((self.store.path(report.uri) / SLICES).read_text())


@pytest.fixture(name="case", scope="module")
def _case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("robustness"))


def test_media_that_stay_as_they_are_are_answered_as_from_the_store(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(MODALITIES["image"]), "corrupt", lambda self, medium, *of: medium)
    card = read_card(case.store.path("model"))
    model = MediaModel.of(case.checkpoint, case.valid, case.features, card)
    found = dict(model.outputs(case.samples, "image", [("noise", 1), ("blur", 5)], config_of(), case.store))
    stored = predict_probabilities(load_model(case.store.path("model"), card), case.samples, case.features, case.store)
    assert all(np.array_equal(outputs, stored) for outputs in found.values())


def test_a_rows_corruption_does_not_depend_on_the_other_rows() -> None:
    media = [(np.full((8, 8, 3), 100, np.uint8), 0), None, (np.full((8, 8, 3), 100, np.uint8), 0)]
    whole = _corrupt(media, ["a", "b", "c"], "image", ("noise", 2), seed=0)
    (last,) = _corrupt(media[2:], ["c"], "image", ("noise", 2), seed=0)
    assert whole[1] is None
    assert whole[2] is not None and last is not None and np.array_equal(whole[2][0], last[0])  # noqa: PT018
    assert whole[0] is not None and not np.array_equal(whole[0][0], last[0])  # noqa: PT018
    assert not np.array_equal(_corrupt(media, ["c", "b", "a"], "image", ("noise", 2), seed=1)[0][0], last[0])  # type: ignore[index]


def test_every_corruption_has_a_curve_on_rows_that_have_the_medium(case: Case) -> None:
    found = case.slices(config_of("evaluate.robustness=on"))
    assert [curve.corruption for curve in found.robustness] == ["image/noise", "image/blur", "image/jpeg", "text/typos"]
    assert {(len(curve.levels), *{part.rows for part in curve.levels}) for curve in found.robustness} == {(6, 20)}
    clean = {curve.levels[0].metrics["accuracy"] for curve in found.robustness if curve.corruption != "text/typos"}
    assert len(clean) == 1
    assert all(0.95 in part.intervals for curve in found.robustness for part in curve.levels)


def test_only_what_rules_name_is_measured_unless_all_is_asked_for(case: Case) -> None:
    named = config_of(f"gate.rules=[{RULE}min=0.1}}]")
    assert asked_corruptions(config_of(), ("image", "text")) == []
    assert asked_corruptions(named, ("image", "text")) == ["text/typos"]
    assert asked_corruptions(named, ("image",)) == []
    keys = {
        evaluate_key(case.valid, case.features, case.checkpoint, None, config, case.store)
        for config in (config_of(), named, config_of("evaluate.robustness=on"), config_of("evaluate.robustness=off"))
    }
    assert len(keys) == 3, "off is what auto is without a rule"


def test_the_gate_decides_by_a_severity_and_by_the_champion_on_the_same_media(case: Case) -> None:
    config = config_of(f"gate.rules=[{RULE}min=0.9}},{RULE}max_drop=0.1, confidence=0.9}}]")
    folder = case.store.path("champion")
    if not folder.exists():
        folder.mkdir()
        save_model(load_model(case.store.path("model")), folder, read_card(case.store.path("model")))
        write_rows(case.samples.take(np.arange(0)), folder / ROWS)
    champion = ChampionRef(
        uri="champion", sha256=digest_json("champion"), rows=1, name="m", version="7", model_sha256="3" * 64
    )
    prepared = PreparedChampion(champion=champion, valid=case.valid, features=case.features)
    (curve,) = case.slices(config, prepared).robustness
    other = curve.levels[3].reference
    assert other is not None
    assert (other.rows, other.changes["accuracy"], other.metrics) == (20, 0.0, curve.levels[3].metrics)
    assert curve.levels[2].reference is None, "where no rule compares"
    report = evaluate(case.valid, case.features, case.checkpoint, prepared, config, case.store)
    least, drop = evaluate_rules(report, config.gate, case.store)
    assert (least.rule, least.outcome, least.n) == ("accuracy under text/typos of severity 3 >= 0.9", "fail", 20)
    assert drop.rule == "accuracy under text/typos of severity 3 at most 0.1 worse than the champion at 90 %"
    assert drop.detail.endswith(
        "(difference +0.000 [+0.000, +0.000], at most 0.1 lost), but its interval at 90 % reaches beyond"
    )
    assert (drop.outcome, drop.baseline.partition(":")[0]) == ("inconclusive", "champion version 7"), "no row differs"


def test_a_corruption_that_the_data_cannot_have_ends_the_run_before_training(case: Case) -> None:
    config = config_of('gate.rules=[{metric="accuracy", corruption="audio/noise", severity=1, min=0.5}]')
    with pytest.raises(UsageError, match=r"gate.rules.0: 'audio/noise' is no corruption of these data; did you mean"):
        require_rules_fit(config, case.valid, case.store)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('{metric="accuracy", corruption="image/nois", severity=1, min=0.5}', "did you mean 'image/noise'"),
        ('{metric="accuracy", corruption="image/noise", min=0.5}', "corruption and severity go together"),
        ('{metric="accuracy", severity=2, min=0.5}', "corruption and severity go together"),
        ('{metric="accuracy", corruption="image/noise", severity=6, min=0.5}', "less than or equal to 5"),
        ('{metric="accuracy", corruption="image/noise", severity=1, slice="a=b", min=0.5}', "one of slice, modalities and"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_is_refused(rule: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_config({}, [f"gate.rules=[{rule}]"])


def test_a_rule_needs_what_it_asks_for() -> None:
    with pytest.raises(UsageError, match=r"about text/typos, and evaluate.robustness = off"):
        config_of("evaluate.robustness=off", f"gate.rules=[{RULE}min=0.1}}]")


def test_what_an_answer_costs_is_measured_with_its_size(case: Case, tmp_path: Path) -> None:
    found = measure_inference(case.checkpoint, case.valid, case.features, config_of(), case.store)
    model = load_model(case.store.path("model"))
    assert (found.batch_rows, found.frozen_parameters, found.threads) == (COUNT, 0, 1)
    assert found.parameters == sum(number.numel() for number in model.parameters())
    assert found.size_bytes == (case.store.path("model") / "model.safetensors").stat().st_size
    assert found.row_ms > 0
    assert found.batch_ms > 0


def test_energy_is_summed_over_packages_or_the_reason_is_given(tmp_path: Path) -> None:
    for name, joules in (("intel-rapl:0", 2), ("intel-rapl:0:0", 1), ("intel-rapl:1", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{joules * 1_000_000}\n")
    meter = find_meter(tmp_path)
    assert (meter.read_j(), meter.source) == (7.0, "RAPL, the whole CPU")
    missing = find_meter(tmp_path / "no")
    assert missing.read_j() is None
    assert missing.source.startswith("not readable: no counter of RAPL below ")
