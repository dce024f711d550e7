"""What rules of the gate name and the data do not have: known before anything is trained."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np

from data_contracts.modalities import modality_of
from data_contracts.refs import ValidatedRef
from tasks.config import Rule, RunConfig
from tasks.errors import UsageError
from tasks.evaluate.slices import Partition, find_partitions
from tasks.gate_rules import EVERY
from tasks.modalities import all_corruptions
from tasks.samples import Samples
from tasks.store import Store


def require_rules_fit(config: RunConfig, valid: ValidatedRef, store: Store) -> None:
    """Raises UsageError where a rule is about a modality, a slice or a value that these data do not have."""
    partitions: dict[str, Partition] = {}
    if any(rule.slice for rule in config.gate.rules):
        samples = Samples.read(store.path(valid.uri))
        every = np.arange(len(samples))
        found = find_partitions(valid, samples, every, valid.clean.modalities, config, store)
        partitions = {each.by.name: each for each in found}
    for place, rule in enumerate(config.gate.rules):
        where = f"gate.rules.{place}"
        for name in filter(None, rule.modalities.split("+")):
            _require(where, "modality of these data", name, valid.clean.modalities)
        if rule.corruption:
            known = all_corruptions({modality_of(name) for name in valid.clean.modalities})
            _require(where, "corruption of these data", rule.corruption, known)
        if rule.slice:
            _require(where, "slice of these rows", rule.slice_name, partitions)
            _require_value(where, rule, partitions[rule.slice_name])


def _require_value(where: str, rule: Rule, partition: Partition) -> None:
    if rule.slice_value != EVERY:
        _require(where, f"value of {rule.slice_name}", rule.slice_value, sorted(partition.known))


def _require(where: str, what: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(map(repr, names[:20])) + (" …" if len(names) > 20 else "")
    raise UsageError(f"{where}: {name!r} is no {what}; {hint}there are {listed}")
