"""One input generated from another, and whether that helps: what `crossmodal translate` runs and flows/translate.py wraps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.compute as pc

from data_contracts.refs import CheckpointRef, EvalReport, RawRef, ValidatedRef
from data_contracts.run_summary import RunSummary
from data_contracts.tables import PREDICTIONS
from data_contracts.translation import GENERATED, ArmFigures, ArmPairing, ArmPlan, TranslationReport
from flows.data_stages import extract_features, prepare, require_trainable
from flows.encoder_choice import choose_encoders
from flows.execute import execute_study
from flows.preflight import failure, preflight
from flows.request import Request
from flows.run_state import RunState
from flows.stages import Scan, Stages, TranslateStages
from flows.translate_outcome import describe, leave_results, require_out, table_with_answers
from tasks import progress
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.encoder_choice import with_encoders
from tasks.errors import UsageError
from tasks.evaluate.comparison import ComparisonRows
from tasks.evaluate.paired import compare_evaluations
from tasks.problems.registry import problem_of
from tasks.samples import Samples
from tasks.store import Store
from tasks.train.request import TrainRequest
from tasks.translate.generators.choose import require_generator
from tasks.translate.outcome import Generation, keep_translation, make_report, rows_table
from tasks.translate.pair import pair_key, read_nearest
from tasks.translate.shards import (
    count_missing,
    generator_fingerprint,
    plan_generation,
    read_outputs,
    source_digests,
)
from tasks.translate.tables import make_table, plan_arms

NOT_NEEDED = ("registry", "champion")
"""Of the preflight of a training: nothing is published, and nothing compared with a champion."""
RETRIEVAL = "retrieval"


@dataclass(frozen=True)
class Arm:
    """One of the compared models, with its figures on the test rows."""

    plan: ArmPlan
    valid: ValidatedRef
    checkpoint: CheckpointRef
    report: EvalReport


def translate_manifest(
    request: Request,
    out: Path | None = None,
    stages: Stages | None = None,
    parts: TranslateStages | None = None,
    run_state: RunState | None = None,
) -> RunSummary:
    """The summary; report.html, translation.json and rows.csv lie in the run's folder, and at `out` the same table of rows.

    Raises UsageError and EnvironmentFailed for what can be known before any work, RunFailed where a stage refused.
    """
    require_ready(request, out)
    stages, parts, run_state = stages or Stages(), parts or TranslateStages(), run_state or RunState()

    def leave(found: tuple[TranslationReport, list[Arm], Generation]) -> RunSummary:
        """The report, and the table of rows with the arms' answers."""
        report, arms, made = found
        assert run_state.valid is not None
        rows = rows_table(run_state.valid, made, request.config, request.store)
        answers = {arm.plan.name: read_answers(arm, request.store) for arm in arms}
        return leave_results(request, run_state, report, table_with_answers(rows, answers), out)

    return execute_study(
        request, "translate", run_state, lambda: run_translation(request, stages, parts, run_state), leave
    )


def require_ready(request: Request, out: Path | None) -> None:
    """All is checked that can be before data are read."""
    config = request.config
    asked = config.translate
    for what, name in (("source", asked.source), ("target", asked.target)):
        if config.encoders.of(name) == "off":
            modality = name.partition("_")[0]
            raise UsageError(f"translate.{what} = {name}, and encoders.{modality} = off; name an encoder that reads it")
    require_out(out)
    require_generator(asked)
    refusal = failure([check for check in preflight(request) if check.name not in NOT_NEEDED])
    if refusal is not None:
        raise refusal


def run_translation(
    request: Request, stages: Stages, parts: TranslateStages, run_state: RunState
) -> tuple[TranslationReport, list[Arm], Generation]:
    """Reads the rows, generates what is new, and trains and evaluates a model for each way to use it."""
    config, store = request.config, request.store
    valid = run_state.valid = prepare(request, config, replace(stages, scan=_refusing(stages.scan)), run_state)
    samples = Samples.read(store.path(valid.uri))
    run_state.splits = samples.count_splits()
    require_trainable(samples, config.split.min_test_per_class, valid.clean.label_targets)
    config = with_encoders(config, choose_encoders(valid, request, stages, run_state))
    made = generate(valid, samples, config, store, stages, parts, run_state)
    asked = config.translate
    has_real = asked.target in samples.names and bool(samples.has(asked.target).any())
    arms = []
    plans = plan_arms(asked.source, asked.target, asked.mode, has_real)
    for done, plan in enumerate(plans):
        progress.report("arms", done, len(plans), plan.name)
        arms.append(_try(plan, valid, made, config, store, stages, run_state))
    progress.report("arms", len(plans), len(plans))
    with run_state.timed("evaluate"):
        report = _report(valid, made, arms, config, store)
    _, reason = describe(report)
    run_state.reason = reason
    made_from = [ref for arm in arms for ref in (arm.valid, arm.checkpoint, arm.report)]
    run_state.translation = keep_translation(report, reason, [*made_from, *([made.pair] if made.pair else [])], store)
    return report, arms, made


def generate(
    valid: ValidatedRef,
    samples: Samples,
    config: RunConfig,
    store: Store,
    stages: Stages,
    parts: TranslateStages,
    run_state: RunState,
) -> Generation:
    """What is generated for the rows, from the store or new."""
    asked, digests = config.translate, source_digests(samples, config)
    if asked.generator == RETRIEVAL:
        both = (asked.source, asked.target)
        clean = valid.clean.model_copy(update={"modalities": both})
        features = extract_features(clean, config, store, stages, run_state)
        source, target = features[asked.source], features[asked.target]
        held = store.find("pairs", pair_key(valid, source, target, config)) is not None
        with run_state.timed("train"):
            pair = parts.pair(valid, source, target, config, store)
        nearest = read_nearest(pair, store)
        outputs = {digest: nearest[digest] for digest in digests}
        return Generation(outputs, pair.sha256, 0 if held else len(outputs), pair)
    with run_state.timed("extract"):
        shards = plan_generation(valid.clean, digests, config)
        missing, computed = count_missing(shards, store), 0
        for shard in shards:
            computed += parts.generate(shard, store)
            progress.report("generate", computed, missing, "media")
        return Generation(read_outputs(digests, config, store), generator_fingerprint(config), computed)


