"""What an explanation shows, in words that are true to its intervals."""

from __future__ import annotations

from collections.abc import Sequence

from data_contracts.explanations import ExplanationReport, InputFigures, Interval
from data_contracts.refs import PreparedChampion
from tasks.config import RunConfig
from tasks.samples import Samples
from tasks.store import Store


def conclude(report: ExplanationReport) -> str:
    """What the answers rest on, as one readable line."""
    ranked = sorted(report.inputs, key=lambda each: -each.share)
    *more, last = (f"{_percent(each.share, each.share_interval)} on {each.input}" for each in ranked)
    text = "answers rest " + (f"{', '.join(more)} and {last}" if more else last)
    helping = [each.input for each in ranked if each.toward_truth_interval and each.toward_truth_interval[0] > 0]
    known = any(each.toward_truth is not None for each in ranked)
    if known and not helping:
        text += "; no input is shown to help toward the true answer"
    elif report.dominant is not None:
        text += f"; {report.dominant} dominates"
    elif len(ranked) > 1:
        text += "; none leads by more than chance"
    easiest = [each for each in report.swaps if each.flip_rate is not None]
    if easiest:
        most = max(easiest, key=lambda each: each.flip_rate or 0.0)
        text += f"; another row's {most.input} changes {most.flip_rate:.0%} of answers"
    return text


def _percent(share: float, interval: Interval | None) -> str:
    if interval is None:
        return f"{share:.0%}"
    return f"{share:.0%} [{100 * interval[0]:.0f}, {100 * interval[1]:.0f}]"


def notes_of(
    samples: Samples,
    prepared: PreparedChampion,
    figures: Sequence[InputFigures],
    config: RunConfig,
    store: Store,
) -> tuple[str, ...]:
    """What is to be known about the figures."""
    notes = []
    asked = config.explain
    seen = _count_seen(samples, prepared, store) if asked.split == "test" else 0
    if seen:
        notes.append(
            f"{seen:,} of the {len(samples):,} rows are among those that the model was trained or validated on: its answers to "
            "them rest on what it remembers, too"
        )
    if asked.split != "test":
        notes.append(f"rows of split {asked.split}: the model was trained or chosen on such rows")
    lacking = [each.input for each in figures if not each.rows]
    if lacking:
        notes.append(f"no explained row has {', '.join(lacking)}")
    if not prepared.valid.clean.splits.get("train"):
        notes.append("the data have no train rows: no nearest ones are shown")
    return tuple(notes)


def _count_seen(samples: Samples, prepared: PreparedChampion, store: Store) -> int:
    from tasks.errors import DataError
    from tasks.modeling.training_rows import are_known, contents_of, read_seen

    try:
        seen = read_seen(store.path(prepared.champion.uri))
    except DataError:  # a folder with a model only
        return 0
    return int(are_known(contents_of(samples, tuple(prepared.features)), seen.contents).sum())
