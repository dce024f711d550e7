"""`predict --explain`: what each input adds to each answer, as columns; of few rows a page, too."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from data_contracts.modalities import in_order
from data_contracts.refs import ChampionRef, CleanRef
from flows.predicted_rows import PredictedRows
from flows.request import Request
from flows.run_state import RunState
from tasks.config import RunConfig
from tasks.explain.sentences import conclude
from tasks.modeling.card import ModelCard
from tasks.reporting.explain_files import write_explanations
from tasks.samples import Samples

PREFIX = "shapley_"
BASE = f"{PREFIX}base"
"""The explained output with every input missing; with the values of the inputs it sums to that of the answer."""


def explain_predictions(
    rows: PredictedRows,
    clean: CleanRef,
    champion: ChampionRef,
    card: ModelCard,
    config: RunConfig,
    run_state: RunState,
    request: Request,
) -> tuple[PredictedRows, str | None]:
    """The rows with a column for each input that the model reads, and the path of the page below the store, where there are no
    more than explain.samples rows and the store can be written to."""
    from tasks.explain.predicted import explain_rows, load_published, value_rows

    store = request.store
    with run_state.timed("evaluate"):
        samples = Samples.read(store.path(clean.uri))
        explainer = load_published(champion, card, config, store)
        values = value_rows(explainer, samples, run_state.features, store)
        answers = rows.answers
        for name in in_order(card.modalities):
            added = (each.shapley.get(name) for each in values)
            column = pa.array([None if value is None else round(value, 6) for value in added], pa.float64())
            answers = answers.append_column(f"{PREFIX}{name}", column)
        answers = answers.append_column(BASE, pa.array([round(each.base, 6) for each in values], pa.float64()))
        found = replace(rows, answers=answers.combine_chunks())
        if len(samples) > config.explain.samples or store.view_of:
            return found, None
        texts = [str(each) for each in answers["predicted"].to_pylist()]
        report = explain_rows(explainer, samples, values, texts, clean, champion, config, store)
    request.folder.mkdir(parents=True, exist_ok=True)
    write_explanations(request.folder, report, conclude(report), clean, clean.notes, request.run_id, store)
    return found, (request.folder / "report.html").relative_to(store.root).as_posix()
