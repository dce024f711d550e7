"""Whether training starts from the champion's weights (train.continue_from), and if not, why."""

from __future__ import annotations

from collections.abc import Mapping

from data_contracts.modalities import modality_of
from data_contracts.refs import ChampionRef, FeatureRef, InputName, ValidatedRef
from data_contracts.training_history import StartChoice
from flows.champion import champion_config, reading, seen_test_rows
from flows.request import Request
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.pretrained.describe import identify_encoder
from tasks.modeling.training_rows import are_known, compare_train_rows, read_rows
from tasks.samples import Samples
from tasks.store import Store
from tasks.train.heads import continued_head, heads_to_train

MOST_CHANGED = 0.10
"""auto: of the champion's train rows, so many may be others by now."""


def choose_start(
    champion: ChampionRef | None,
    valid: ValidatedRef,
    features: Mapping[InputName, FeatureRef],
    request: Request,
    is_candidate: bool = False,
) -> tuple[ChampionRef | None, StartChoice | None]:
    """(the champion whose weights are tried, what a person is told of it); None, None where the config does not ask for it.

    Under `champion` it is the one that there is; where models of several encoders are compared (`is_candidate`) it must have
    the same, and not have been trained on the validation rows that compare them. Under `auto` it must also be alike, must not
    know today's test rows nor have been trained on the validation rows by which it is judged, and at most a tenth of its train
    rows may have changed.
    """
    asked = request.config.train.continue_from
    if asked == "none":
        return None, None
    if champion is None:
        return None, StartChoice(why="there is no champion to continue from")
    if asked == "champion" and is_candidate:
        why = _why_no_candidate(champion, valid, features, request)
        return (None if why else champion), StartChoice(why=f"version {champion.version} {why}" if why else "")
    if asked == "champion":
        return champion, StartChoice()
    choice = _judge(champion, valid, features, request)
    return (None if choice.why else champion), choice


def _why_no_candidate(
    champion: ChampionRef, valid: ValidatedRef, features: Mapping[InputName, FeatureRef], request: Request
) -> str:
    """Why models of other encoders are not compared with one that is continued from the champion; empty: they are."""
    card = read_card(request.store.path(champion.uri), champion.card_sha256)
    if any(name in card.encoders and card.encoders[name].encoder != ref.encoder for name, ref in features.items()):
        return "has other encoders"
    return _why_knows_val(champion, valid, request.store)


def _judge(
    champion: ChampionRef, valid: ValidatedRef, features: Mapping[InputName, FeatureRef], request: Request
) -> StartChoice:
    """What auto makes of a champion."""
    folder = request.store.path(champion.uri)
    try:
        card = read_card(folder, champion.card_sha256)
        why = _why_not_alike(champion, card, valid, features, request) or _why_unfair(champion, valid, request)
        if why:
            return StartChoice(why=f"version {champion.version} {why}")
        train = Samples.read(request.store.path(valid.uri)).of_split("train")
        changes = compare_train_rows(train, folder, card.modalities)
    except DataError:
        older = f"version {champion.version} does not tell which train rows it was made from, as an older release published it"
        return StartChoice(why=older)
    many = changes.share > MOST_CHANGED
    return StartChoice(why=f"{changes}, more than {100 * MOST_CHANGED:g} %" if many else "", changes=changes)


def _why_not_alike(
    champion: ChampionRef,
    card: ModelCard,
    valid: ValidatedRef,
    features: Mapping[InputName, FeatureRef],
    request: Request,
) -> str:
    """What sets the champion's network, its labels, or what it reads, apart from the one to be trained; empty: nothing."""
    config = request.config
    ours, theirs = (
        [(it.name, it.problem, set(it.labels)) for it in each]
        for each in (valid.clean.label_targets, card.label_targets)
    )
    if ours != theirs:
        return "has other labels"
    if set(card.modalities) != set(features):
        return f"reads {' and '.join(card.modalities)}"
    its = champion_config(champion, card, request)
    flip = {"test_time_flip": config.encoders.test_time_flip}  # what auto chose is chosen again, after training
    its = its.model_copy(update={"encoders": its.encoders.model_copy(update=flip)})
    if card.shared != config.encoders.shared or reading(its, features) != reading(config, features):
        return "reads its inputs otherwise (encoders, media or extract)"
    others = [name for name in features if not _is_same_encoder(name, card, config)]
    if others:
        return f"has another encoder of {' and '.join(others)}"
    heads, _ = heads_to_train(config, card.encoders, continued=False)
    return "" if continued_head(heads, card.config.fusion) is not None else "has another head (fusion, train.heads)"


def _is_same_encoder(name: InputName, card: ModelCard, config: RunConfig) -> bool:
    ours = identify_encoder(modality_of(name), config.encoders.of(name), config.train.regime, config.encoders)
    theirs = card.encoders[name]
    return (ours.reads, ours.weights_sha256) == (theirs.reads, theirs.weights_sha256)


def _why_unfair(champion: ChampionRef, valid: ValidatedRef, request: Request) -> str:
    """Which of today's rows the champion knows that are to judge a model continued from it; empty: none."""
    store = request.store
    seen, of = seen_test_rows(champion, valid, store)
    if seen:
        return f"was trained on {len(seen):,} of {of:,} test rows, or on others of their groups"
    return _why_knows_val(champion, valid, store)


def _why_knows_val(champion: ChampionRef, valid: ValidatedRef, store: Store) -> str:
    val = Samples.read(store.path(valid.uri)).of_split("val")
    learned = int(are_known(val.ids, read_rows(store.path(champion.uri))["train"]).sum())
    return f"was trained on {learned:,} of {len(val):,} validation rows" if learned else ""


def describe_start(champion: ChampionRef | None, choice: StartChoice | None) -> str:
    """What will be trained, a clause of the plan; empty where the config does not ask to continue."""
    if choice is None:
        return ""
    if champion is None:
        return f"from scratch: {choice.why}"
    begun = f"from the weights of version {champion.version}"
    return begun if choice.changes is None else f"{begun} and compared by validation: {choice.changes}"
