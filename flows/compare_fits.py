"""A comparison's fits, one after the other: each variant from each seed, as an artifact; and what each of them cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from data_contracts.comparison import FitCost, FitRef
from data_contracts.refs import CheckpointRef
from data_contracts.training_history import HISTORY, TrainingHistory
from flows.data_stages import prepare
from flows.request import Request
from flows.shared_features import SharedFeatures
from flows.stages import Stages
from tasks import locks, progress
from tasks.compare.classical import Fitted, fit_svm
from tasks.compare.fits import Answers, find_fit, keep_fit
from tasks.compare.variants import Variant
from tasks.config import RunConfig, with_settings
from tasks.errors import DataError
from tasks.fingerprint import code_fingerprint
from tasks.store import Store, digest_json
from tasks.train.checkpoint import KIND as CHECKPOINTS
from tasks.train.train import train_key


class Perform(Protocol):
    """How the work of a fit is done."""

    def __call__(self, label: str, config: RunConfig, work: Callable[[], None]) -> None:
        """Does the work of the fit with this label: at once, or as a task of Prefect's."""


def perform_here(label: str, config: RunConfig, work: Callable[[], None]) -> None:
    """Does the work in this process."""
    work()


@dataclass(frozen=True)
class Fit:
    """One fit that is to be done."""

    variant: Variant
    config: RunConfig
    """With the variant's settings, and the seed."""
    shared: SharedFeatures
    """The rows and features that it is fitted to."""

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.variant.name}, seed {self.config.seed}" if self.variant.is_random else self.variant.name

    @property
    def lock(self) -> Path:
        """Two processes that want the same fit meet at this file."""
        folder = self.shared.store.root / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"fit-{self.key}.lock"

    @property
    def key(self) -> str:
        """The digest of all that the fit depends on; its name is no part of it."""
        shared, config, variant = self.shared, self.config, self.variant
        valid, store = shared.valid, shared.store
        content: list[object] = [variant.method, valid.sha256, code_fingerprint("compare")]
        if variant.method == "network":
            features = shared.features_of(config)
            content += [train_key(shared.training(config), store), {n: ref.sha256 for n, ref in features.items()}]
        elif variant.modality is not None:
            content += [valid.clean.media.get(variant.modality), config.subset("extract")]
            content += [config.subset("seed", "train")] if variant.is_random else []
        else:
            content += [{name: ref.sha256 for name, ref in shared.features_of(config).items()}]
        return digest_json(content)


@dataclass
class Stopwatch:
    """Wall and CPU time, and energy, from its making on."""

    clock: Callable[[], float]
    began: float = field(init=False)
    cpu: float = field(init=False)
    joules: float | None = field(init=False)

    def __post_init__(self) -> None:
        from tasks.evaluate.inference_cost import find_meter

        self.meter = find_meter()
        self.began, self.cpu, self.joules = self.clock(), time.process_time(), self.meter.read_j()

    def cost(self) -> FitCost:
        """Until now."""
        after = self.meter.read_j()
        energy = None if after is None or self.joules is None else after - self.joules
        return FitCost(
            train_s=round(self.clock() - self.began, 3),
            cpu_s=round(time.process_time() - self.cpu, 3),
            energy_j=None
            if energy is None or energy < 0
            else round(energy, 3),  # a counter that began anew says nothing
            energy_source=self.meter.source,
        )


def plan_fits(
    variants: Sequence[Variant], config: RunConfig, shared: SharedFeatures, request: Request, stages: Stages
) -> dict[str, list[Fit]]:
    """Every variant's fits, one a seed; of one that draws nothing at random a single one."""
    found: dict[str, list[Fit]] = {}
    for variant in variants:
        own, rows = with_settings(config, variant.settings), shared
        if variant.labels is not None:
            columns = own.data.columns.model_copy(update={"labels": variant.labels})
            own = own.model_copy(update={"data": own.data.model_copy(update={"columns": columns})})
            rows = replace(shared, config=own, valid=prepare(request, own, stages, shared.run_state))
        seeds = range(config.seed, config.seed + (config.compare.seeds if variant.is_random else 1))
        found[variant.name] = [Fit(variant, own.model_copy(update={"seed": seed % 2**32}), rows) for seed in seeds]
    return found


