"""Training under encoders.KIND = auto: models of several encoders, of which the validation rows choose one.

Each is an ordinary training under a config that names its encoders, found again by its key: a run that was killed goes on, an
unchanged one trains nothing, and what follows knows only the encoders that were chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from data_contracts.encoder_choice import ComparedEncoders, EncoderChoice, PairedLosses
from data_contracts.modalities import modality_of
from data_contracts.refs import ChampionRef, CheckpointRef, Modality, ValidatedRef
from data_contracts.run_refs import RunRefs
from flows.champion import require_unseen_test_rows
from flows.data_stages import extract_to_train, require_trainable
from flows.request import Request
from flows.run_state import RunState
from flows.training_start import choose_start
from tasks import run_log
from tasks.encoder_choice import (
    blended,
    blends,
    cheapest_first,
    compare,
    compare_blend,
    compared_kinds,
    describe_choice,
    differing,
    encoders_to_try,
    is_better,
    is_blend,
    mixed_encoders,
    open_modalities,
    why_no_choice,
    with_encoders,
)
from tasks.errors import DataError
from tasks.reporting.artifacts import read_history
from tasks.samples import Samples
from tasks.train.blending import blend_models
from tasks.train.paired_losses import TrainedModel, pair_losses
from tasks.train.request import TrainRequest

if TYPE_CHECKING:  # which load what every stage needs
    from flows.stages import Features, Stages

Encoders = dict[Modality, str]


@dataclass(frozen=True)
class Trained:
    """A trained model, with what it was made from."""

    request: Request
    """Its config names all encoders."""
    features: Features
    checkpoint: CheckpointRef


def resolved(request: Request, refs: RunRefs) -> Request:
    """The request with the encoders that the run chose, where it has."""
    if refs.encoder_choice is None:
        return request
    return replace(request, config=with_encoders(request.config, refs.encoder_choice.encoders))


def train_chosen(
    champion: ChampionRef | None,
    valid: ValidatedRef,
    request: Request,
    stages: Stages,
    run_state: RunState,
    is_study: bool = False,
) -> Trained:
    """The model that goes on, filling `run_state`: under encoders.KIND = auto the best on the validation rows of several and
    their blend; of a study, which varies one model, without the blend.

    Raises DataError where the only training fails, or all of them do.
    """
    if not open_modalities(request.config):
        return train_model(champion, valid, request, stages, run_state)
    tried = _tried(valid, request, run_state)
    if len(tried) == 1:
        return train_model(champion, valid, resolved(request, run_state), stages, run_state)
    candidates = _Candidates(champion, valid, request, stages, run_state)
    blending = blends(request.config)
    blend = candidates.blend if blending and not is_study else None
    choice = find_choice(tried, candidates.train, candidates.pair, blend, mixes=not blending)
    assert choice is not None
    run_log.log_choice(describe_choice(choice))
    run_state.encoder_choice = choice
    return candidates.keep(choice.encoders)


def train_blend(
    champion: ChampionRef | None, valid: ValidatedRef, choice: EncoderChoice, request: Request, stages: Stages
) -> CheckpointRef:
    """The blend that a run chose, from models that are trained where the store has them no more."""
    candidates = _Candidates(champion, valid, request, stages, RunState())
    several = [one.encoders for one in choice.compared if not is_blend(one.encoders)]
    for encoders in several:
        candidates.train(encoders)
    candidates.blend(several)
    return candidates.keep(choice.encoders).checkpoint


def choose_encoders(valid: ValidatedRef, request: Request, stages: Stages, run_state: RunState) -> Encoders:
    """Modality to encoder where the config leaves it open, by the trainings of a retrain; they and the choice are noted in
    `run_state`. Of models whose answers a retrain blends the better one's. Raises DataError where rows cannot be trained on.
    """
    if not open_modalities(request.config):
        return {}
    samples = Samples.read(request.store.path(valid.uri))
    require_trainable(samples, request.config.split.min_test_per_class, valid.clean.label_targets)
    aside = RunState(before=run_state.before)  # the model, its features and their docs are not the study's
    aside.seconds, aside.clock = run_state.seconds, run_state.clock
    if len(_tried(valid, request, aside)) > 1:
        train_chosen(None, valid, request, stages, aside, is_study=True)
    choice = run_state.encoder_choice = aside.encoder_choice
    assert choice is not None
    return dict(choice.encoders)


def _tried(valid: ValidatedRef, request: Request, run_state: RunState) -> list[Encoders]:
    """The encoders to train with; where they are without a choice, they are noted as the run's."""
    asked = (request.config, valid.clean.modalities, valid.rows)
    tried = encoders_to_try(*asked)
    if len(tried) == 1:
        run_state.encoder_choice = EncoderChoice(encoders=tried[0], why=why_no_choice(*asked))
    return tried


