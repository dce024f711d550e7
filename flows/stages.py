"""The stages of a run as the pipeline calls them: a signature each, kept by the plain functions and by Prefect's tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from data_contracts.audit import FoldRef, ViewRef
from data_contracts.explanations import ExplanationPartRef, ExplanationRef, PartName
from data_contracts.refs import (
    AuditRef,
    ChampionRef,
    CheckpointRef,
    CleanRef,
    EvalReport,
    FeatureRef,
    InputName,
    MonitorReport,
    PreparedChampion,
    RawRef,
    ReleaseRef,
    ValidatedRef,
    Verdict,
)
from data_contracts.run_summary import ExtractedOn
from data_contracts.translation import PairRef
from tasks import progress
from tasks.audit.audit import audit
from tasks.audit.out_of_fold import fit_fold
from tasks.audit.views import make_view
from tasks.config import RunConfig
from tasks.evaluate.evaluate import evaluate
from tasks.explain.explain import explain
from tasks.explain.parts import make_part
from tasks.extract.extract import Splits, extract_shard
from tasks.extract.shards import ShardRef
from tasks.gate.gate import gate
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.publish.publish import PublishInputs, publish
from tasks.store import Store
from tasks.train.request import TrainRequest
from tasks.train.train import train
from tasks.translate.pair import fit_pair
from tasks.translate.shards import GenerationShard, generate_shard
from tasks.validate.manifest_and_predictions import validate_manifest, validate_predictions
from tasks.validate.outcome import TableCheck
from tasks.validate.validate import FeaturesCheck, validate_features, validate_samples

Features = dict[InputName, FeatureRef]


class Scan(Protocol):
    """The manifest at `data` as a table: named, typed, digested."""

    def __call__(self, config: RunConfig, store: Store, data: Path) -> RawRef: ...


class Ingest(Protocol):
    """The cleaned samples of a manifest, and the rows that were not used."""

    def __call__(self, raw: RawRef, config: RunConfig, store: Store) -> CleanRef: ...


class ValidateManifest(Protocol):
    """The raw table met its contract."""

    def __call__(self, raw: RawRef, store: Store) -> TableCheck: ...


class ValidateSamples(Protocol):
    """Samples that met their contract."""

    def __call__(self, clean: CleanRef, config: RunConfig, store: Store) -> ValidatedRef: ...


class Extract(Protocol):
    """The shards' features are in the store, computed where the config says; where that was, unless in this process."""

    def __call__(self, shards: list[ShardRef], config: RunConfig, store: Store) -> ExtractedOn | None: ...


class ValidateFeatures(Protocol):
    """The features of every modality met their contract."""

    def __call__(
        self, valid: ValidatedRef, features: Features, config: RunConfig, store: Store, *, splits: Splits = ()
    ) -> FeaturesCheck: ...


class Train(Protocol):
    """A checkpoint of these rows, features and settings."""

    def __call__(self, request: TrainRequest, store: Store) -> CheckpointRef: ...


class Evaluate(Protocol):
    """Figures on the test rows, beside the champion's on the same ones."""

    def __call__(
        self,
        valid: ValidatedRef,
        features: Features,
        checkpoint: CheckpointRef,
        prepared_champion: PreparedChampion | None,
        config: RunConfig,
        store: Store,
    ) -> EvalReport: ...


class ValidatePredictions(Protocol):
    """The predictions of an evaluation met their contract."""

    def __call__(self, report: EvalReport, checkpoint: CheckpointRef, store: Store) -> TableCheck: ...


class Gate(Protocol):
    """The verdict on a candidate."""

    def __call__(self, report: EvalReport, config: RunConfig, store: Store) -> Verdict: ...


class Publish(Protocol):
    """A candidate that passed is a verified version of the registry, under its alias."""

    def __call__(
        self, inputs: PublishInputs, config: RunConfig, store: Store, tracking_uri: str, run_id: str
    ) -> ReleaseRef: ...


