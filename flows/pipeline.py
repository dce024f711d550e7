"""The order of the stages, once, without Prefect: what `--plain` runs and what retrain.py wraps."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pydantic import Field, ValidationError

from data_contracts.modalities import ALL_MODALITIES, modality_of
from data_contracts.refs import (
    ChampionRef,
    CheckpointRef,
    CleanRef,
    Decision,
    EvalReport,
    FeatureRef,
    InputName,
    PreparedChampion,
    RawRef,
    Ref,
    ReleaseRef,
    RunRefs,
    Split,
    Target,
    ValidatedRef,
    Verdict,
)
from flows.request import Request
from flows.results import ask_for_approval, reasons_of, results_in
from tasks import progress, run_log
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.errors import DataError, EnvironmentFailed, PromotionRefused, UsageError
from tasks.evaluate.comparison import require_same_problem
from tasks.evaluate.evaluate import evaluate
from tasks.extract.extract import ShardRef, collect_features, extract_shard, features_fingerprint, plan_shards
from tasks.gate.gate import gate, gate_key
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.ingest.sources.resolve import locate_data
from tasks.labels import require_fitting
from tasks.media.media_store import media_fingerprint
from tasks.modeling.card import read_card, read_targets
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.describe import find_again
from tasks.modeling.pretrained.packaged import is_packaged, packaged_encoder
from tasks.publish.publish import PublishInputs, publish
from tasks.publish.registry import fetch_champion
from tasks.reporting.artifacts import read_history
from tasks.store import Store
from tasks.train.train import train
from tasks.validate.manifest_and_predictions import validate_manifest, validate_predictions
from tasks.validate.outcome import TableCheck
from tasks.validate.trainable import trainable_problems
from tasks.validate.validate import validate_features, validate_samples

Features = dict[InputName, FeatureRef]
Clock = Callable[[], float]


def extract_in_turn(shards: list[ShardRef], store: Store) -> list[str]:
    """Computes shards one after the other."""
    parts = []
    for done, shard in enumerate(shards, start=1):
        parts.append(extract_shard(shard, store))
        progress.report("extract", done, len(shards), "shards")
    return parts


def train_here(
    valid: ValidatedRef, features: Features, config: RunConfig, store: Store, champion: ChampionRef | None
) -> CheckpointRef:
    """Trains in this process, where a debugger can follow."""
    return train(valid, features, config, store, champion, isolate=False)


@dataclass(frozen=True)
class Stages:
    """How each stage is called; retrain.py puts Prefect tasks in their place."""

    scan: Callable[..., RawRef] = scan
    ingest: Callable[..., CleanRef] = ingest
    validate_manifest: Callable[..., TableCheck] = validate_manifest
    validate_samples: Callable[..., ValidatedRef] = validate_samples
    extract: Callable[[list[ShardRef], Store], list[str]] = extract_in_turn
    validate_features: Callable[..., TableCheck] = validate_features
    train: Callable[..., CheckpointRef] = train_here
    evaluate: Callable[..., EvalReport] = evaluate
    validate_predictions: Callable[..., TableCheck] = validate_predictions
    gate: Callable[..., Verdict] = gate
    publish: Callable[..., ReleaseRef] = publish


class RunState(RunRefs, frozen=False):
    """What a run has come to know, filled by its stages; a failed run leaves the later fields empty."""

    splits: dict[Split, int] = Field(default_factory=dict)
    docs: dict[str, str] = Field(default_factory=dict)
    """Table (manifest, samples, features, predictions) to the store path of its Data Docs."""
    warnings: list[str] = Field(default_factory=list)
    """Broken expectations of severity warning on other tables than the samples, whose own are in `valid`."""
    decision: Decision | None = None
    reason: str | None = None
    before: frozenset[str] = frozenset()
    """Store paths of what was there when the run began."""
    seconds: dict[str, float] = Field(default_factory=dict)
    clock: Clock = time.perf_counter
    keep: Callable[[RunRefs], None] = lambda refs: None
    """Called after every stage, so that a run that is killed leaves what it had."""

    def refs(self) -> RunRefs:
        """What the stages have handed on."""
        return RunRefs(**{name: getattr(self, name) for name in RunRefs.model_fields})

    def note(self, table: str, check: TableCheck) -> None:
        """Keeps where a table's Data Docs are, and what they warn of."""
        self.docs[table] = check["docs"]
        self.warnings += check["warnings"]
        run_log.log_table_warnings(table, check["warnings"])

    def reused(self, ref: Ref | None) -> bool:
        """Whether the store held a stage's result before this run."""
        return ref is not None and ref.uri in self.before

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the block's wall time to the stage's seconds."""
        start = self.clock()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + self.clock() - start
            self.keep(self.refs())


def run_pipeline(request: Request, stages: Stages, run_state: RunState) -> None:
    """Runs every stage in order, filling `run_state`; raises CrossmodalError where one cannot go on."""
    config, store = request.config, request.store
    run_state.before = results_in(store)
    valid = run_state.valid = prepare(request, config, stages, run_state)
    samples = read_table(store.path(valid.uri) / "samples.parquet")
    run_state.splits = count_splits(samples)
    require_trainable(samples, config.split.min_test_per_class, valid.clean.label_targets)
    with run_state.timed("validate"):
        champion = fetch_champion(request.name, config.publish.alias, store, request.tracking_uri)
        if champion is not None:
            require_comparable(champion, valid, request)
    features = run_state.features = extract_features(valid, config, store, stages, run_state)
    with run_state.timed("train"):
        start = run_state.start = None if config.train.continue_from == "none" else champion
        checkpoint = run_state.checkpoint = stages.train(valid, features, config, store, start)
    run_log.log_checkpoint(checkpoint, read_history(checkpoint, store), run_state.reused(checkpoint))
    with run_state.timed("evaluate"):  # asked again: training takes time, and another model may have been promoted
        champion = run_state.champion = fetch_champion(request.name, config.publish.alias, store, request.tracking_uri)
    # Against itself a model need not be judged: the evaluation of the run that published it is still right.
    same = champion is None or champion.model_sha256 == checkpoint.model_sha256
    prepared_champion = run_state.prepared_champion = (
        None if champion is None or same else prepare_champion(champion, request, stages, run_state)
    )
    report = evaluate_model(checkpoint, prepared_champion, config, store, stages, run_state)
    with run_state.timed("evaluate"):
        judged_before = store.find("verdicts", gate_key(report, config)) is not None
        verdict = run_state.verdict = stages.gate(report, config, store)
    run_log.log_gate(verdict)
    run_state.decision, run_state.reason = conclude(verdict, champion, judged_before)
    if run_state.decision == "promote":
        with run_state.timed("publish"):
            try:
                made = PublishInputs(verdict, checkpoint, report, valid, features)
                release = run_state.release = stages.publish(made, config, store, request.tracking_uri, request.run_id)
                run_log.log_release(release)
                if release.alias != config.publish.alias:
                    run_state.decision, run_state.reason = "needs-approval", ask_for_approval(release, config, verdict)
            except PromotionRefused as refusal:  # rolled back by hand, say: a person decides
                run_state.decision, run_state.reason = "needs-approval", str(refusal)


def evaluate_champion(request: Request, stages: Stages, run_state: RunState) -> None:
    """Judges the champion on today's test rows by the gate's rules; nothing is trained, and nothing published.

    The samples are read as the champion reads them. UsageError where there is no champion.
    """
    store, alias = request.store, request.config.publish.alias
    champion = run_state.champion = fetch_champion(request.name, alias, store, request.tracking_uri)
    if champion is None:
        raise UsageError(f"mode 'evaluate only': there is no {request.name}@{alias} yet; run with mode 'full' first")
    config = champion_config(champion, request)
    run_state.before = results_in(store)
    valid = run_state.valid = prepare(request, config, stages, run_state)
    run_state.splits = count_splits(read_table(store.path(valid.uri) / "samples.parquet"))
    require_comparable(champion, valid, request)
    run_state.features = extract_features(valid, config, store, stages, run_state)
    checkpoint = checkpoint_of(champion, store)
    report = evaluate_model(checkpoint, None, config, store, stages, run_state)
    with run_state.timed("evaluate"):
        verdict = stages.gate(report, config, store)
    rules = verdict.rules[:-1]  # the last compares with the champion, which this is
    passes = verdict.decision == "promote"
    run_state.decision = "unchanged" if passes else verdict.decision
    name, stands = f"{champion.name} version {champion.version}", "still passes" if passes else "no longer passes"
    details = "; ".join(rule.detail for rule in rules if passes or rule.outcome != "pass")
    run_state.reason = reason = f"{name} {stands} the gate on {report.rows} test rows: {details or 'it has no rules'}"
    judged = run_state.verdict = verdict.model_copy(update={"rules": rules, "reason": reason})
    run_log.log_gate(judged)


def evaluate_model(
    checkpoint: CheckpointRef,
    prepared_champion: PreparedChampion | None,
    config: RunConfig,
    store: Store,
    stages: Stages,
    run_state: RunState,
) -> EvalReport:
    """The figures of a model on the test rows of the run, beside its rival's, and its predictions validated."""
    assert run_state.valid is not None
    with run_state.timed("evaluate"):
        report = run_state.report = stages.evaluate(
            run_state.valid, run_state.features, checkpoint, prepared_champion, config, store
        )
    run_log.log_evaluation(report, run_state.reused(report))
    with run_state.timed("validate"):
        run_state.note("predictions", stages.validate_predictions(report, checkpoint, store))
    return report


