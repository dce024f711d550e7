"""What a comparison found, in plain words that are true to its intervals."""

from __future__ import annotations

from collections.abc import Sequence

from data_contracts.comparison import Conclusion, PairedDifference, VariantRecord
from tasks.difference_text import difference_text
from tasks.problems.registry import get_metric

CHEAP = 0.5
"""Share of the reference's training time up to which a variant is named as cheaper."""


def conclude(found: PairedDifference, lower_is_better: bool, alpha: float) -> Conclusion:
    """better or worse only where the interval excludes 0 and Holm's correction leaves it so."""
    if found.low <= 0 <= found.high:
        return "no difference shown"
    if found.p_holm > alpha:
        return "not after Holm"
    return "better" if (found.value < 0) == lower_is_better else "worse"


def describe_findings(
    variants: Sequence[VariantRecord], reference: VariantRecord, metric: str, alpha: float
) -> tuple[str, ...]:
    """Sentences: what is better than the reference, what worse, and of what no difference is shown."""
    others = [each for each in variants if each.difference is not None]
    by = {
        conclusion: [each for each in others if each.conclusion == conclusion]
        for conclusion in ("better", "worse", "not after Holm", "no difference shown")
    }
    phrase = get_metric(metric).phrase
    found = []
    for conclusion in ("better", "worse"):
        if by[conclusion]:
            listed = _listed(by[conclusion], metric)
            found.append(f"{conclusion.capitalize()} than {reference.name} in {phrase}: {listed}.")
    if not by["better"]:
        found.append(f"Nothing is shown to be better than {reference.name}.")
    if by["not after Holm"]:
        listed = _listed(by["not after Holm"], metric)
        found.append(
            f"Apart from 0 by its own interval, but not after Holm's correction over {len(others)} comparisons: {listed}."
        )
    alike = by["no difference shown"]
    if alike:
        listed = _listed(alike, metric)
        found.append(
            f"No difference shown, which does not prove that there is none: the interval of each contains 0: {listed}."
        )
        found += _cheaper(alike, reference)
    level = f"{100 * (1 - alpha):g} %"
    return (*found, f"In brackets: variant minus {reference.name}, mean over seeds, with its {level} interval.")


def _cheaper(alike: Sequence[VariantRecord], reference: VariantRecord) -> list[str]:
    whole = reference.cost.train_s
    if not whole:
        return []
    cheap = [each for each in alike if each.cost.train_s is not None and each.cost.train_s <= CHEAP * whole]
    if not cheap:
        return []
    listed = ", ".join(f"{each.name} ({each.cost.train_s:.3g} s)" for each in cheap)
    return [f"Of these, trained in at most half the time of {reference.name} ({whole:.3g} s): {listed}."]


def _listed(variants: Sequence[VariantRecord], metric: str) -> str:
    return ", ".join(
        f"{each.name} ({difference_text(each.difference.interval, metric)})" for each in variants if each.difference
    )