@dataclass
class Ended:
    """What became of every fit, by its label."""

    done: dict[str, FitRef] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Why it cannot be fitted."""

    def __len__(self) -> int:
        return len(self.done) + len(self.failed)


def run_fits(fits: Sequence[Fit], perform: Perform) -> Ended:
    """Every fit, from the store or new. What another worker is at is left to it, and waited for at the end."""
    ended, waiting = Ended(), list(fits)
    while waiting:
        left = [fit for fit in waiting if not _try(fit, ended, len(fits), perform)]
        if len(left) == len(waiting):  # all are being done by others
            with locks.held(left[0].lock, left[0].shared.store.lock_timeout_s, left[0].shared.store.run):
                pass
        waiting = left
    progress.report("fit", len(fits), len(fits))
    return ended


def _try(fit: Fit, ended: Ended, total: int, perform: Perform) -> bool:
    """Whether the fit is done, or cannot be; False: another worker is at it."""
    progress.report("fit", len(ended), total, fit.label)
    key, store = fit.key, fit.shared.store
    ref = find_fit(key, store)
    if ref is None:
        with locks.held_if_free(fit.lock) as free:
            if not free:
                return False
            ref = find_fit(key, store)  # finished by another between the two looks
            try:
                ref = ref or _perform(fit, key, perform)
            except DataError as error:  # of this variant: a loss that is not finite, say
                progress.log(f"compare: {fit.label} cannot be fitted: {error}", "warning")
                ended.failed[fit.label] = str(error)
                return True
    ended.done[fit.label] = ref
    return True


def _perform(fit: Fit, key: str, perform: Perform) -> FitRef:
    done: list[FitRef] = []

    def work() -> None:
        """The fit is in the store."""
        done.append(fit_variant(fit, key))

    perform(fit.label, fit.config, work)
    cost = done[0].cost.train_s
    progress.log(f"compare: {fit.label}{'' if cost is None else f' trained in {cost:.3g} s'}")
    return done[0]


def fit_variant(fit: Fit, key: str) -> FitRef:
    """Fitted to the train rows, its settings chosen on the validation rows, and asked about the test rows."""
    shared = fit.shared
    if fit.variant.method == "network":
        answers = _fit_network(fit)
    else:
        with shared.run_state.timed("train"):
            answers = _fit_other(fit)
    return keep_fit(key, fit.variant.method, fit.config.seed, answers, shared.valid, shared.store)


def _fit_network(fit: Fit) -> Answers:
    from tasks.compare.fitting import answer_test_rows
    from tasks.train.size import count_parameters
    from tasks.train.stage import run_training  # noqa: F401 (here, so that the time of no fit holds it)

    shared, config = fit.shared, fit.config
    features = shared.features_of(config)
    key = train_key(shared.training(config), shared.store)
    state = shared.store.root / "work" / f"train-{key}"
    begun = shared.store.find(CHECKPOINTS, key) is not None or (state.is_dir() and any(state.iterdir()))
    watch = Stopwatch(shared.run_state.clock)
    checkpoint = shared.train(config)
    cost = watch.cost()
    with shared.run_state.timed("evaluate"):
        outputs, card = answer_test_rows(shared.valid, features, checkpoint, shared.store)
        whole, trainable = count_parameters(shared.store.path(checkpoint.uri), config.train)
    if begun or config.train.devices > 1:  # another process had its part
        cost = FitCost(
            train_s=_trained_s(checkpoint, shared.store),
            energy_source="not measured: trained before, or by several processes",
        )
    cost = cost.model_copy(update={"parameters": whole, "trainable": trainable})
    return Answers(outputs, card.label_targets[0], card.tuned, {"best_epoch": checkpoint.best_epoch}, cost, checkpoint)


def _trained_s(checkpoint: CheckpointRef, store: Store) -> float:
    text = (store.path(checkpoint.uri) / HISTORY).read_text(encoding="utf-8")
    history = TrainingHistory.model_validate_json(text)
    own = sum(epoch.seconds for epoch in history.epochs)
    return round(sum(head.seconds for head in history.heads) or own, 3)  # of all heads that one was chosen from


def _fit_other(fit: Fit) -> Answers:
    from tasks.compare.fitting import fit_raw

    if fit.variant.modality is None:
        return _fit_embeddings(fit)
    shared = fit.shared
    start = lambda: Stopwatch(shared.run_state.clock).cost  # noqa: E731
    return fit_raw(fit.variant.method, fit.variant.modality, shared.valid, fit.config, shared.store, start)


def _fit_embeddings(fit: Fit) -> Answers:
    from tasks.evaluate.linear_baseline import fit_linear_baseline, read_tables

    shared, target = fit.shared, fit.shared.valid.clean.label_targets[0]
    labels = target.labels
    valid, features, store = shared.valid, shared.features_of(fit.config), shared.store
    watch = Stopwatch(shared.run_state.clock)
    if fit.variant.method == "embedding-svm":
        fitted = fit_svm(read_tables(valid, features, labels, store), len(labels))
        return Answers.of(fitted, target, watch.cost())
    baseline = fit_linear_baseline(valid, features, labels, fit.config.seed, store)
    assert baseline is not None  # require_trainable
    size = (baseline.width + 1) * len(labels)
    fitted = Fitted(baseline.probabilities, {"C": baseline.c}, size, baseline.notes)
    return Answers.of(fitted, target, watch.cost())
