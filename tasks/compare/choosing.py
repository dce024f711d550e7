"""Which variants are asked for: names and settings checked before anything is read, and those chosen that apply."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_contracts.comparison import NotRun, Value
from data_contracts.modalities import ALL_MODALITIES
from tasks.compare.variants import Known, Variant, list_candidates
from tasks.config import MODEL_SECTIONS, RunConfig, known_keys, nearest_key, with_settings
from tasks.config_compare import GROUPS, PROFILE
from tasks.errors import UsageError

_NO_RESULT = ("train.continue_from", "train.devices", "train.device", "train.strategy", "train.threads")
"""Settings of the machine, or of the start that all variants share."""


@dataclass(frozen=True)
class Chosen:
    """The variants to be fitted, the reference first, and the others."""

    variants: tuple[Variant, ...]
    not_run: tuple[NotRun, ...]


def require_known(config: RunConfig) -> None:
    """Raises UsageError for a variant or group that there is not, and for settings of a custom one that the config refuses."""
    for name, settings in config.compare.custom.items():
        _require_settings(f"compare.custom.{name}", settings, config)
    for kind, encoders in config.compare.backbones.items():
        for encoder in encoders:
            _require_settings("compare.backbones", {f"encoders.{kind}": encoder}, config)
    everything = Known(config, ALL_MODALITIES, (), "accuracy")
    names = [each.variant.name for each in list_candidates(everything)]
    twice = [name for name in config.compare.custom if names.count(name) > 1]
    if twice:
        raise UsageError(f"compare.custom: {twice[0]!r} is the name of another variant; choose another one")
    for key, asked in (("variants", config.compare.variants), ("reference", (config.compare.reference,))):
        for name in asked:
            accepted = [*(GROUPS if key == "variants" else ()), *names]
            if name not in accepted:
                raise UsageError(_unknown(key, name, accepted))


def _unknown(key: str, name: str, accepted: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, accepted, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"compare.{key}: {name!r} is no variant; {hint}there are {', '.join(dict.fromkeys(accepted))}"


def _require_settings(place: str, settings: Mapping[str, Value], config: RunConfig) -> None:
    known = [key for key in known_keys(RunConfig) if key.partition(".")[0] in MODEL_SECTIONS]
    for key in settings:
        if key not in known or key in _NO_RESULT:
            near = nearest_key(key, known)
            hint = f"; did you mean {near!r}?" if near and near != key else ""
            raise UsageError(
                f"{place}: {key!r} is no setting that a variant can have otherwise: only those of "
                f"{', '.join(MODEL_SECTIONS)} that shape the model can{hint}"
            )
    try:
        with_settings(config, settings)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None


def choose_variants(known: Known) -> Chosen:
    """Those that compare.variants and compare.reference name and that apply. UsageError for one that is named by itself and
    does not apply, and where no variant but the reference is left."""
    asked, reference = known.config.compare.variants, known.config.compare.reference
    chosen: dict[str, Variant] = {}
    left: list[NotRun] = []
    for each in list_candidates(known):
        variant = each.variant
        by_name = variant.name in (*asked, reference)
        if by_name and each.missing is not None:
            raise UsageError(f"compare: variant {variant.name} does not apply: {each.missing}")
        if by_name or variant.group in (*asked, PROFILE):
            missing = each.missing or _repeats(variant, chosen, known)
            if missing is None:
                chosen[variant.name] = variant
                continue
            left.append(NotRun(name=variant.name, group=variant.group, reason=missing, applies=False))
        else:
            reason = each.missing or f"not asked for: add it with --variants {variant.name}, or {variant.group}"
            left.append(NotRun(name=variant.name, group=variant.group, reason=reason, applies=each.missing is None))
    if reference not in chosen:  # only where it repeats another variant
        raise UsageError(f"compare.reference: {reference!r} has the same settings as another variant; name that one")
    if len(chosen) < 2:
        why = "; ".join(f"{each.name}: {each.reason}" for each in left if each.group in asked or each.name in asked)
        raise UsageError(f"compare.variants: nothing is left to compare with {reference} ({why})")
    first = chosen.pop(reference)
    return Chosen((first, *chosen.values()), tuple(left))


def _repeats(variant: Variant, chosen: Mapping[str, Variant], known: Known) -> str | None:
    """Why a variant is none of its own, where it is not."""
    if variant.method != "network" or variant.labels is not None:
        return None
    own = _settled(variant, known)
    for other in chosen.values():
        if other.method == "network" and other.labels is None and _settled(other, known) == own:
            return f"it has the same settings as {other.name}"
    return None


def _settled(variant: Variant, known: Known) -> RunConfig:
    """The variant's config; encoders of modalities that the model lacks do not tell it from another."""
    lacking = {f"encoders.{kind}" for kind in ALL_MODALITIES if kind not in known.modalities}
    return with_settings(known.config, {key: value for key, value in variant.settings.items() if key not in lacking})


def compare_config(config: RunConfig) -> RunConfig:
    """The settings as they are, as every variant has them where it has no others: from nothing, and with its epochs."""
    changed: dict[str, object] = {"continue_from": "none"}
    if config.compare.epochs is not None:
        changed["epochs"] = config.compare.epochs
    return config.model_copy(update={"train": config.train.model_copy(update=changed)})
