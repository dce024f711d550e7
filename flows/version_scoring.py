"""One model version on one state of the data: the rows that it has not scored become parts of its partition.

Memory holds some 100 bytes of each row of the data and of each row that was scored before, and the rows of one part.
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
from tasks.ingest.table_digest import digest_table
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.training_rows import are_known, read_seen
from tasks.samples import Samples
from tasks.score.partition import REFUSED, Partition, open_partition, partition_folder
from tasks.score.row_keys import (
    GROUP,
    NO_CONTENT,
    ROW,
    Places,
    RowKeys,
    RowStates,
    as_keys,
    content_columns,
    contents_of_rows,
    find_new,
)
from tasks.store import replacing

_BATCH_ROWS = 10_000


def score_version(
    request: Request, ref: ChampionRef, out: Path, part_rows: int, turn: tuple[int, int], run_state: RunState
) -> ScoredVersion:
    """The rows of the data that this version has not scored are parts of its folder below `out`.

    `turn` is which of how many versions this is, for the progress. DataError where every row is refused.
    """
    card = read_card(request.store.path(ref.uri), ref.card_sha256)
    config = asking(champion_config(ref, card, request), card)
    with ExitStack() as held:
        folder = partition_folder(out, ref.name, ref.version)
        partition = held.enter_context(
            open_partition(folder, ref.model_sha256, request.store.lock_timeout_s, request.run_id)
        )
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
    refused: list[int] = field(default_factory=list)
    """Their places among the raw rows."""
    copied: int = 0
    parts: int = 0

    def __post_init__(self) -> None:
        self._path = self.request.store.path(self.raw.uri) / "rows.parquet"
        self._content = content_columns(pq.read_schema(self._path).names, self.card.modalities)
        self._seen = read_seen(self.request.store.path(self.ref.uri))

    def run(self, part_rows: int, turn: tuple[int, int]) -> ScoredVersion:
        """All that is new is scored."""
        self._list_refused(quarantine_schema().empty_table(), header=True)
        self._states = self._compare()
        new, progressed = self._states.new, 0
        total = int(new.sum())
        for places, rows in self._chunks(new, part_rows):
            progress.report("score", turn[0] * total + progressed, turn[1] * total, f"version {self.ref.version}")
            self._score(places, rows)
            progressed += rows.num_rows
        again = np.isin(self._states.repeats, self.refused)
        for places, rows in self._chunks(again, part_rows):  # what repeats a refused row is refused on its own account
            self._score(places, rows)
        progress.report("score", (turn[0] + 1) * total, turn[1] * total, f"version {self.ref.version}")
        repeated = int(((self._states.repeats >= 0) & ~again).sum())
        tried = total + int(again.sum())
        return ScoredVersion(
            version=self.ref.version,
            sha256=self.ref.model_sha256,
            rows=len(new),
            known=len(new) - repeated - tried,
            repeated=repeated,
            scored=tried - len(self.refused),
            copied=self.copied,
            refused=len(self.refused),
            parts=self.parts,
            folder=str(self.partition.folder),
        )

    # -- which rows ---

    def _compare(self) -> RowStates:
        """What is to be done with the raw rows."""
        keys, readable = [], [np.zeros(0, bool)]
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=["id", "reason", *self._content]):
                rows = pa.table(batch)
                contents = contents_of_rows(rows, self._content)
                keys.append(RowKeys.of(rows["id"].to_pylist(), contents))
                readable.append(_are_readable(rows, contents))
        data, known = RowKeys.concat(keys), self.partition.known
        return find_new(data, np.concatenate(readable), known.keys, known.rows_of_id)

    def _chunks(self, chosen: NDArray[np.bool_], part_rows: int) -> Iterator[tuple[Places, pa.Table]]:
        """The chosen raw rows in their order, `part_rows` at a time, each time with their places."""
        places, done = np.flatnonzero(chosen), 0
        with pq.ParquetFile(self._path) as file:
            waiting, start = file.schema_arrow.empty_table(), 0
            for batch in file.iter_batches(_BATCH_ROWS):
                here = chosen[start : start + batch.num_rows]
                start += batch.num_rows
                if here.any():
                    waiting = pa.concat_tables([waiting, pa.table(batch).filter(pa.array(here))])
                while waiting.num_rows >= part_rows or (start == len(chosen) and waiting.num_rows):
                    rows = waiting.slice(0, part_rows).combine_chunks()
                    yield places[done : done + rows.num_rows], rows
                    waiting, done = waiting.slice(part_rows), done + rows.num_rows

    # -- what they are answered ---

    def _score(self, places: Places, rows: pa.Table) -> None:
        """The rows, which stand at these places of the raw rows, are a part in their order, but for those that are refused:
        these are listed.
        """
        contents = contents_of_rows(rows, self._content)
        answers = self.partition.known.find(as_keys([bytes.fromhex(content) for content in contents]))
        answers[~_are_readable(rows, contents)] = -1
        copied, others = np.flatnonzero(answers >= 0), np.flatnonzero(answers < 0)
        found = []
        if len(copied):
            found.append(self._copy(places[copied], rows.take(copied), answers[copied]))
        if len(others):
            found.append(self._compute(places[others], rows.take(others), [contents[place] for place in others]))
        scored = np.concatenate([usable for usable, _ in found])
        self.refused += np.setdiff1d(places, scored).tolist()
        if len(scored):
            self.partition.write(pa.concat_tables([table for _, table in found]).take(np.argsort(scored)))
            self.parts += 1

    def _copy(self, places: Places, rows: pa.Table, stored: Places) -> tuple[Places, pa.Table]:
        """The stored answers to the same contents, `stored` are their places, and the places of the rows."""
        answers = self.partition.read_rows(stored)
        own = np.array([mark == ROW for mark in answers["seen"].to_pylist()], bool)
        self.copied += rows.num_rows
        return places, self._table(places, answers, rows, answers["content"].to_pylist(), own)

    def _compute(self, places: Places, rows: pa.Table, contents: Sequence[str]) -> tuple[Places, pa.Table]:
        """The places of those of the rows that can be read, and the model's answers to them; the others are listed."""
        store, aside = self.request.store, RunState(seconds=self.run_state.seconds)
        clean = self._ingest(rows)
        refused = read_table(store.path(clean.uri) / "quarantine.parquet")
        self._list_refused(refused)
        self.reasons.update(refused["reason"].to_pylist())
        if not clean.rows:
            return places[:0], scores_schema().empty_table()
        aside.features = extract_features(clean, self.config, store, Stages(), aside)
        with self.run_state.timed("evaluate"):
            answers = predict_samples(clean, self.ref, self.card, aside, self.request)
        self.run_state.warnings += [*clean.notes, *aside.warnings]
        usable = read_table(store.path(clean.uri) / POSITIONS)["position"].to_numpy()
        own = known_to(self._seen, Samples.read(store.path(clean.uri)), self.card)
        of_usable = [contents[place] for place in usable]
        return places[usable], self._table(places[usable], answers, rows.take(usable), of_usable, own)

    def _ingest(self, rows: pa.Table) -> CleanRef:
        """The samples of some raw rows, kept under the digest of all their cells: others may have the same ids."""
        store, key = self.request.store, digest_table(rows)
        if store.find("raw", key) is None:
            with store.create("raw", key) as draft:
                pq.write_table(rows, draft.path / "rows.parquet", compression="zstd")
        raw = self.raw.model_copy(update={"uri": f"raw/{key}", "sha256": key, "rows": rows.num_rows, "notes": ()})
        with self.run_state.timed("ingest"):
            try:
                return ingest(raw, self.config, store, "predict")
            except TooManyQuarantined as refusal:  # none of these; others may be read
                return refusal.clean

    def _table(
        self,
        places: Places,
        answers: pa.Table,
        rows: pa.Table,
        contents: Sequence[str],
        seen: NDArray[np.bool_],
    ) -> pa.Table:
        """The answers to M raw rows, which stand at `places`, as a part has them; `seen` (M,): whether the model knows each."""
        groups = rows["group"].to_pylist()
        of_group = are_known(groups, self._seen.groups)
        marks = [ROW if own else GROUP if other else None for own, other in zip(seen, of_group, strict=True)]
        found = {
            "id": rows["id"],
            "label": match_labels(rows["label"].to_pylist(), self.card.label_targets[0]).labels,
            "group": groups,
            "content": contents,
            "seen": marks,
            "rows_of_id": self._states.rows_of_id[places],
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


def _are_readable(rows: pa.Table, contents: Sequence[str]) -> NDArray[np.bool_]:
    """(N,) whether raw rows have what the model reads, as far as that is known before anything is decoded."""
    has_content = np.array([content != NO_CONTENT for content in contents], bool)
    has_reason: NDArray[np.bool_] = np.asarray(rows["reason"].is_valid(), bool)
    return has_content & ~has_reason
