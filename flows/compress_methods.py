"""One method after the other: its model, made, evaluated beside the original, put through the gate, timed in turns with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from data_contracts.compression import CompressedRef, MethodName, MethodResult
from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, EvalReport, InputName, PreparedChampion, ValidatedRef, Verdict
from flows.champion import champion_config, checkpoint_of
from flows.compress_request import Compression
from flows.data_stages import extract_features, prepare
from flows.distilling import distill
from flows.journaling import record_verdict
from flows.pipeline import evaluate_model
from flows.run_state import RunState
from flows.stages import Features, Stages
from tasks import locks, progress
from tasks.compress.compress import compress, compress_key, keep_trained
from tasks.compress.methods import METHODS
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.evaluate.input_loss import Loss, find_unused_inputs
from tasks.modeling.card import read_card
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.describe import find_again
from tasks.modeling.pretrained.packaged import is_packaged, packaged_encoder
from tasks.problems.registry import problem_of
from tasks.reporting.artifacts import read_slices
from tasks.train.request import TrainRequest


class Perform(Protocol):
    """How the work of a method is done."""

    def __call__(self, method: MethodName, work: Callable[[], None]) -> None:
        """Does it at once, or as a task of Prefect's."""


def perform_here(method: MethodName, work: Callable[[], None]) -> None:
    """Does the work in this process."""
    work()


def not_possible(method: MethodName, reason: str) -> MethodResult:
    """The line of a method that is not for this model, or this machine."""
    return MethodResult(method=method, says=METHODS[method].says, state="not possible", reason=reason)


class Gated(NamedTuple):
    """A method's model with all that publishing it needs."""

    compressed: CompressedRef
    valid: ValidatedRef
    features: Features
    report: EvalReport
    verdict: Verdict


