"""What a published model's answers rest on: what `crossmodal explain` runs and flows/explain.py wraps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from data_contracts.explanations import REPORT, ExplanationPartRef, ExplanationReport, PartName
from data_contracts.refs import ChampionRef, PreparedChampion, RawRef
from data_contracts.run_summary import RunSummary
from flows.champion import champion_config
from flows.data_stages import extract_features, prepare
from flows.execute import attempt
from flows.predictions import asking, require_explainable
from flows.preflight import failure, preflight
from flows.published_config import NamedData, config_of_published
from flows.records import recorded
from flows.request import Request
from flows.run_failed import RunFailed
from flows.run_state import RunState
from flows.serving.loading import find_published
from flows.stages import ExplainStages, Scan, Stages
from flows.summary import notes_of, summarise, write_summary
from tasks import progress
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.explain.parts import count_chunks, find_plan, train_rows
from tasks.explain.rows import require_ids
from tasks.modeling.card import ModelCard, read_card
from tasks.reporting.explain_files import write_explanations
from tasks.store import Store


def explain_model(
    request: Request,
    model: str = "",
    stages: Stages | None = None,
    parts: ExplainStages | None = None,
    run_state: RunState | None = None,
) -> RunSummary:
    """The summary of an explanation of a model on the request's rows; report and explanations.json lie in the run's folder.

    `model`: NAME or NAME@ALIAS, a folder, or a release on the hub; empty: the request's. Raises UsageError where it is not
    there, does not read an input or know a label that is asked for; RunFailed where the rows cannot be read.
    """
    champion = find_published(model or request.name, request)
    card = read_card(request.store.path(champion.uri), champion.card_sha256)
    require_explainable(card, request.config.explain)
    refusal = failure(preflight(request, training=False))
    if refusal is not None:
        raise refusal
    config = asking(champion_config(champion, card, request), card)
    stages, parts, run_state = stages or Stages(), parts or ExplainStages(), run_state or RunState()
    run_state.champion = champion

    def work() -> None:
        """The explanation is done, filling `run_state`."""
        run_explanation(request, champion, config, stages, parts, run_state)

    with recorded(request, "explain", run_state):
        error = attempt(work, run_state)
        summary = _leave_results(request, card, run_state, str(error) if error else None)
    if error is not None:
        raise RunFailed(error, summary) from error
    return summary


def request_of_model(model: str, overrides: Sequence[str], place: Request) -> Request:
    """The request to explain a model on the data of the run that published it. `place` says where its store and registry are.

    UsageError where there is no such model, or nothing says what its data are.
    """
    config = config_of_published("explain", model, find_published(model, place), NamedData(overrides=overrides), place)
    return replace(place, config=config)


def run_explanation(
    request: Request,
    champion: ChampionRef,
    config: RunConfig,
    stages: Stages,
    parts: ExplainStages,
    run_state: RunState,
) -> None:
    """Reads the rows as the model does, values its inputs and their parts chunk by chunk, and puts together what they show."""
    store = request.store
    reading = replace(stages, scan=_refusing(stages.scan))
    valid = run_state.valid = prepare(request, config, reading, run_state)
    run_state.splits = {**valid.clean.splits}
    features = run_state.features = extract_features(valid, config, store, stages, run_state)
    prepared = PreparedChampion(champion=champion, valid=valid, features=features)
    with run_state.timed("evaluate"):
        progress.report("explain", 0, 1, "answers")
        answers = parts.part("answers", 0, prepared, None, config, store)
        plan = find_plan(prepared, answers, config, store)
        trained = len(train_rows(prepared, store)) if config.explain.neighbors else 0
        sizes: dict[PartName, int] = {
            "shapley": len(plan.figures),
            "swaps": len(plan.figures),
            "embeddings": trained,
            "attributions": len(plan.attributed),
        }
        asked = [
            (part, number) for part, rows in sizes.items() for number in range(count_chunks(part, rows) if rows else 0)
        ]
        made = [parts.part(*each, prepared, answers, config, store) for each in _reported(asked)]
        refs: tuple[ExplanationPartRef, ...] = (answers, *made)
        run_state.explanation = parts.explain(prepared, refs, config, store)
    run_state.reason = run_state.explanation.reason


def _refusing(scan: Scan) -> Scan:
    """The stage `scan`, after which an id that no row has is refused, before anything is decoded."""

    def scan_and_look(config: RunConfig, store: Store, data: Path) -> RawRef:
        """The raw table. UsageError where rows have ids, and none has one that is asked for."""
        raw = scan(config, store, data)
        if config.explain.ids:
            ids = read_table(store.path(raw.uri) / "rows.parquet", ["id"])["id"].to_pylist()
            if all(each is not None for each in ids):
                require_ids(config.explain, ids)
        return raw

    return scan_and_look


def _reported(asked: Sequence[tuple[PartName, int]]) -> Iterator[tuple[PartName, int]]:
    """The chunks, one after another; the bar stands at those that are done."""
    for done, each in enumerate(asked):
        progress.report("part", done, len(asked), each[0])
        yield each
    progress.report("part", len(asked), len(asked))


def _leave_results(request: Request, card: ModelCard, run_state: RunState, error: str | None) -> RunSummary:
    """summary.json, and of an explanation that came to its end the report and its figures, in the run's folder."""
    ref, report = run_state.explanation, None
    request.folder.mkdir(parents=True, exist_ok=True)
    notes: tuple[str, ...] = ()
    if ref is not None and error is None:
        assert run_state.valid is not None
        held = json.loads((request.store.path(ref.uri) / REPORT).read_text(encoding="utf-8"))
        found = ExplanationReport.model_validate(held)
        notes = (*notes_of(run_state), *found.notes)
        write_explanations(
            request.folder, found, ref.reason, run_state.valid.clean, notes, request.run_id, request.store
        )
        report = (request.folder / "report.html").relative_to(request.store.root).as_posix()
    summary = summarise(
        request, run_state, "explain", error, report=report, found=None if ref is None or error else ref.counts
    )
    if notes:
        summary = summary.model_copy(update={"notes": tuple(dict.fromkeys((*(summary.notes or ()), *found.notes)))})
    write_summary(request, run_state, summary)
    return summary
