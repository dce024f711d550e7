"""The champion beside the candidate: whether the two can be compared, and the samples and features as it reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from data_contracts.modalities import ALL_MODALITIES, modality_of
from data_contracts.refs import ChampionRef, CheckpointRef, InputName, PreparedChampion, ValidatedRef
from flows.data_stages import extract_features, prepare
from flows.request import Request
from flows.run_state import RunState
from tasks import progress
from tasks.config import RunConfig
from tasks.encoder_ids import AUTO
from tasks.errors import EnvironmentFailed, UsageError
from tasks.evaluate.comparison import ComparisonRows, require_same_problem
from tasks.extract.extract import Splits, features_fingerprint
from tasks.media.media_store import media_fingerprint
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.pretrained.describe import find_again
from tasks.modeling.pretrained.packaged import is_packaged, packaged_encoder
from tasks.problems.registry import width
from tasks.publish.registry import fetch_champion, fetch_version
from tasks.store import Store

if TYPE_CHECKING:  # which load what every stage needs
    from flows.stages import Stages


def champion_to_continue(request: Request) -> ChampionRef | None:
    """The model that training starts from, where the config asks for it and there is one."""
    if request.config.train.continue_from == "none":
        return None
    return fetch_champion(
        request.name, request.config.publish.alias, request.store, request.tracking_uri, request.verify_key
    )


def require_comparable(champion: ChampionRef, card: ModelCard, valid: ValidatedRef, request: Request) -> None:
    """What would make the comparison with the champion impossible is reported before anything is extracted or trained.

    Raises UsageError where it answers another question than this run's, EnvironmentFailed where the files of an encoder that it
    does not hold itself are gone.
    """
    require_same_problem(champion, card, valid.clean.label_targets[0])
    try:
        champion_config(champion, card, request)
    except EnvironmentFailed as error:
        raise EnvironmentFailed(
            f"model {champion.name} version {champion.version}: the champion cannot be compared with: {error}; or give the new "
            "model another name (--set name=...)"
        ) from None


def prepare_champion(
    champion: ChampionRef, request: Request, stages: Stages, run_state: RunState, splits: Splits = ()
) -> PreparedChampion:
    """The champion with the same samples as it reads them, and the best champion so far where that is another one. `splits`:
    of this run, whose rows' features are needed, () all of them."""
    prepared = prepare_model(champion, "champion", request, stages, run_state, splits)
    anchor = find_anchor(champion, request)
    if anchor is None:
        return prepared
    best = prepare_model(anchor, "best champion so far,", request, stages, run_state, splits)
    return prepared.model_copy(update={"anchor": best})


def find_anchor(champion: ChampionRef, request: Request) -> ChampionRef | None:
    """The best champion so far, where that is another version than the champion that can be compared with.

    One that is gone from the registry, whose encoders are, or that has no label in common with the champion, is passed over,
    which the log says.
    """
    gate = request.config.gate
    if gate.anchor == "off" or champion.anchor in (None, champion.version):
        return None
    number = str(champion.anchor)
    anchor = fetch_version(champion.name, number, request.store, request.tracking_uri, request.verify_key)
    if anchor is None:
        progress.log(
            f"evaluate: version {number}, the best champion so far, is gone from the registry: not compared with"
        )
        return None
    try:
        card, theirs = (read_card(request.store.path(each.uri), each.card_sha256) for each in (champion, anchor))
        require_same_problem(anchor, theirs, card.label_targets[0])
        champion_config(anchor, theirs, request)
    except (UsageError, EnvironmentFailed) as error:
        progress.log(f"evaluate: version {number}, the best champion so far, cannot be compared with ({error})")
        return None
    return anchor


