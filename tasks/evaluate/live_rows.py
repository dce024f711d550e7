"""Two published models on rows whose labels came later: figures, intervals and regressions of classes as on test rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.refs import ChampionRef, EvalReport
from tasks.config import RunConfig
from tasks.evaluate.comparison import against, compare
from tasks.evaluate.scorers import make_scorer
from tasks.evaluate.slice_regressions import find_regressions
from tasks.modeling.card import ModelCard
from tasks.modeling.row_clusters import clusters_of, number_clusters
from tasks.problems.metric import Probabilities
from tasks.problems.registry import problem_of
from tasks.problems.scoring import Clusters
from tasks.samples import Samples
from tasks.store import Store, digest_file, digest_json

KIND = "live"


@dataclass(frozen=True)
class LiveRows:
    """N rows with their labels in the first label column."""

    ids: Sequence[str]
    labels: Sequence[str]
    """Spelled as `universe` has them."""
    universe: tuple[str, ...]
    """All labels: the candidate's own first, then those that only the champion knows. Empty for numbers."""
    groups: Sequence[str | None]
    contents: Sequence[str]
    """Rows of one content count as one cluster, as rows of one group do."""
    modalities: Sequence[str]
    """Those that each row has."""
    candidate: Probabilities
    """(N, outputs) all that it gave out."""
    champion: Probabilities

    @property
    def clusters(self) -> Clusters:
        """(N,) None where each row is one of its own."""
        places = {content: place for place, content in enumerate(dict.fromkeys(self.contents))}
        near = {name: places[content] for name, content in zip(self.ids, self.contents, strict=True)}
        samples = Samples(pa.table({"id": list(self.ids), "group": pa.array(list(self.groups), pa.string())}))
        return clusters_of(np.arange(len(self.ids)), number_clusters(samples, near))


def evaluate_live(
    rows: LiveRows,
    candidate: tuple[ChampionRef, ModelCard],
    champion: tuple[ChampionRef, ModelCard],
    seen: int,
    config: RunConfig,
    store: Store,
) -> EvalReport:
    """The report on the candidate is in the store, with the rows, their labels and what both gave out; it has one row at least.

    `seen` rows were left out, as either model knows them from training.
    """
    pair = tuple(
        make_scorer(card, 0, outputs, list(rows.labels), rows.universe)[0]
        for (_, card), outputs in ((candidate, rows.candidate), (champion, rows.champion))
    )
    clusters, ours = rows.clusters, pair[0]
    pairing = compare((ours, pair[1]), champion[0], config, clusters, seen)
    regressions = find_regressions(
        (ours, pair[1]), rows.universe, np.array(rows.modalities), clusters, config.gate.min_slice_rows
    )
    fields = against(pairing)
    fields["slice_regressions"] = regressions
    report = EvalReport(
        uri=KIND,  # known by its content
        sha256=digest_json(None),
        rows=len(rows.ids),
        clusters=None if clusters is None else int(clusters.max()) + 1,
        parents=(candidate[0].sha256, champion[0].sha256),
        model_sha256=candidate[0].model_sha256,
        problem=problem_of(candidate[1].label_targets[0]).name,
        metrics={"test": ours.score()},
        intervals=ours.intervals(config.seed, clusters=clusters),
        by_modalities={},
        baselines=ours.baselines(),
        majority_share=ours.baselines().get("accuracy"),
        **fields,
    )
    with store.scratch_dir() as scratch:
        pq.write_table(_table(rows), scratch / "rows.parquet", compression="zstd")
        figures = report.model_dump(mode="json", exclude={"uri", "sha256"})
        contents = digest_json([digest_file(scratch / "rows.parquet"), figures])
        if store.find(KIND, contents) is None:
            with store.create(KIND, contents, [candidate[0].uri, champion[0].uri]) as draft:
                (scratch / "rows.parquet").rename(draft.path / "rows.parquet")
                report = report.model_copy(update={"uri": f"{KIND}/{contents}", "sha256": contents})
                draft.ref = report.model_dump(mode="json")
    found = store.find(KIND, contents)
    assert found is not None
    return EvalReport.model_validate(found.ref)


def _table(rows: LiveRows) -> pa.Table:
    """What decided, as evidence."""
    outputs = {"candidate": rows.candidate, "champion": rows.champion}
    return pa.table(
        {
            "id": list(rows.ids),
            "label": list(rows.labels),
            "group": pa.array(list(rows.groups), pa.string()),
            **{name: pa.array(list(values), pa.list_(pa.float32())) for name, values in outputs.items()},
        }
    )