def checkpoint_of(champion: ChampionRef, store: Store) -> CheckpointRef:
    """The champion as what training would have left: the same weights and card, its epochs unknown (0)."""
    card = read_card(store.path(champion.uri))
    targets = read_targets(card)
    return CheckpointRef(
        uri=champion.uri,
        sha256=champion.sha256,
        rows=champion.rows,
        model_sha256=champion.model_sha256,
        train_key=champion.train_key or champion.model_sha256,
        modalities=tuple(card["modalities"]),
        labels=targets[0].labels,
        outputs=sum(target.width for target in targets),
        best_epoch=0,
        epochs=0,
    )


def champion_to_continue(request: Request) -> ChampionRef | None:
    """The model that training starts from, where the config asks for it and there is one."""
    if request.config.train.continue_from == "none":
        return None
    return fetch_champion(request.name, request.config.publish.alias, request.store, request.tracking_uri)


def prepare(request: Request, config: RunConfig, stages: Stages, run_state: RunState) -> ValidatedRef:
    """Manifest to validated samples."""
    store = request.store
    with run_state.timed("ingest"):
        raw = run_state.raw = stages.scan(config, store, locate_data(config, store))
        require_fitting(config, raw.targets)
        clean = run_state.clean = stages.ingest(raw, config, store)
    run_log.log_rows(clean, reasons_of(store, clean, None), run_state.reused(clean))
    with run_state.timed("validate"):
        run_state.note("manifest", stages.validate_manifest(raw, store))
        valid = stages.validate_samples(clean, config, store)
    run_log.log_validated(valid)
    run_state.docs["samples"] = valid.docs
    return valid


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


