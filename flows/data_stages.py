"""From a manifest to features: the stages that every kind of run begins with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from data_contracts.refs import CheckpointRef, CleanRef, FeatureRef, InputName, RawRef, Target, ValidatedRef
from flows.request import Request
from flows.results import reasons_of
from flows.run_state import RunState
from tasks import run_log
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.extract.extract import Splits, collect_features, plan_shards
from tasks.ingest.sources.resolve import locate_data
from tasks.labels import require_fitting
from tasks.mirrored_labels import why_not_mirrored
from tasks.modalities import spec_of
from tasks.modeling.card import read_card
from tasks.publish.registry import fetch_champion
from tasks.samples import Samples
from tasks.store import Store
from tasks.validate.trainable import trainable_problems

if TYPE_CHECKING:  # which load what every stage needs
    from flows.stages import Features, Stages


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
    samples: ValidatedRef | CleanRef,
    config: RunConfig,
    store: Store,
    stages: Stages,
    run_state: RunState,
    splits: Splits = (),
) -> Features:
    """Features of every modality; only media that are new are computed. With `splits` only those that are averaged over mirror
    images are of interest, of the rows of these splits."""
    with run_state.timed("extract"):
        shards = plan_shards(samples, config, store, splits)
        run_state.extracted_on = stages.extract(shards, config, store) or run_state.extracted_on
        features = collect_features(samples, config, store, shards, splits)
    new = {name: ref for name, ref in features.items() if ref.is_flip_averaged} if splits else features
    run_log.log_features(new.values())
    if isinstance(samples, ValidatedRef) and new:
        with run_state.timed("validate"):
            check = stages.validate_features(samples, new, config, store, splits=splits)
            run_state.note("flipped_features" if splits else "features", check)
    return features


def flipped(config: RunConfig) -> RunConfig:
    """The config under which embeddings of pictures are averaged with those of their mirror images."""
    return config.model_copy(update={"encoders": config.encoders.model_copy(update={"test_time_flip": "on"})})


def tries_flip(targets: Sequence[Target], names: Iterable[InputName], config: RunConfig) -> bool:
    """Whether a training on these label columns and inputs will try test_time_flip on the validation rows."""
    if config.encoders.test_time_flip != "auto" or why_not_mirrored(targets, config.train) is not None:
        return False
    return any(spec_of(name).has_pixels and config.encoders.of(name) != "off" for name in names)


def add_flipped(
    valid: ValidatedRef,
    features: Features,
    config: RunConfig,
    stages: Stages,
    run_state: RunState,
    store: Store,
    splits: Splits,
) -> Features:
    """The features with those that are averaged over mirror images beside them, of the rows of these splits; they count what
    this run has computed, now or before its training."""
    found = extract_features(valid, flipped(config), store, stages, run_state, splits)
    return {
        name: ref.model_copy(update={"test_time": _counted(found[name], ref.test_time)})
        if found[name].is_flip_averaged
        else ref
        for name, ref in features.items()
    }


def _counted(ref: FeatureRef, before: FeatureRef | None) -> FeatureRef:
    if before is None:
        return ref
    return ref.model_copy(update={"computed": ref.computed + before.computed, "reused": ref.reused - before.computed})


def extract_to_train(
    valid: ValidatedRef, config: RunConfig, store: Store, stages: Stages, run_state: RunState
) -> Features:
    """What training reads: of the validation rows under test_time_flip = auto also what a model that uses it would read."""
    features = extract_features(valid, config, store, stages, run_state)
    if not tries_flip(valid.clean.label_targets, valid.clean.modalities, config):
        return features
    return add_flipped(valid, features, config, stages, run_state, store, ("val",))


def extract_to_evaluate(
    checkpoint: CheckpointRef,
    valid: ValidatedRef,
    features: Features,
    config: RunConfig,
    store: Store,
    stages: Stages,
    run_state: RunState,
) -> Features:
    """The features that training read, and what the model reads of the test rows where it chose test_time_flip."""
    if config.encoders.test_time_flip != "auto":  # else nothing was chosen
        return features
    specs = read_card(store.path(checkpoint.uri)).encoders
    if not any(
        specs[name].test_time_flip and specs[name].reads == "embedding" and not features[name].is_flip_averaged
        for name in checkpoint.modalities
    ):
        return features
    return add_flipped(valid, features, config, stages, run_state, store, ("val", "test"))
