"""Labels that come later: the gate decides between challenger and champion on live rows. `crossmodal feedback` runs this."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from data_contracts.live_verdict import LiveVerdict
from data_contracts.refs import ChampionRef
from flows.environment import user_name
from flows.history import run_config
from flows.known_labels import KnownLabels, match_labels
from flows.request import Request
from tasks import progress
from tasks.config import RunConfig, load_config
from tasks.errors import DataError, EnvironmentFailed, UsageError
from tasks.evaluate.comparison import require_same_problem
from tasks.evaluate.live_rows import LiveRows, evaluate_live
from tasks.gate.gate import gate
from tasks.gate_rules import Rule
from tasks.ingest.sources.limits import read_limits
from tasks.ingest.sources.tables import open_table
from tasks.labels import label_columns
from tasks.modeling.card import ModelCard, read_card
from tasks.problems.cells import is_empty, plain
from tasks.problems.registry import problem_of
from tasks.publish import journal_events, registry
from tasks.publish.approval import CHALLENGER
from tasks.score.late_labels import LateLabels, PairedScores, collect_labels, outputs_of, pair_scores, read_scores
from tasks.score.partition import list_parts, partition_folder
from tasks.store import digest_file

Published = tuple[ChampionRef, ModelCard]


def decide_live(
    labels: str, candidate: Published, champion: Published, scores: Path, config: RunConfig, request: Request
) -> LiveVerdict:
    """The verdict on the candidate against the champion on the rows of `labels` that both have scored; the journal has it.

    Raises DataError where the file, or no row of it, can be used.
    """
    ref, card = candidate
    require_same_problem(champion[0], champion[1], card.label_targets[0])
    late = read_labels(Path(labels), config, card)
    pairs = pair_published(late, scores, candidate, champion)
    rows, known = join_labels(pairs, late, card, champion[1])
    notes = describe(late, pairs, known, config)
    if not rows.ids:
        raise DataError(f"labels {labels}: no row to compare on ({'; '.join(notes)}); see docs/score.md")
    kept = tuple(rule for rule in config.gate.rules if not _needs_test_rows(rule))
    config = config.model_copy(update={"gate": config.gate.model_copy(update={"rules": kept})})
    report = evaluate_live(rows, candidate, champion, pairs.seen, config, request.store)
    verdict = gate(report, config, request.store)
    recorded = journal_events.record_live(
        ref, verdict, report, digest_file(Path(labels)), rows.ids, request.store, user_name(), datetime.now(UTC)
    )
    if recorded.is_new:
        journal_events.name_last_entry(ref.name, request.store, request.tracking_uri)
    return LiveVerdict(
        model=ref.name,
        version=ref.version,
        champion=champion[0].version,
        decision=verdict.decision,
        reason=verdict.reason,
        rows=report.rows,
        clusters=report.clusters,
        metrics=report.metrics["test"],
        champion_metrics=report.champion_metrics or {},
        rules=verdict.rules,
        labels=len(late.labels),
        notes=notes,
        test_uses=recorded.test_uses,
    )


def find_pair(model: str, overrides: Sequence[str], request: Request) -> tuple[Published, Published, RunConfig]:
    """The challenger, the champion, and the settings of the run that made the challenger, with `overrides` on top.

    UsageError where one of the two is not there. A run that is in another store is as one with the default settings.
    """
    candidate = _published(request, model, CHALLENGER)
    run = registry.run_of(model, candidate[0].version, request.store, request.tracking_uri)
    try:
        stored = run_config(request.store, run).model_dump(mode="json")
    except EnvironmentFailed as error:
        progress.log(f"feedback: {error}; the default settings decide", "warning")
        stored = {}
    config = load_config(stored, overrides, f"run {run}")
    champion = _published(request, model, config.publish.alias)
    if candidate[0].version == champion[0].version:
        raise UsageError(
            f"model {model}: version {champion[0].version} is both {CHALLENGER} and {config.publish.alias}"
        )
    return candidate, champion, config


def _published(request: Request, model: str, alias: str) -> Published:
    ref = registry.fetch_champion(model, alias, request.store, request.tracking_uri, request.verify_key)
    if ref is None:
        raise UsageError(
            f"model {model}: has no {alias}, and labels decide between challenger and champion; see docs/score.md"
        )
    return ref, read_card(request.store.path(ref.uri), ref.card_sha256)


def read_labels(path: Path, config: RunConfig, card: ModelCard) -> LateLabels:
    """The labels of a table with the columns id and label, or with the names that the config has for them.

    UsageError where the file or a column is not there.
    """
    if not path.is_file():
        raise UsageError(f"labels {str(path)!r}: no such file; give a table with the columns id and label")
    table = open_table(path, read_limits(config))
    columns = config.data.columns
    named = [
        next((name for name in names if name in table.columns), None)
        for names in ((columns.id, "id", "sample_id"), (label_columns(config.data)[0].name, "label"))
    ]
    if None in named:
        raise UsageError(f"labels {str(path)!r}: needs the columns id and label, and has {', '.join(table.columns)}")
    problem = problem_of(card.label_targets[0])

    def text(cell: object) -> str | None:
        """The label as ingest reads it."""
        return None if is_empty(cell) else problem.read_cell(cell, str(named[1]))[0]

    lines = ((plain(row.values.get(str(named[0]))), text(row.values.get(str(named[1])))) for row in table.rows)
    return collect_labels(lines)


def pair_published(late: LateLabels, scores: Path, candidate: Published, champion: Published) -> PairedScores:
    """The scores of both on the labelled rows. UsageError where one of the two has none at all."""
    found = []
    for ref, _ in (candidate, champion):
        folder = partition_folder(scores, ref.name, ref.version)
        if not list_parts(folder):
            raise UsageError(
                f"scores {folder}: version {ref.version} has none; score the rows with crossmodal score DATA --model {ref.name}"
            )
        found.append(read_scores(folder, ref.model_sha256, late.labels))
    same_inputs = {*candidate[1].modalities} == {*champion[1].modalities}
    return pair_scores(found[0], found[1], late.labels, same_inputs)


def join_labels(
    pairs: PairedScores, late: LateLabels, card: ModelCard, theirs: ModelCard
) -> tuple[LiveRows, KnownLabels]:
    """The pairs with the labels that either model knows, and what was found of all labels."""
    target = card.label_targets[0]
    universe = tuple(dict.fromkeys((*target.labels, *theirs.label_targets[0].labels)))
    known = match_labels([late.labels[name] for name in pairs.ids], target.model_copy(update={"labels": universe}))
    chosen = pa.array(known.rows, pa.bool_())
    ours, others = pairs.candidate.filter(chosen), pairs.champion.filter(chosen)
    rows = LiveRows(
        ids=ours["id"].to_pylist(),
        labels=[str(label) for label, kept in zip(known.labels, known.rows, strict=True) if kept],
        universe=universe,
        groups=ours["group"].to_pylist(),
        contents=ours["content"].to_pylist(),
        modalities=ours["modalities"].to_pylist(),
        candidate=outputs_of(ours),
        champion=outputs_of(others),
    )
    return rows, known


def describe(late: LateLabels, pairs: PairedScores, known: KnownLabels, config: RunConfig) -> tuple[str, ...]:
    """What became of the labels that decide nothing, and of rules that these rows do not tell about."""
    counted = {
        "lines have no id or no label": late.unusable,
        "lines repeat one before them": late.repeated,
        "ids have two different labels, and are left out": late.conflicting,
        "ids are unknown: neither version has scored them": pairs.unknown,
        "ids stand for several rows of the scored data, and are left out": pairs.ambiguous,
        "rows are scored by one of the two only, or with another content": pairs.unpaired,
        "rows are known to either version from its training, and are left out": pairs.seen,
    }
    notes = [f"{count:,} {what}" for what, count in counted.items() if count]
    left_out = sum(map(_needs_test_rows, config.gate.rules))
    if left_out:
        notes.append(
            f"{left_out} rules are about what stored answers do not tell (slices, modalities, other label columns)"
        )
    return (*notes, *filter(None, [known.describe()]))


def _needs_test_rows(rule: Rule) -> bool:
    """Whether a rule asks for more than labels of the first column and answers with all modalities tell."""
    return bool(rule.column) or rule.is_of_parts