def count_splits(samples: pa.Table) -> dict[Split, int]:
    """Rows per split."""
    given = samples["split"].to_pylist()
    return {"train": given.count("train"), "val": given.count("val"), "test": given.count("test")}


def require_trainable(samples: pa.Table, min_test_per_class: int, targets: tuple[Target, ...]) -> None:
    """Raises DataError when the samples cannot be trained on: a split or a second class is missing, say."""
    problems = trainable_problems(samples, min_test_per_class, targets)
    if problems:
        raise DataError("; ".join(problems))


def require_comparable(champion: ChampionRef, valid: ValidatedRef, request: Request) -> None:
    """What would make the comparison with the champion impossible is told before anything is extracted or trained.

    Raises UsageError where it answers another question than this run's, EnvironmentFailed where the files of an encoder that it
    does not hold itself are gone.
    """
    require_same_problem(champion, valid.clean.label_targets[0], request.store)
    try:
        champion_config(champion, request)
    except EnvironmentFailed as error:
        raise EnvironmentFailed(
            f"model {champion.name} version {champion.version}: the champion cannot be compared with: {error}; or give the new "
            "model another name (--set name=...)"
        ) from None


def prepare_champion(champion: ChampionRef, request: Request, stages: Stages, run_state: RunState) -> PreparedChampion:
    """The champion with the same samples as it reads them; they are prepared anew where it was made under other knobs."""
    assert run_state.valid is not None
    config = champion_config(champion, request)
    if reading(config, run_state.features) == reading(request.config, run_state.features) and set(
        map(modality_of, run_state.features)
    ) == {modality for modality in ALL_MODALITIES if config.encoders.of(modality) != "off"}:
        return PreparedChampion(champion=champion, valid=run_state.valid, features=run_state.features)
    progress.log(f"evaluate: champion version {champion.version} reads these samples under settings of its own")
    aside = RunState(before=run_state.before)
    aside.seconds = run_state.seconds  # one and the same: its time is the run's
    valid = prepare(request, config, stages, aside)
    return PreparedChampion(
        champion=champion, valid=valid, features=extract_features(valid, config, request.store, stages, aside)
    )