def _try(
    plan: ArmPlan,
    valid: ValidatedRef,
    made: Generation,
    config: RunConfig,
    store: Store,
    stages: Stages,
    run_state: RunState,
) -> Arm:
    """A model of the plan's inputs, trained and evaluated by the stages of every retrain."""
    config = arm_config(config)
    with run_state.timed("validate"):
        arm_valid = stages.validate_samples(make_table(valid, plan, made.outputs, config, store), config, store)
    features = extract_features(arm_valid, config, store, stages, run_state)
    run_state.features |= features
    with run_state.timed("train"):
        checkpoint = stages.train(TrainRequest(valid=arm_valid, features=features, config=config), store)
    with run_state.timed("evaluate"):
        report = stages.evaluate(arm_valid, features, checkpoint, None, config, store)
    return Arm(plan, arm_valid, checkpoint, report)


def arm_config(config: RunConfig) -> RunConfig:
    """The settings of each compared model: equal words in train and test are no leakage, as two sounds may be of one word."""
    asked = config.translate
    train = {"epochs": asked.epochs or config.train.epochs, "continue_from": "none"}
    return config.model_copy(
        update={
            "train": config.train.model_copy(update=train),
            "split": config.split.model_copy(update={"leakage": "report"}),
            "evaluate": config.evaluate.model_copy(update={"robustness": "off"}),
        }
    )


def _report(
    valid: ValidatedRef, made: Generation, arms: list[Arm], config: RunConfig, store: Store
) -> TranslationReport:
    problem = problem_of(valid.clean.label_targets[0])
    clusters = ComparisonRows.read(valid, store).cluster_of_ids
    figures = [
        ArmFigures(
            plan=arm.plan,
            rows=arm.report.rows,
            metrics=arm.report.metrics["test"],
            intervals=arm.report.intervals,
            generated=_count_generated(arm, store),
            model_sha256=arm.checkpoint.model_sha256,
        )
        for arm in arms
    ]
    return make_report(
        valid,
        made,
        rows_table(valid, made, config, store),
        figures,
        [pairing for other in arms[1:] for pairing in _pair(arms[0], other, store, clusters)],
        {arm.plan.name: read_answers(arm, store) for arm in arms},
        problem.headline[0],
        config,
    )


def _pair(ours: Arm, theirs: Arm, store: Store, clusters: Mapping[str, int] | None) -> list[ArmPairing]:
    """Two models on the test rows that both answered; none where they share no row."""
    found = compare_evaluations((ours.report, ours.checkpoint), (theirs.report, theirs.checkpoint), store, clusters)
    if isinstance(found, str):
        return []
    return [ArmPairing(ours=ours.plan.name, theirs=theirs.plan.name, rows=found.rows, differences=found.differences)]


def _count_generated(arm: Arm, store: Store) -> int:
    table = read_table(store.path(arm.report.uri) / PREDICTIONS, [GENERATED])
    generated: int = len(table[GENERATED].drop_null())
    return generated


def read_answers(arm: Arm, store: Store) -> dict[str, str]:
    """Id of a test row to what the model answers."""
    table = read_table(store.path(arm.report.uri) / PREDICTIONS, ["id", "predicted"])
    return dict(zip(table["id"].to_pylist(), table["predicted"].to_pylist(), strict=True))


def _refusing(scan: Scan) -> Scan:
    """The stage `scan`, after which rows that cannot be translated are refused, before anything is decoded."""

    def scan_and_look(config: RunConfig, store: Store, data: Path) -> RawRef:
        """The raw table. UsageError where no row has the source, or no row lacks what is to be filled."""
        raw = scan(config, store, data)
        require_translatable(raw, config, store)
        return raw

    return scan_and_look


def require_translatable(raw: RawRef, config: RunConfig, store: Store) -> None:
    """UsageError where the rows of a raw table give nothing to do."""
    asked = config.translate
    names = [name for name in (asked.source, asked.target) if name in raw.modalities]
    table = read_table(store.path(raw.uri) / "rows.parquet", ["reason", *(f"{name}_sha256" for name in names)])
    table = table.filter(pc.is_null(table["reason"]))
    sourced = len(table) - table[f"{asked.source}_sha256"].null_count if asked.source in names else 0
    if not sourced:
        raise UsageError(
            f"translate.source = {asked.source}: no row of the data has {asked.source}; they have {', '.join(raw.modalities)}"
        )
    both = table.filter(pc.is_valid(table[f"{asked.source}_sha256"]))
    real = len(both) - both[f"{asked.target}_sha256"].null_count if asked.target in names else 0
    if asked.mode == "fill" and real == sourced:
        raise UsageError(
            f"translate.mode = fill: all {sourced:,} rows with {asked.source} have {asked.target}, too: nothing is to be "
            "filled; translate.mode=add tries what is generated beside it"
        )
    if real == 0 and (asked.mode == "fill" or asked.generator == RETRIEVAL):
        what = "translate.mode = fill" if asked.mode == "fill" else "translate.generator = retrieval"
        way = (
            "use translate.mode=add"
            if asked.mode == "fill"
            else f"real {asked.target} is what it retrieves; name another generator"
        )
        raise UsageError(f"{what}: no row with {asked.source} has {asked.target}; {way}")