def prepare_model(
    champion: ChampionRef, who: str, request: Request, stages: Stages, run_state: RunState, splits: Splits
) -> PreparedChampion:
    """A published model with the samples as it reads them; they are prepared anew where it was made under other settings."""
    assert run_state.valid is not None
    card = read_card(request.store.path(champion.uri), champion.card_sha256)
    config = champion_config(champion, card, request)
    its_modalities = {modality for modality in ALL_MODALITIES if config.encoders.of(modality) != "off"}
    # Asked first: what its model does not read has no encoder that could be told apart.
    is_alike = its_modalities == set(map(modality_of, run_state.features))
    if is_alike and reading(config, run_state.features) == reading(request.config, run_state.features):
        return PreparedChampion(champion=champion, valid=run_state.valid, features=run_state.features)
    progress.log(f"evaluate: {who} version {champion.version} reads these samples under settings of its own")
    aside = RunState(before=run_state.before)
    aside.seconds = run_state.seconds  # one and the same: its time is the run's
    valid = prepare(request, config, stages, aside)
    # Averaged features are for the comparison alone. Where its samples are not this run's, their splits may not be either: this
    # run's test rows are then in any of them.
    some = config.encoders.test_time_flip == "on" and valid.uri == run_state.valid.uri
    features = extract_features(valid, config, request.store, stages, aside, splits if some else ())
    return PreparedChampion(champion=champion, valid=valid, features=features)


def require_unseen_test_rows(start: ChampionRef, valid: ValidatedRef, store: Store) -> None:
    """UsageError where the model that training is to start from was trained on today's test rows: what is continued from it has
    seen them too, and no figure on them says how it answers new ones."""
    ids, rows = seen_test_rows(start, valid, store)
    if not ids:
        return
    raise UsageError(
        f"train.continue_from=champion: {len(ids):,} of {rows:,} test rows are among those that {start.name} version "
        f"{start.version} was trained on, or of their groups (for example {', '.join(map(repr, ids[:3]))}); give them split "
        "train in the manifest, or train from scratch (--set train.continue_from=none)"
    )


def seen_test_rows(start: ChampionRef, valid: ValidatedRef, store: Store) -> tuple[list[str], int]:
    """(ids, rows): those of today's test rows that a model has seen and one trained from scratch would not have, and how many
    test rows there are."""
    rows = ComparisonRows.read(valid, store)
    card = read_card(store.path(start.uri), start.card_sha256)
    seen = rows.seen_by(PreparedChampion(champion=start, valid=valid, features={}), card, store)
    return [name for name, known in zip(rows.ids, seen, strict=True) if known], len(seen)


def champion_config(champion: ChampionRef, card: ModelCard, request: Request) -> RunConfig:
    """The request's config with the settings under which the champion, whose card this is, reads media.

    Raises EnvironmentFailed where the files of an encoder that it does not hold itself are gone.
    """
    folder = request.store.path(champion.uri)
    specs = {modality_of(name): card.encoders[name] for name in card.modalities}
    encoders: dict[str, str] = {modality: "off" for modality in ALL_MODALITIES if modality not in specs}
    for modality, spec in specs.items():
        # What the model brings along has no id that a config may say: it is put in behind the checks of the config.
        encoders[modality] = (
            packaged_encoder(folder)
            if is_packaged(modality, spec, folder)
            else find_again(
                modality, spec, spec.encoder if (now := request.config.encoders.of(modality)) == AUTO else now
            )
        )
    frozen = any(spec.reads == "embedding" and spec.weights_sha256 is not None for spec in specs.values())
    limits = request.config.media.model_dump(include={"timeout_s", "memory_mb"})  # of this machine, not of the model
    sections = {
        "media": card.config.media.model_copy(update=limits),
        "extract": card.config.extract.computed_as(request.config.extract),
        # shared is of the network, not of its inputs
        "encoders": card.config.encoders.model_copy(update={**encoders, "shared": ()}),
        "train": request.config.train.model_copy(update={"regime": "head" if frozen else "full"}),
    }
    return request.config.model_copy(update=sections)


def reading(config: RunConfig, modalities: Iterable[InputName]) -> list[str]:
    """Digests of all that decides what a model reads of each modality, but the data."""
    return [
        features_fingerprint(name, media_fingerprint(modality_of(name), config.media), config) for name in modalities
    ]


def checkpoint_of(champion: ChampionRef, card: ModelCard) -> CheckpointRef:
    """The champion as what training would have left: the same weights and card, its epochs unknown (0)."""
    return CheckpointRef(
        uri=champion.uri,
        sha256=champion.sha256,
        rows=champion.rows,
        model_sha256=champion.model_sha256,
        train_key=champion.train_key or champion.model_sha256,
        modalities=card.modalities,
        labels=card.labels,
        outputs=width(card.label_targets),
        best_epoch=0,
        epochs=0,
    )