def train_model(
    champion: ChampionRef | None, valid: ValidatedRef, request: Request, stages: Stages, run_state: RunState
) -> Trained:
    """Features and a model under a config that names all encoders, filling `run_state`."""
    features = run_state.features = extract_to_train(valid, request.config, request.store, stages, run_state)
    return _fit(champion, valid, features, request, stages, run_state, is_candidate=False)


def _fit(
    champion: ChampionRef | None,
    valid: ValidatedRef,
    features: Features,
    request: Request,
    stages: Stages,
    run_state: RunState,
    is_candidate: bool,
) -> Trained:
    config, store = request.config, request.store
    with run_state.timed("train"):
        start, run_state.start_choice = choose_start(champion, valid, features, request, is_candidate)
        run_state.start = start
        if start is not None and config.train.continue_from == "champion":
            require_unseen_test_rows(start, valid, store)
        asked = TrainRequest(valid=valid, features=features, config=config, champion=start)
        checkpoint = run_state.checkpoint = stages.train(asked, store)
    told = run_state.start_choice.notes if run_state.start_choice else ()
    run_log.log_checkpoint(checkpoint, read_history(checkpoint, store), run_state.reused(checkpoint), told)
    return Trained(request, features, checkpoint)


Train = Callable[[Encoders], ComparedEncoders | None]
Pair = Callable[[Encoders, Encoders], PairedLosses | None]
Blend = Callable[[list[Encoders]], ComparedEncoders | None]


def find_choice(
    tried: list[Encoders], train: Train, pair: Pair, blend: Blend | None = None, mixes: bool = True
) -> EncoderChoice | None:
    """The choice among models with these encoders, their blend and, with `mixes`, where several modalities are open and do best
    under different ones, a mix of encoders.

    `train` says what a model reached, `blend` what the blend of several is, `pair` how two compare; None where it is not known.
    """
    found = [one for encoders in tried if (one := train(encoders)) is not None]
    if len(found) < len(tried):
        return None
    if any(one.why for one in found):  # the other one goes on
        return _choose(found, pair)
    if blend is None:
        return _choose_mixed(found, train, pair) if mixes else _choose(found, pair)
    both = blend(tried)
    return None if both is None else _choose(found, pair, both)


def _choose_mixed(found: list[ComparedEncoders], train: Train, pair: Pair) -> EncoderChoice | None:
    one, other = (each.encoders for each in found)
    kinds = compared_kinds(EncoderChoice(encoders=one, compared=tuple(found)))
    if len(kinds) < 2:
        return _choose(found, pair)
    paired = pair(one, other)
    if paired is None:
        return None
    losses: dict[Modality, dict[str, float]] = {
        kind: dict(zip((one[kind], other[kind]), paired.by_modality[kind], strict=True)) for kind in kinds
    }
    mixed = mixed_encoders(one, losses)
    if mixed is not None:
        third = train(mixed)
        if third is None:
            return None
        found = [*found, third]
    choice = _choose(found, pair)
    return None if choice is None else choice.model_copy(update={"modality_losses": losses})


