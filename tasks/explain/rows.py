"""Which rows are explained: those of the figures, those that are shown, and those on which orders are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.explanations import RowAnswer
from data_contracts.refs import ValidatedRef
from tasks.config_explain import ExplainConfig
from tasks.errors import DataError, UsageError
from tasks.modeling.profile import choose_places
from tasks.samples import Samples
from tasks.store import Store

Places = NDArray[np.int64]


def read_rows(valid: ValidatedRef, asked: ExplainConfig, store: Store) -> Samples:
    """The rows of the split, in the order of their ids. DataError where it has none, UsageError for an id that is not there."""
    samples = Samples.read(store.path(valid.uri)).of_split(asked.split).sorted_by_id()
    if not len(samples):
        raise DataError(f"explain: no row is of split {asked.split}; name another with --set explain.split=train")
    require_ids(asked, samples.ids)
    return samples


def require_ids(asked: ExplainConfig, ids: Sequence[str | None]) -> None:
    """UsageError where a row that is asked for is not among these."""
    unknown = [each for each in asked.ids if each not in set(ids)]
    if unknown:
        known = ", ".join(map(repr, list(ids)[:3]))
        raise UsageError(
            f"explain.ids: no usable row of split {asked.split} has the id {', '.join(map(repr, unknown[:3]))}; there are "
            f"{len(ids):,}, for example {known}"
        )


@dataclass(frozen=True)
class Plan:
    """Positions among the rows of the split."""

    figures: Places
    """Whose Shapley values are in the figures."""
    shown: Places
    tried: Places
    """On which deletion and insertion are tried."""
    mistakes: Places
    """Wrong answers, the largest loss first."""

    @property
    def attributed(self) -> Places:
        """Those whose parts are looked at."""
        return np.array(list(dict.fromkeys([*self.shown.tolist(), *self.tried.tolist()])), np.int64)


def plan_rows(samples: Samples, answers: Sequence[RowAnswer], asked: ExplainConfig, is_numeric: bool) -> Plan:
    """Rows by a hash of their ids, so that more rows later hold those of before; shown are the worst mistakes, and others."""
    order = np.array(choose_places(samples.ids, len(samples)), np.int64)
    losses = np.array([np.nan if each.loss is None else each.loss for each in answers])
    wrong = np.array([each.wrong for each in answers], bool)
    mistakes = [
        place
        for place in np.argsort(-losses, kind="stable").tolist()
        if wrong[place] or (is_numeric and np.isfinite(losses[place]))
    ]
    tried = order[: asked.fidelity_rows]
    if asked.ids:
        index = {each: place for place, each in enumerate(samples.ids)}
        shown = [index[each] for each in asked.ids]
    else:
        worst = mistakes[: asked.samples // 2]
        others = [place for place in _varied(order.tolist(), samples.labels) if place not in set(worst)]
        shown = [*worst, *others[: asked.samples - len(worst)]]
    return Plan(order[: asked.rows], np.array(shown, np.int64), tried, np.array(mistakes, np.int64))


def _varied(order: Sequence[int], labels: Sequence[str]) -> list[int]:
    """The positions in their order, one of each label before a second of any."""
    turns: dict[str, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for place in order:
        turns[labels[place]] = turns.get(labels[place], -1) + 1
        ranked.append((turns[labels[place]], len(ranked), place))
    return [place for _, _, place in sorted(ranked)]