class Monitor(Protocol):
    """New samples against those that the champion was published with."""

    def __call__(
        self, clean: CleanRef, features: Features, champion: ChampionRef, config: RunConfig, store: Store
    ) -> MonitorReport: ...


def extract_plainly(shards: list[ShardRef], config: RunConfig, store: Store) -> ExtractedOn | None:
    """Computes shards one after the other, or on a cluster."""
    if config.extract.engine == "ray" and shards:
        from tasks.extract.on_ray.engine import Extraction

        with Extraction(shards, config, store) as extraction:
            for done, _ in enumerate(extraction.run(), start=1):
                progress.report("extract", done, len(shards), "shards")
            return extraction.extracted_on()
    for done, shard in enumerate(shards, start=1):
        extract_shard(shard, store)
        progress.report("extract", done, len(shards), "shards")
    return None


def train_here(request: TrainRequest, store: Store) -> CheckpointRef:
    """Trains in this process, where a debugger can follow."""
    return train(request, store, isolate=False)


@dataclass(frozen=True)
class Stages:
    """How each stage is called; flows/prefect_stages.py puts Prefect's tasks in the place of these functions."""

    scan: Scan = scan
    ingest: Ingest = ingest
    validate_manifest: ValidateManifest = validate_manifest
    validate_samples: ValidateSamples = validate_samples
    extract: Extract = extract_plainly
    validate_features: ValidateFeatures = validate_features
    train: Train = train_here
    evaluate: Evaluate = evaluate
    validate_predictions: ValidatePredictions = validate_predictions
    gate: Gate = gate
    publish: Publish = publish


class MakeView(Protocol):
    """The rows as vectors by one input."""

    def __call__(
        self,
        name: InputName,
        valid: ValidatedRef,
        pool: CleanRef | None,
        feature: FeatureRef,
        config: RunConfig,
        store: Store,
    ) -> ViewRef: ...


class FitFold(Protocol):
    """What a model of the other folds says of one fold's rows."""

    def __call__(
        self,
        view: ViewRef,
        fold: int,
        valid: ValidatedRef,
        pool: CleanRef | None,
        config: RunConfig,
        store: Store,
    ) -> FoldRef: ...


class Audit(Protocol):
    """What is odd about the rows."""

    def __call__(
        self,
        valid: ValidatedRef,
        pool: CleanRef | None,
        raw: RawRef,
        views: dict[InputName, ViewRef],
        folds: tuple[FoldRef, ...],
        config: RunConfig,
        store: Store,
    ) -> AuditRef: ...


@dataclass(frozen=True)
class AuditStages:
    """How each part of an audit is called; flows/prefect_stages.py puts Prefect's tasks in the place of these functions."""

    view: MakeView = make_view
    fold: FitFold = fit_fold
    audit: Audit = audit


class MakePart(Protocol):
    """One chunk of what an explanation is made of."""

    def __call__(
        self,
        part: PartName,
        number: int,
        prepared: PreparedChampion,
        answers: ExplanationPartRef | None,
        config: RunConfig,
        store: Store,
    ) -> ExplanationPartRef: ...


class Explain(Protocol):
    """What a model's answers rest on."""

    def __call__(
        self, prepared: PreparedChampion, parts: tuple[ExplanationPartRef, ...], config: RunConfig, store: Store
    ) -> ExplanationRef: ...


@dataclass(frozen=True)
class ExplainStages:
    """How each part of an explanation is called, as AuditStages."""

    part: MakePart = make_part
    explain: Explain = explain


class GenerateShard(Protocol):
    """The outputs of a shard are in the store; how many were made now."""

    def __call__(self, shard: GenerationShard, store: Store) -> int: ...


class FitTranslationPair(Protocol):
    """A space that two inputs share."""

    def __call__(
        self, valid: ValidatedRef, source: FeatureRef, target: FeatureRef, config: RunConfig, store: Store
    ) -> PairRef: ...


@dataclass(frozen=True)
class TranslateStages:
    """How each part is called; flows/prefect_stages.py puts Prefect's tasks in the place of these functions."""

    generate: GenerateShard = generate_shard
    pair: FitTranslationPair = fit_pair
