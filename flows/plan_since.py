"""What has changed since the last run of a model, and what its runs took: the reasons and the seconds of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from data_contracts.refs import InputName, Modality, RawRef
from data_contracts.run_record import RunRecord
from data_contracts.run_refs import RunRefs
from flows.history import list_runs, run_config, run_refs
from flows.request import Request
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.encoder_choice import with_encoders
from tasks.encoder_ids import AUTO
from tasks.errors import CrossmodalError
from tasks.ingest.manifest.row_changes import RowChanges, compare_rows
from tasks.publish.tracking import flatten
from tasks.store import Store

_RUNS = 10
"""So many of the last runs are looked at: older ones had other data, and another machine."""
_SHOWN = 2


@dataclass(frozen=True)
class Earlier:
    """The last completed run of a model."""

    run: str
    refs: RunRefs
    config: RunConfig

    def rows_since(self, raw: RawRef, store: Store) -> RowChanges | None:
        """How the rows differ from that run's; None where its table is not in the store any more."""
        if self.refs.raw is None or not (store.path(self.refs.raw.uri) / "rows.parquet").is_file():
            return None
        if self.refs.raw.uri == raw.uri:
            return RowChanges(0, 0, 0)
        before, now = (read_table(store.path(ref.uri) / "rows.parquet") for ref in (self.refs.raw, raw))
        return compare_rows(before, now)

    @property
    def tried(self) -> int:
        """How many models it trained to choose from; 1 where it chose none."""
        compared = () if self.refs.encoder_choice is None else self.refs.encoder_choice.compared
        return max(1, sum(one.epochs > 0 for one in compared))

    def as_candidate(self, config: RunConfig, kinds: Iterable[Modality]) -> Earlier:
        """The same, where it left the encoders of these modalities open, too, as if it had them as this config does: it tried
        each."""
        choice = self.refs.encoder_choice
        tried = {
            kind: config.encoders.of(kind)
            for kind in kinds
            if (
                self.config.encoders.of(kind) == AUTO if choice is None else choice.compared and kind in choice.encoders
            )
        }
        return replace(self, config=with_encoders(self.config, tried))

    def settings_since(self, config: RunConfig, *sections: str) -> str:
        """The settings of these sections that differ, as `train.epochs 25 -> 5`; empty where none does."""
        ours, theirs = (_flat(one, sections) for one in (self.config, config))
        names = [name for name in dict.fromkeys([*ours, *theirs]) if ours.get(name) != theirs.get(name)]
        shown = [f"{name} {ours.get(name, '-')} -> {theirs.get(name, '-')}" for name in names[:_SHOWN]]
        more = len(names) - len(shown)
        return ", ".join([*shown, *([f"{more} more settings"] if more else [])])

    def why_anew(self, name: InputName, fingerprint: str, config: RunConfig) -> str:
        """Why an input's features are not those of that run; empty where they are."""
        ref = self.refs.features.get(name)
        if ref is None:
            return "an input that the last run did not have"
        encoder = config.encoders.of(name)
        if ref.encoder != encoder:
            if self.config.encoders.of(name) == encoder:  # it tried this one, too, and kept the features of another
                return self.settings_since(config, "extract", "media", "encoders")
            return f"another encoder: {ref.encoder} -> {encoder}"
        if ref.fingerprint == fingerprint:
            return ""
        return (
            self.settings_since(config, "extract", "media", "encoders") or "the encoder's weights or code have changed"
        )


def last_run(request: Request) -> Earlier | None:
    """The last completed run of the model that came to features; None where there is none."""
    for record in _completed(request):
        try:
            refs = run_refs(request.store, record.run)
            if refs.raw is not None and refs.features:
                return Earlier(record.run, refs, run_config(request.store, record.run))
        except CrossmodalError:  # of another release: it tells nothing of this one
            continue
    return None


def rates(request: Request) -> dict[str, float]:
    """Stage to its seconds for one row (ingest and validate: read, train: of train, evaluate: of test; extract: one medium;
    publish: one model), of that run among the last that took longest. Stages that no run came to are left out.

    The longest: a run that reused what it could says nothing of what computing takes.
    """
    found: dict[str, float] = {}
    for record in _completed(request)[:_RUNS]:
        splits, rows = record.splits, record.rows.get("in", 0)
        units = {"ingest": rows, "validate": rows, "extract": rows, "train": splits.get("train", 0)}
        units |= {"evaluate": splits.get("test", 0), "publish": 1}
        for stage, unit in units.items():
            if unit and record.seconds.get(stage):
                found[stage] = max(found.get(stage, 0.0), record.seconds[stage] / unit)
    return found


def _completed(request: Request) -> list[RunRecord]:
    runs = list_runs(request.store.root, request.name)
    return [run for run in runs if run.status == "completed" and run.flow == "retrain"]


def _flat(config: RunConfig, sections: tuple[str, ...]) -> Mapping[str, Any]:
    return dict(flatten(config.model_dump(mode="json", include=set(sections))))