def _choose(found: list[ComparedEncoders], pair: Pair, blend: ComparedEncoders | None = None) -> EncoderChoice | None:
    """Of the cheapest, what is better than it by more than chance, and before that one the blend, unless its loss is higher;
    None where a pair is not known."""
    chosen, *dearer = cheapest_first(one for one in found if not one.why)
    for one in dearer:
        paired = pair(chosen.encoders, one.encoders)
        if paired is None:
            return None
        chosen = one if is_better(paired) else chosen
    if blend is not None:
        found = [*found, blend]
        against = [pair(blend.encoders, one.encoders) for one in found if one is not blend]
        if None in against:
            return None
        if all(each is not None and each.losses[0] <= each.losses[1] for each in against):
            chosen = blend
    others = {id(one): pair(chosen.encoders, one.encoders) for one in found if one is not chosen and not one.why}
    if None in others.values():
        return None
    compared = []
    for one in found:
        paired = others.get(id(one))
        if one is chosen:
            own = next((each.losses[0] for each in others.values() if each is not None), None)
            compared.append(one.model_copy(update={"chosen": True, "loss": own}))
        elif paired is None:  # its training failed
            compared.append(one)
        else:
            loss, error = paired.losses[1], paired.standard_error
            difference = loss - paired.losses[0]
            update = {"loss": loss, "difference": difference, "standard_error": error}
            compared.append(one.model_copy(update=update))
    return EncoderChoice(encoders=chosen.encoders, compared=tuple(compared))


@dataclass
class _Candidates:
    """The models that one is chosen from, trained one after the other, each with what a run would know of it."""

    champion: ChampionRef | None
    valid: ValidatedRef
    request: Request
    stages: Stages
    run_state: RunState
    trained: list[tuple[Encoders, Trained, RunState]] = field(default_factory=list)
    count: int = 0

    def train(self, encoders: Encoders) -> ComparedEncoders:
        """A model with these encoders, or why it could not be trained. DataError where no other was, either."""
        self.count += 1
        aside = RunState(before=self.run_state.before)
        aside.seconds, aside.clock = self.run_state.seconds, self.run_state.clock  # its time is the run's
        named = replace(self.request, config=with_encoders(self.request.config, encoders))
        present = set(map(modality_of, self.valid.clean.modalities))
        run_log.log_tried({kind: name for kind, name in encoders.items() if kind in present})
        features = aside.features = extract_to_train(self.valid, named.config, named.store, self.stages, aside)
        try:
            trained = _fit(self.champion, self.valid, features, named, self.stages, aside, is_candidate=True)
        except DataError as error:  # its loss is not finite, say
            if self.count > 1 and not self.trained:
                raise
            return ComparedEncoders(encoders=encoders, why=str(error))
        self.trained.append((encoders, trained, aside))
        history = read_history(trained.checkpoint, self.request.store)
        assert history is not None
        return compare(encoders, trained.checkpoint, history)

    def blend(self, several: list[Encoders]) -> ComparedEncoders:
        """The blend of the models with these encoders, which reads what the first one does."""
        (first, aside), *_ = map(self._of, several)
        with self.run_state.timed("train"):
            checkpoint = blend_models(list(map(self._model, several)), self.valid, self.request.store)
        encoders = blended(several)
        whole = aside.model_copy(update={"checkpoint": checkpoint})
        self.trained.append((encoders, replace(first, checkpoint=checkpoint), whole))
        history = read_history(checkpoint, self.request.store)
        assert history is not None
        return compare_blend(encoders, checkpoint, history)

    def pair(self, one: Encoders, other: Encoders) -> PairedLosses:
        """The models with these encoders on the same validation rows."""
        kinds = () if is_blend(one) or is_blend(other) else differing(one, other)
        with self.run_state.timed("train"):
            return pair_losses(self._model(one), self._model(other), kinds, self.valid, self.request.store)

    def _model(self, encoders: Encoders) -> TrainedModel:
        trained, _ = self._of(encoders)
        return TrainedModel(trained.checkpoint, trained.features, trained.request.config)

    def keep(self, encoders: Encoders) -> Trained:
        """The model with these encoders; what is known of it is the run's."""
        trained, aside = self._of(encoders)
        for name in ("features", "start", "start_choice", "checkpoint"):
            setattr(self.run_state, name, getattr(aside, name))
        self.run_state.docs |= aside.docs
        self.run_state.warnings += aside.warnings
        self.run_state.keep(self.run_state.refs())
        return trained

    def _of(self, encoders: Encoders) -> tuple[Trained, RunState]:
        return next((trained, aside) for own, trained, aside in self.trained if own == encoders)
