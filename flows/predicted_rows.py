"""Predictions beside the rows that they are of: every row of the input in its order, answered or with the reason why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.refs import ChampionRef, CleanRef, Metrics, RawRef
from data_contracts.tables import row_predictions_schema
from flows.known_labels import KnownLabels, match_labels
from tasks.contract import read_table
from tasks.ingest.ingest import POSITIONS
from tasks.ingest.manifest.carried_columns import CarriedColumns
from tasks.modeling.card import ModelCard
from tasks.modeling.training_rows import Seen, are_among, are_known, contents_of, digest_texts, read_seen
from tasks.problems.registry import problem_of
from tasks.samples import Samples
from tasks.store import Store


@dataclass(frozen=True)
class PredictedRows:
    """The rows of an input with what a model answers."""

    answers: pa.Table
    """predictions_schema, one row per usable row."""
    positions: NDArray[np.int64]
    """(len(answers),) where each stands among all rows."""
    labels: KnownLabels
    """Of all N rows."""
    refused: pa.Table
    """`reason` and `detail` of the other rows, in their order."""
    carried: CarriedColumns

    @classmethod
    def read(
        cls, answers: pa.Table, raw: RawRef, clean: CleanRef, card: ModelCard, carried: CarriedColumns, store: Store
    ) -> PredictedRows:
        """Those of an ingest for predictions, whose samples the answers are of."""
        rows = read_table(store.path(raw.uri) / "rows.parquet", ["label"])
        return cls(
            answers=answers.combine_chunks(),
            positions=read_table(store.path(clean.uri) / POSITIONS)["position"].to_numpy(),
            labels=match_labels(rows["label"].to_pylist(), card.label_targets[0]),
            refused=read_table(store.path(clean.uri) / "quarantine.parquet", ["reason", "detail"]).combine_chunks(),
            carried=carried,
        )

    def tables(self) -> Iterator[pa.Table]:
        """All rows in the order of the input, some thousands at a time: row_predictions_schema, then the carried columns.

        Where several tables were read, `table` says which after `row`.
        """
        answered = np.full(len(self.labels.rows), -1)
        answered[self.positions] = np.arange(len(self.positions))
        refused = np.cumsum(answered < 0) - 1
        start = 0
        for cells in self.carried.tables():
            here = slice(start, start + cells.num_rows)
            start = here.stop
            without = answered[here] < 0
            found = {
                **_columns(self.answers.take(pa.array(answered[here], mask=without))),
                **_columns(self.refused.take(pa.array(refused[here], mask=~without))),
                **_columns(cells),
                "label": pa.array(self.labels.labels[here], pa.string()),
            }
            yield self._in_order(found)

    def score(self, card: ModelCard) -> tuple[int, Metrics]:
        """How many answered rows have labels that the model knows, and on these: accuracy, of sets of labels exact_match, of
        numbers mae.
        """
        rows = np.asarray(self.labels.rows, bool)[self.positions]
        truths = [self.labels.labels[place] for place in self.positions[rows]]
        if not truths:
            return 0, {}
        predicted = self.answers["predicted"].filter(pa.array(rows)).to_pylist()
        return len(truths), {**problem_of(card.label_targets[0]).score_texts(truths, predicted)}

    def describe_seen(self, clean: CleanRef | None, champion: ChampionRef, card: ModelCard, store: Store) -> str | None:
        """A note where the model was trained or validated on rows that have labels: on these its figures are too good."""
        labelled = np.asarray(self.labels.rows, bool)[self.positions]
        if clean is None or not labelled.any():
            return None
        samples = Samples.read(store.path(clean.uri)).take(np.flatnonzero(labelled))
        count = int(known_to(read_seen(store.path(champion.uri)), samples, card).sum())
        if not count:
            return None
        return (
            f"{count:,} of the {int(labelled.sum()):,} rows with a label are among those that the model was trained or "
            "validated on: figures on them say nothing about new rows"
        )

    def _in_order(self, columns: dict[str, pa.Array]) -> pa.Table:
        schema = row_predictions_schema()
        fields = [field.with_type(columns[field.name].type) for field in schema]
        own = [pa.field(name, array.type) for name, array in columns.items() if name not in schema.names]
        table = [field for field in own if field.name == "table"]
        ordered = [fields[0], *table, *fields[1:], *(field for field in own if field not in table)]
        metadata = {**(schema.metadata or {}), **(self.answers.schema.metadata or {})}
        return pa.table({field.name: columns[field.name] for field in ordered}, schema=pa.schema(ordered, metadata))


def known_to(seen: Seen, samples: Samples, card: ModelCard) -> NDArray[np.bool_]:
    """(N,) whether the model was trained or validated on each row: by its content, by its id where that tells no rows apart."""
    contents = digest_texts(contents_of(samples, card.modalities))
    has_content = contents.any(axis=1)  # an id may be any table's row number
    return np.where(has_content, are_among(contents, seen.contents), are_known(samples.ids, seen.ids))


def _columns(table: pa.Table) -> dict[str, pa.Array]:
    return {name: table[name].combine_chunks() for name in table.column_names}
