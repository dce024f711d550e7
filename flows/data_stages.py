"""From a manifest to features: the stages that every kind of run begins with."""

from __future__ import annotations

from data_contracts.refs import CleanRef, RawRef, Target, ValidatedRef
from flows.request import Request
from flows.results import reasons_of
from flows.run_state import RunState
from flows.stages import Features, Stages
from tasks import run_log
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.extract.extract import collect_features, plan_shards
from tasks.ingest.sources.resolve import locate_data
from tasks.labels import require_fitting
from tasks.publish.registry import fetch_champion
from tasks.samples import Samples
from tasks.store import Store
from tasks.validate.trainable import trainable_problems


def prepare(request: Request, config: RunConfig, stages: Stages, run_state: RunState) -> ValidatedRef:
    """Manifest to validated samples."""
    store = request.store
    with run_state.timed("ingest"):
        raw = run_state.raw = with_earlier(stages.scan(config, store, locate_data(config, store)), request)
        require_fitting(config, raw.targets)
        clean = run_state.clean = stages.ingest(raw, config, store)
    run_log.log_rows(clean, reasons_of(store, clean, None), run_state.reused(clean))
    with run_state.timed("validate"):
        run_state.note("manifest", stages.validate_manifest(raw, store))
        valid = stages.validate_samples(clean, config, store)
    run_log.log_validated(valid)
    run_state.docs["samples"] = valid.docs
    return valid


def with_earlier(raw: RawRef, request: Request) -> RawRef:
    """The table with the champion, whose groups keep their split, where the config divides so and there is one."""
    config = request.config
    if config.split.by != "stratified-group":
        return raw
    champion = fetch_champion(
        request.name, config.publish.alias, request.store, request.tracking_uri, request.verify_key
    )
    return raw.model_copy(update={"earlier": champion})


def require_trainable(samples: Samples, min_test_per_class: int, targets: tuple[Target, ...]) -> None:
    """Raises DataError when the samples cannot be trained on: a split or a second class is missing, say."""
    problems = trainable_problems(samples, min_test_per_class, targets)
    if problems:
        raise DataError("; ".join(problems))


def extract_features(
    samples: ValidatedRef | CleanRef, config: RunConfig, store: Store, stages: Stages, run_state: RunState
) -> Features:
    """Features of every modality; only media that are new are computed."""
    with run_state.timed("extract"):
        shards = plan_shards(samples, config, store)
        stages.extract(shards, store)
        features = collect_features(samples, config, store, shards)
    run_log.log_features(features.values())
    if isinstance(samples, ValidatedRef):
        with run_state.timed("validate"):
            run_state.note("features", stages.validate_features(samples, features, config, store))
    return features
