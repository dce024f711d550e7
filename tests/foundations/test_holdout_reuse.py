"""How often test rows have decided: estimated from a few digests, exact where test sets are the same or apart."""

from __future__ import annotations

import pytest

from tasks.holdout_reuse import MANY, SAMPLED, count_uses, describe_uses, overlap, sample_rows


def rows(first: int, last: int) -> tuple[str, ...]:
    return sample_rows(f"row {number}" for number in range(first, last))


def test_the_sample_is_that_of_the_rows_whatever_their_order() -> None:
    assert rows(0, 500) == sample_rows(f"row {number}" for number in reversed(range(500)))
    assert len(rows(0, 500)) == SAMPLED
    assert len(rows(0, 5)) == 5


@pytest.mark.parametrize("size", [1, 20, SAMPLED, 40, 5_000])
def test_the_same_rows_overlap_wholly_and_others_not_at_all(size: int) -> None:
    assert overlap(rows(0, size), rows(0, size)) == 1.0
    assert overlap(rows(0, size), rows(size, 2 * size)) == 0.0
    assert overlap(rows(0, size), ()) == 0.0


@pytest.mark.parametrize(
    ("shared", "size", "other"), [(500, 1_000, 1_000), (900, 1_000, 900), (100, 1_000, 3_000), (20, 40, 40)]
)
def test_an_overlap_is_estimated(shared: int, size: int, other: int) -> None:
    found = overlap(rows(0, size), rows(size - shared, size - shared + other))
    assert found == pytest.approx(shared / size, abs=0.25)


def test_uses_add_up_and_many_are_said() -> None:
    same = rows(0, 300)
    assert count_uses(same, []) == 0.0
    assert count_uses(same, [same] * 7 + [rows(300, 600)] * 5) == 7.0
    assert count_uses(rows(0, 600), [same] * 10) == pytest.approx(5, abs=2)
    assert describe_uses(None) == ""
    assert describe_uses(0.2) == "These test rows have decided no verdict of this model before."
    assert "add new test rows" not in describe_uses(MANY)
    assert describe_uses(MANY + 0.6).startswith(
        f"These test rows have decided {MANY + 1} verdicts of this model before. That"
    )
