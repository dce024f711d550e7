"""The finding of an explanation, as a sentence that says no more than its intervals do."""

from __future__ import annotations

import pytest

from data_contracts.explanations import ExplanationReport, InputFigures, Interval, SwapFigures
from tasks.explain.sentences import conclude


def figures(name: str, share: float, toward: Interval | None, interval: Interval | None = None) -> InputFigures:
    return InputFigures(
        input=name, rows=40, importance=share, importance_interval=None, share=share, share_interval=interval,
        toward_truth=None if toward is None else sum(toward) / 2, toward_truth_interval=toward,
    )  # fmt: skip


def report(*inputs: InputFigures, dominant: str | None = None, flips: float | None = None) -> ExplanationReport:
    swaps = () if flips is None else (SwapFigures.model_construct(input="text", flip_rate=flips),)
    return ExplanationReport.model_construct(inputs=inputs, dominant=dominant, swaps=swaps)


HELPS, MAY_HELP = (0.1, 0.3), (-0.1, 0.2)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            report(figures("image", 0.2, HELPS), figures("text", 0.8, HELPS, (0.7, 0.9)), dominant="text", flips=0.4),
            "answers rest 80% [70, 90] on text and 20% on image; text dominates; another row's text changes 40% of answers",
        ),
        (
            report(figures("image", 0.4, HELPS), figures("text", 0.35, HELPS), figures("audio", 0.25, None)),
            "answers rest 40% on image, 35% on text and 25% on audio; none leads by more than chance",
        ),
        (
            report(figures("image", 0.9, MAY_HELP), figures("text", 0.1, MAY_HELP), dominant="image"),
            "answers rest 90% on image and 10% on text; no input is shown to help toward the true answer",
        ),
        (report(figures("image", 1.0, HELPS)), "answers rest 100% on image"),
    ],
)
def test_the_finding_is_a_sentence(found: ExplanationReport, sentence: str) -> None:
    assert conclude(found) == sentence
