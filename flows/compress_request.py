"""Which model is to be compressed, on which data, in which ways: known, and refused where it must be, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_contracts.compression import MethodName
from data_contracts.refs import ChampionRef, RawRef
from flows.predictions import find_model
from flows.preflight import failure, preflight
from flows.published_config import NamedData, config_of_published
from flows.request import Request
from flows.serving.loading import find_published
from flows.stages import Scan
from tasks.compress.methods import by_default, check_methods, require_packages, why_not
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.errors import DataError, EnvironmentFailed, UsageError
from tasks.modeling.card import ModelCard, read_card
from tasks.publish.registry import fetch_champion
from tasks.store import Store


@dataclass(frozen=True)
class Compression:
    """What is asked for."""

    request: Request
    """With the config of the data, and the model's name."""
    champion: ChampionRef
    card: ModelCard
    methods: tuple[MethodName, ...]
    not_possible: dict[MethodName, str]
    """Methods that nobody named and that are not for this model, or not on this machine, with the reason."""
    publish: MethodName | None


@dataclass(frozen=True)
class Asked:
    """How a person asks for it."""

    model: str
    """Empty: the only one there is."""
    methods: Sequence[str] = ()
    """Empty: all that can be, but those that are tried by name only."""
    publish: str | None = None
    profile: str | None = None
    data: str | None = None
    overrides: Sequence[str] = ()


def make_compression(asked: Asked, place: Request) -> Compression:
    """The work that is asked for. `place` says where: its store and registry; its config is another's.

    Raises UsageError for an unknown method, a model that is none, one that cannot be compressed so, one without known data;
    EnvironmentFailed where an extra is not installed.
    """
    names = [name for text in asked.methods for name in text.split(",") if name]
    if asked.publish is not None:
        names = names or [asked.publish]
        if asked.publish not in names:
            raise UsageError(f"--publish {asked.publish!r}: is not among --methods {','.join(names)}")
    named = check_methods(names)
    champion = find_published(asked.model, place) if asked.model else find_model(place, None)
    card = read_card(place.store.path(champion.uri), champion.card_sha256)
    named_data = NamedData(asked.profile, asked.data, asked.overrides)
    config = config_of_published("compress", asked.model, champion, named_data, place)
    request = replace(place, config=config)
    chosen = named or by_default()
    not_possible = {name: reason for name in chosen if (reason := _why_not(name, card, bool(named)))}
    methods = tuple(name for name in chosen if name not in not_possible)
    if not methods:
        raise UsageError(f"compress {asked.model}: {next(iter(not_possible.values()))}")
    if "distill" in methods:
        require_fused_features(config, card)
    publish = check_methods([asked.publish])[0] if asked.publish else None
    if publish is not None:
        _require_champion(champion, request)
    refusal = failure(preflight(request, training=False))
    if refusal is not None:
        raise refusal
    return Compression(request, champion, card, methods, not_possible, publish)


def _why_not(method: MethodName, card: ModelCard, named: bool) -> str | None:
    """Why a method is left out. Raises where it was asked for by name."""
    reason = why_not(method, card)
    if reason is not None and named:
        raise UsageError(f"method {method}: this model cannot be compressed so: {reason}")
    if reason is None:
        try:
            require_packages(method)
        except EnvironmentFailed as error:
            if named:
                raise
            return str(error)
    return reason


def require_fused_features(config: RunConfig, card: ModelCard) -> None:
    """UsageError where a student is to learn features that it or the model does not have."""
    weight = config.compress.distill_features_weight
    if weight and card.blend:
        raise UsageError(
            f"compress.distill_features_weight={weight:g}: the model blends {len(card.blend)} models, each with fused "
            "features of its own, so that there are none to learn; set it to 0"
        )
    if weight and "late" in (config.fusion.kind, card.config.fusion.kind):
        raise UsageError(
            f"compress.distill_features_weight={weight:g}: under fusion.kind = late the modalities vote, and there are no "
            "fused features to learn; set it to 0"
        )


def _require_champion(champion: ChampionRef, request: Request) -> None:
    """UsageError unless it is what the alias points to, which a compressed version takes the place of."""
    alias = request.config.publish.alias
    current = fetch_champion(champion.name, alias, request.store, request.tracking_uri, request.verify_key)
    if current is None or current.uri != champion.uri:
        there = "is none" if current is None else f"is version {current.version}"
        raise UsageError(
            f"--publish: a compressed version takes the place of {champion.name}@{alias}, which {there}; name that model"
        )


def refusing_without_test(scan: Scan) -> Scan:
    """The stage `scan`, after which a table that gives splits and no test rows is refused, before anything is decoded."""

    def scan_and_look(config: RunConfig, store: Store, data: Path) -> RawRef:
        """The raw table. DataError where none of its rows is a test row."""
        raw = scan(config, store, data)
        given = set(read_table(store.path(raw.uri) / "rows.parquet", ["split"])["split"].to_pylist())
        if given != {None} and "test" not in given:
            named = ", ".join(sorted(filter(None, given)))
            raise DataError(
                f"data {config.data.path}: split 'test' has no rows (it has {named}); what a compressed model loses is "
                "measured on test rows: give some in the split column, or leave it out so that split.test divides them"
            )
        return raw

    return scan_and_look
