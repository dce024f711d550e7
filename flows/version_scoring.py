"""One model version on one state of the data: the rows that it has not scored become parts of its partition.

Memory holds 32 bytes of each row of the data, 48 of each row that was scored before, and the rows of one part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_contracts.refs import ChampionRef, CleanRef, RawRef
from data_contracts.run_summary import ScoredVersion
from data_contracts.tables import quarantine_schema, scores_schema
from flows.champion import champion_config
from flows.data_stages import extract_features
from flows.environment import now_ms
from flows.known_labels import match_labels
from flows.predicted_rows import known_to
from flows.predictions import asking, predict_samples
from flows.request import Request
from flows.run_state import RunState
from flows.stages import Stages
from tasks import progress
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.errors import DataError, TooManyQuarantined
from tasks.ingest.ingest import POSITIONS, ingest, quarantine_csv
from tasks.ingest.manifest.scan import scan
from tasks.ingest.sources.resolve import locate_data
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.training_rows import are_known, read_seen
from tasks.samples import Samples
from tasks.score.partition import REFUSED, Partition, open_partition, partition_folder
from tasks.score.row_keys import GROUP, ROW, as_keys, content_columns, contents_of_rows, find_new, row_keys
from tasks.store import digest_json, replacing

_BATCH_ROWS = 10_000


def score_version(
    request: Request, ref: ChampionRef, out: Path, part_rows: int, turn: tuple[int, int], run_state: RunState
) -> ScoredVersion:
    """The rows of the data that this version has not scored are parts of its folder below `out`.

    `turn` is which of how many versions this is, for the progress. DataError where every row is refused.
    """
    card = read_card(request.store.path(ref.uri))
    config = asking(champion_config(ref, card, request), card)
    with ExitStack() as held:
        partition = held.enter_context(open_partition(partition_folder(out, ref.name, ref.version), ref.model_sha256))
        refused = held.enter_context(replacing(partition.folder / REFUSED))
        listing = held.enter_context(refused.open("w", encoding="utf-8"))
        with run_state.timed("ingest"):
            raw = scan(config, request.store, locate_data(config, request.store), "predict")
        run_state.warnings += raw.notes
        scoring = VersionScoring(request, ref, card, config, raw, partition, run_state, listing)
        done = scoring.run(part_rows, turn)
    if done.refused == done.rows:
        reasons = ", ".join(f"{reason} {count}" for reason, count in scoring.reasons.most_common(5))
        raise DataError(
            f"data {request.config.data.path}: all {done.rows:,} rows are refused ({reasons}); see "
            f"{partition.folder / REFUSED}"
        )
    return done


@dataclass
class VersionScoring:
    """What one version answers to new rows, part by part."""

    request: Request
    ref: ChampionRef
    card: ModelCard
    config: RunConfig
    raw: RawRef
    partition: Partition
    run_state: RunState
    listing: IO[str]
    """Takes the refused rows."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Of the refused rows."""
    copied: int = 0
    parts: int = 0

    def __post_init__(self) -> None:
        self._path = self.request.store.path(self.raw.uri) / "rows.parquet"
        self._content = content_columns(pq.read_schema(self._path).names, self.card.modalities)
        self._seen = read_seen(self.request.store.path(self.ref.uri))

    def run(self, part_rows: int, turn: tuple[int, int]) -> ScoredVersion:
        """All that is new is scored."""
        self._list_refused(quarantine_schema().empty_table(), header=True)
        new = self._find_new()
        total, done = int(new.sum()), 0
        for rows in self._chunks(new, part_rows):
            progress.report("score", turn[0] * total + done, turn[1] * total, f"version {self.ref.version}")
            self._score(rows)
            done += rows.num_rows
        progress.report("score", (turn[0] + 1) * total, turn[1] * total, f"version {self.ref.version}")
        refused = self.reasons.total()
        return ScoredVersion(
            version=self.ref.version,
            sha256=self.ref.model_sha256,
            rows=len(new),
            known=len(new) - total,
            scored=total - refused,
            copied=self.copied,
            refused=refused,
            parts=self.parts,
            folder=str(self.partition.folder),
        )

    # -- which rows ---

    def _find_new(self) -> NDArray[np.bool_]:
        """(N,) of all raw rows: the first of each id and content that no part has."""
        keys = [as_keys([])]
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=["id", *self._content]):
                rows = pa.table(batch)
                keys.append(row_keys(rows["id"].to_pylist(), contents_of_rows(rows, self._content)))
        return find_new(np.concatenate(keys), self.partition.known.keys)

    def _chunks(self, new: NDArray[np.bool_], part_rows: int) -> Iterator[pa.Table]:
        """The new raw rows in their order, `part_rows` at a time."""
        with pq.ParquetFile(self._path) as file:
            waiting, start = file.schema_arrow.empty_table(), 0
            for batch in file.iter_batches(_BATCH_ROWS):
                here = new[start : start + batch.num_rows]
                start += batch.num_rows
                if here.any():
                    waiting = pa.concat_tables([waiting, pa.table(batch).filter(pa.array(here))])
                while waiting.num_rows >= part_rows:
                    yield waiting.slice(0, part_rows).combine_chunks()
                    waiting = waiting.slice(part_rows)
            if waiting.num_rows:
                yield waiting.combine_chunks()

    # -- what they are answered ---

    def _score(self, rows: pa.Table) -> None:
        """The rows are a part, but for those that are refused: these are listed."""
        contents = contents_of_rows(rows, self._content)
        places = self.partition.known.find(as_keys([bytes.fromhex(content) for content in contents]))
        places[np.asarray(rows["reason"].is_valid())] = -1
        known, tables = places >= 0, []
        if known.any():
            tables.append(self._copy(rows.filter(pa.array(known)), places[known]))
        if not known.all():
            others = np.flatnonzero(~known)
            tables.append(self._compute(rows.take(others), [contents[place] for place in others]))
        found = [table for table in tables if table.num_rows]
        if found:
            self.partition.write(pa.concat_tables(found))
            self.parts += 1

    def _copy(self, rows: pa.Table, places: NDArray[np.int64]) -> pa.Table:
        """The answers to the same contents under other ids."""
        answers = self.partition.read_rows(places)
        own = np.array([mark == ROW for mark in answers["seen"].to_pylist()], bool)
        self.copied += rows.num_rows
        return self._table(answers, rows, answers["content"].to_pylist(), own)

    def _compute(self, rows: pa.Table, contents: Sequence[str]) -> pa.Table:
        """The model's answers to those of the rows that can be read; the others are listed."""
        store, aside = self.request.store, RunState(seconds=self.run_state.seconds)
        clean = self._ingest(rows)
        refused = read_table(store.path(clean.uri) / "quarantine.parquet")
        self._list_refused(refused)
        self.reasons.update(refused["reason"].to_pylist())
        if not clean.rows:
            return scores_schema().empty_table()
        aside.features = extract_features(clean, self.config, store, Stages(), aside)
        with self.run_state.timed("evaluate"):
            answers = predict_samples(clean, self.ref, self.card, aside, self.request)
        self.run_state.warnings += [*clean.notes, *aside.warnings]
        places = read_table(store.path(clean.uri) / POSITIONS)["position"].to_numpy()
        own = known_to(self._seen, Samples.read(store.path(clean.uri)), self.card)
        return self._table(answers, rows.take(places), [contents[place] for place in places], own)

    def _ingest(self, rows: pa.Table) -> CleanRef:
        """The samples of some raw rows."""
        store, key = self.request.store, digest_json([self.raw.uri, *map(str, rows["id"].to_pylist())])
        if store.find("raw", key) is None:
            with store.create("raw", key) as draft:
                pq.write_table(rows, draft.path / "rows.parquet", compression="zstd")
        raw = self.raw.model_copy(update={"uri": f"raw/{key}", "sha256": key, "rows": rows.num_rows, "notes": ()})
        with self.run_state.timed("ingest"):
            try:
                return ingest(raw, self.config, store, "predict")
            except TooManyQuarantined as refusal:  # none of these; others may be read
                return refusal.clean

    def _table(self, answers: pa.Table, rows: pa.Table, contents: Sequence[str], seen: NDArray[np.bool_]) -> pa.Table:
        """The answers (M rows) to these raw rows as a part has them; `seen` (M,): whether the model knows the row itself."""
        groups = rows["group"].to_pylist()
        of_group = are_known(groups, self._seen.groups)
        marks = [ROW if own else GROUP if other else None for own, other in zip(seen, of_group, strict=True)]
        found = {
            "id": rows["id"],
            "label": match_labels(rows["label"].to_pylist(), self.card.label_targets[0]).labels,
            "group": groups,
            "content": contents,
            "seen": marks,
            "scored_at": [now_ms()] * rows.num_rows,
        }
        schema = scores_schema()
        held = {name: answers[name] for name in answers.column_names} | found
        arrays = {each.name: held.get(each.name, [None] * rows.num_rows) for each in schema}
        return pa.table(
            arrays, schema=schema.with_metadata({**(answers.schema.metadata or {}), **(schema.metadata or {})})
        )

    def _list_refused(self, refused: pa.Table, header: bool = False) -> None:
        head, _, lines = quarantine_csv(refused).partition("\n")
        self.listing.write(f"{head}\n" if header else lines)