def reading(config: RunConfig, modalities: Iterable[InputName]) -> list[str]:
    """Digests of all that decides what a model reads of each modality, but the data."""
    return [
        features_fingerprint(name, media_fingerprint(modality_of(name), config.media), config) for name in modalities
    ]


def champion_config(champion: ChampionRef, request: Request) -> RunConfig:
    """The request's config with the knobs under which the champion reads media.

    Raises EnvironmentFailed where they are unknown, DataError where the champion's card is damaged.
    """
    folder = request.store.path(champion.uri)
    record = read_card(folder)
    unused = {modality: "off" for modality in ALL_MODALITIES if modality not in map(modality_of, record["modalities"])}
    specs = {modality_of(name): EncoderSpec.model_validate(record["encoders"][name]) for name in record["modalities"]}
    brought: dict[str, str] = {
        modality: packaged_encoder(folder) for modality, spec in specs.items() if is_packaged(modality, spec)
    }
    named = {
        modality: "tiny" if modality in brought else find_again(modality, spec, request.config.encoders.of(modality))
        for modality, spec in specs.items()
    }
    encoders = record["config"]["encoders"] | unused | named | {"shared": ()}  # of the network, not of what it reads
    frozen = any(spec.reads == "embedding" for spec in specs.values())
    train = request.config.train.model_dump() | {"regime": "head" if frozen else "full"}
    limits = request.config.media.model_dump(include={"timeout_s", "memory_mb"})  # of this machine, not of the model
    knobs = {"media": record["config"]["media"] | limits, "extract": record["config"]["extract"], "encoders": encoders}
    knobs["train"] = train
    try:
        config = RunConfig.model_validate(request.config.model_dump() | knobs)
    except ValidationError as error:
        raise EnvironmentFailed(
            f"model {champion.name} version {champion.version}: made by a crossmodal with other settings "
            f"({error.errors()[0]['loc']}); retrain it with this version"
        ) from None
    # What the model brings along has no id that a config may say, so it is put in behind the checks.
    return config.model_copy(update={"encoders": config.encoders.model_copy(update=brought)})


def conclude(verdict: Verdict, champion: ChampionRef | None, judged_before: bool) -> tuple[Decision, str]:
    """The run's decision and its reason: `unchanged` when this very model is, or was judged against, the champion.

    A champion that new test rows or new rules fail is told once as what the gate says; it stays until something beats it.
    """
    is_champion = champion is not None and champion.model_sha256 == verdict.model_sha256
    passes = verdict.decision == "promote"
    if champion is not None and is_champion and (passes or judged_before):
        doubt = "" if passes else f", which no longer passes the gate: {verdict.reason}"
        name = f"{champion.name} version {champion.version}"
        return "unchanged", f"nothing that shapes the model has changed: it is {name}{doubt}"
    if champion is not None and is_champion:
        return (
            verdict.decision,
            f"version {champion.version} is champion and no longer passes the gate: {verdict.reason}",
        )
    if judged_before and not passes:
        return (
            "unchanged",
            f"nothing has changed since this model was refused (the figures are its own): {verdict.reason}",
        )
    return verdict.decision, verdict.reason
