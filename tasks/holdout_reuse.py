"""How often test rows have decided a verdict. Each time the best on them is chosen, its figures flatter it a little more (Dwork
et al. 2015, "The reusable holdout"), so a test set wears out.

Kept in the journal as a sample of the rows that is the same for the same rows (the smallest digests: a bottom-k sketch, Cohen &
Kaplan 2007), from which the overlap of two test sets is estimated: exact where both are the same or have nothing in common.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Sequence

SAMPLED = 32
"""Rows of a test set. An overlap of one half is then estimated to +- 0.09."""
_HEX = 12
MANY = 20
"""Verdicts on the same rows, above which it is said. After 52 a champion's figure is 1 to 2 points too high (docs/gate.md)."""


def sample_rows(ids: Iterable[str]) -> tuple[str, ...]:
    """The sample of the rows with these ids, sorted."""
    digests = {hashlib.sha256(each.encode("utf-8", "surrogatepass")).hexdigest()[:_HEX] for each in ids}
    return tuple(heapq.nsmallest(SAMPLED, digests))


def overlap(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """The share of our rows that are among theirs, by the samples of both."""
    full = [sample[-1] for sample in (ours, theirs) if len(sample) == SAMPLED]
    compared = {digest for digest in ours if not full or digest <= min(full)}
    return len(compared & {*theirs}) / len(compared) if compared else 0.0


def count_uses(ours: Sequence[str], earlier: Iterable[Sequence[str]]) -> float:
    """How many earlier verdicts, by the samples of their test rows, one of our rows has decided on average."""
    return round(sum(overlap(ours, theirs) for theirs in earlier), 1)


def describe_uses(uses: float | None) -> str:
    """One sentence; nothing where it is not known."""
    if uses is None:
        return ""
    times = "no verdict" if uses < 0.5 else "1 verdict" if uses < 1.5 else f"{uses:.0f} verdicts"
    text = f"These test rows have decided {times} of this model before."
    if uses <= MANY:
        return text
    return (
        f"{text} That is more than {MANY}: what was chosen on them so often looks better on them than it is (docs/gate.md); "
        "add new test rows, or open those that split.sealed keeps (split.refresh)."
    )
