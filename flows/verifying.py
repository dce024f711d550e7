"""Whether a store, its chain of digests, its registry and its journal agree: what `crossmodal store verify` says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from pydantic import ValidationError

from data_contracts.run_refs import RunRefs
from flows.history import RUNS, list_runs
from flows.records import REFS
from tasks.display_table import DisplayTable
from tasks.errors import CrossmodalError, EnvironmentFailed, UsageError
from tasks.publish.journal_events import checked_journal
from tasks.publish.roots import PublishedVersion, read_registry, require_intact
from tasks.retention.verify import Checked, Finding, verify_items
from tasks.store import Store

_RETRAIN = "crossmodal retrain makes a new version; until then the files of this one are checked wherever it is loaded"


@dataclass(frozen=True)
class Verified:
    """What was looked at, and what is wrong."""

    deep: bool
    checked: Checked
    versions: int
    findings: tuple[Finding, ...]

    def as_json(self) -> Mapping[str, object]:
        """For scripts."""
        return {
            "deep": self.deep,
            "checked": {**asdict(self.checked), "versions": self.versions},
            "findings": [asdict(one) for one in self.findings],
        }

    def describe(self) -> str:
        """What was looked at, as one line."""
        seen = self.checked
        read = f", {seen.bytes / 1e6:,.1f} MB read" if self.deep else " (records and chain; every byte with --deep)"
        return (
            f"{seen.artifacts:,} artifacts of {seen.files:,} files, {seen.parts:,} parts, {self.versions:,} published "
            f"versions{read}"
        )

    def table(self) -> DisplayTable:
        """One line a finding."""
        return DisplayTable.of(
            {"what": one.uri, "problem": one.problem, "what to do": one.to_do} for one in self.findings
        )


def verify_store(store: Store, tracking_uri: str, deep: bool) -> Verified:
    """All that is wrong with a store; it is only read. UsageError where there is none."""
    if not store.root.is_dir():
        raise UsageError(f"store {store.root}: is not a folder; name the store with --store")
    checked, versions = Checked(), 0
    findings = [*verify_items(store.root, deep, checked), *_runs(store), *_journal(store, tracking_uri)]
    try:
        registry = read_registry(store, tracking_uri)
    except EnvironmentFailed as error:
        findings.append(Finding("registry", str(error), "restore it from a backup (crossmodal restore)"))
    else:
        versions = len(registry.versions)
        findings += [found for version in registry.versions for found in _version(version, store, tracking_uri, deep)]
    return Verified(deep, checked, versions, tuple(findings))


def _version(version: PublishedVersion, store: Store, tracking_uri: str, deep: bool) -> Iterator[Finding]:
    """A version against the store's copy, the record of its verdict, and under `deep` the registry's own files."""
    name = f"{version.name} version {version.version}"
    alias = [why for why in version.needed_for if why.startswith("alias")]
    if alias and version.why_not is not None and "approval" not in version.needed_for:
        yield Finding(
            name,
            f"{', '.join(alias)} stands for it, but {version.why_not}",
            f"crossmodal models rollback {version.name}",
        )
    if version.evidence is not None and version.needed_for:
        uri, sha256 = version.evidence
        record = store.record_of(uri)
        if record is None:
            yield Finding(name, f"the verdict it was published on, {uri}, is gone or damaged", _RETRAIN)
        elif record.link != sha256:
            yield Finding(name, f"it was published on another verdict than the one at {uri}", _RETRAIN)
    if deep:
        try:
            require_intact(version, store, tracking_uri)
        except CrossmodalError as error:
            to_do = (
                "put the file back from a backup, or crossmodal models rollback"
                if version.needed_for
                else "nothing needs it"
            )
            yield Finding(name, str(error), to_do)


def _runs(store: Store) -> Iterator[Finding]:
    for record in list_runs(store.root):
        path = store.root / RUNS / record.run / REFS
        try:
            RunRefs.model_validate(json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})
        except (OSError, ValueError, ValidationError) as error:
            why = " ".join(str(error).split())[:200]
            yield Finding(
                f"{RUNS}/{record.run}/{REFS}", f"cannot be read ({why})", "its results can be made again: retrain"
            )


def _journal(store: Store, tracking_uri: str) -> Iterator[Finding]:
    try:
        checked_journal("", store, tracking_uri)
    except EnvironmentFailed as error:
        yield Finding("journal", str(error), "put journal.jsonl back from a backup; see docs/journal.md")