@dataclass
class Methods:
    """What the methods share: the original, its rows and features."""

    asked: Compression
    config: RunConfig
    """As the original reads its rows."""
    prepared: PreparedChampion
    original: EvalReport
    stages: Stages
    run_state: RunState
    gated: dict[MethodName, Gated] = field(default_factory=dict)
    results: dict[MethodName, MethodResult] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """The gate's."""
        gate = self.asked.request.config.gate
        problem = problem_of(self.prepared.valid.clean.label_targets[0])
        return problem.gate_metric if gate.metric == "auto" else gate.metric

    @property
    def checkpoint(self) -> CheckpointRef:
        """The original as what training would have left."""
        return checkpoint_of(self.asked.champion, self.asked.card)

    def run(self, perform: Perform) -> None:
        """Every method has a result. One that another worker is at is left for later; its result is then found in the store."""
        store, waiting = self.asked.request.store, list(self.asked.methods)
        while waiting:
            before = len(waiting)
            for method in [*waiting]:
                with locks.held_if_free(self._lock(method)) as free:
                    if free:
                        self._perform(method, perform)
                        waiting.remove(method)
            if len(waiting) == before:  # others are at all of them
                with locks.held(self._lock(waiting[0]), store.lock_timeout_s, self.asked.request.run_id):
                    self._perform(waiting.pop(0), perform)

    def _perform(self, method: MethodName, perform: Perform) -> None:
        progress.report("compress", len(self.results), len(self.asked.methods), method)
        perform(method, lambda: self._attempt(method))
        progress.report("compress", len(self.results), len(self.asked.methods), method)

    def _lock(self, method: MethodName) -> Path:
        key = compress_key(method, self.asked.champion, self.prepared.valid, self.asked.request.store)
        return self.asked.request.store.root / "work" / f"compress-{key[:16]}.lock"

    def _attempt(self, method: MethodName) -> None:
        try:
            compressed = self._make(method)
        except DataError as error:  # of this model and this method
            self.results[method] = not_possible(method, str(error))
            return
        gated = self.gated[method] = self._gate(compressed)
        self.results[method] = self._result(method, gated)

    def _make(self, method: MethodName) -> CompressedRef:
        if method == "prune":
            return self._pruned()
        if method == "distill":
            return distill(self.asked, self.config, self.prepared, self.stages, self._aside())
        with self.run_state.timed("train"):
            return compress(method, self.asked.champion, self._places(), self.prepared.valid, self.asked.request.store)

    def _places(self) -> dict[InputName, EncoderSpec]:
        """The specs of frozen encoders with where their files lie."""
        request, card = self.asked.request, self.asked.card
        folder, found = request.store.path(self.asked.champion.uri), {}
        for name in card.modalities:
            spec, modality = card.encoders[name], modality_of(name)
            if spec.reads == "embedding":
                packaged = is_packaged(modality, spec, folder)
                otherwise = request.config.encoders.of(modality)
                encoder = packaged_encoder(folder) if packaged else find_again(modality, spec, otherwise)
                found[name] = spec.model_copy(update={"encoder": encoder})
        return found

    def _pruned(self) -> CompressedRef:
        """The model trained again without the inputs that are of no use. DataError where all are."""
        request = self.asked.request
        config, store, gate = request.config, request.store, request.config.gate
        with self.run_state.timed("evaluate"):
            loss = Loss(self.metric, gate.margin, gate.confidence, config.seed)
            inputs = find_unused_inputs(self.prepared.valid, self.prepared.features, self.checkpoint, loss, store)
        without = [each.input for each in inputs if each.left_out]
        if not without:
            rows = inputs[0].rows if inputs else 0
            costs = [f"{each.input} {each.difference[0]:+.4f}" for each in inputs if each.difference is not None]
            raise DataError(
                f"every input is of use: on {rows} validation rows {self.metric} without one changes by "
                f"{', '.join(costs) or 'what is not known'}, and a loss of gate.margin = {gate.margin:g} is not ruled out"
            )
        off = config.encoders.model_copy(update=dict.fromkeys(without, "off"))
        smaller = config.model_copy(update={"encoders": off})
        aside = self._aside()
        valid = prepare(replace(request, config=smaller), smaller, self.stages, aside)
        features = extract_features(valid, smaller, store, self.stages, aside)
        with self.run_state.timed("train"):
            trained = self.stages.train(TrainRequest(valid=valid, features=features, config=smaller), store)
        return keep_trained("prune", self.asked.champion, trained, valid, store, inputs)

    def _aside(self) -> RunState:
        aside = RunState(before=self.run_state.before)
        aside.seconds = self.run_state.seconds  # one and the same: its time is the run's
        return aside

    def _gate(self, compressed: CompressedRef) -> Gated:
        """Evaluated on the rows of the original, beside it; the gate's verdict is in the journal."""
        request, checkpoint, aside = self.asked.request, compressed.checkpoint, self._aside()
        store, folder = request.store, request.store.path(compressed.uri)
        card = read_card(folder)
        as_champion = self.asked.champion.model_copy(update={"uri": compressed.uri, "card_sha256": None})
        config = champion_config(as_champion, card, request)
        same = card.modalities == self.asked.card.modalities
        valid = self.prepared.valid if same else prepare(replace(request, config=config), config, self.stages, aside)
        aside.valid = valid
        aside.features = extract_features(valid, config, store, self.stages, aside)
        report = evaluate_model(checkpoint, self.prepared, config, store, self.stages, aside)
        with self.run_state.timed("evaluate"):
            verdict = self.stages.gate(report, request.config, store)
            record_verdict(request, verdict, report, valid)
        return Gated(compressed, valid, aside.features, report, verdict)

    def _result(self, method: MethodName, gated: Gated) -> MethodResult:
        from tasks.evaluate.latency import measure_pair, release_bytes

        request, report = self.asked.request, gated.report
        with self.run_state.timed("evaluate"):
            latency = measure_pair(
                gated.compressed.checkpoint, self.checkpoint, self.prepared.valid, self.config, request.store
            )
        return MethodResult(
            method=method,
            says=METHODS[method].says,
            state="measured",
            reason=gated.verdict.reason,
            size_bytes=release_bytes(gated.compressed.checkpoint, self.config, request.store),
            latency=latency,
            metrics=report.metrics["test"],
            differences=report.differences,
            decision=gated.verdict.decision,
            encoder_difference=gated.compressed.encoder_difference,
            inputs=gated.compressed.inputs,
            robustness=self._robustness(report),
            model_sha256=report.model_sha256,
        )

    def _robustness(self, report: EvalReport) -> dict[str, tuple[float | None, float | None]]:
        """Corruption to the metric at its highest severity, original and compressed; {} where none was measured."""
        slices = [read_slices(each, self.asked.request.store) for each in (self.original, report)]
        worst = [
            {curve.corruption: curve.levels[-1].metrics.get(self.metric) for curve in each.robustness} if each else {}
            for each in slices
        ]
        return {name: (worst[0].get(name), value) for name, value in worst[1].items()}
