"""The page and the table of a comparison: true to its figures, self-contained, and safe with any name."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_contracts.comparison import CompareReport, FitCost, NotRun, PairedDifference, Ranking, VariantRecord
from data_contracts.run_summary import ComparedSummary, CompareSummary
from tasks.reporting.compare_charts import cost_pictures, difference_picture, rank_picture
from tasks.reporting.compare_report import conclude, variants_table, write_compare_page


def record(name: str, value: float | None, half: float = 0.02, rank: float = 1.0, **cost: float) -> VariantRecord:
    found = None
    if value is not None:
        found = PairedDifference(
            value=value, low=value - half, high=value + half, p=0.001, p_holm=0.002, by_seed=(value,) * 2, rows_se=0.01,
            seeds_se=0.0, differing=30,
        )  # fmt: skip
    apart = value is not None and abs(value) > half
    return VariantRecord(
        name=name,
        group="custom",
        says="what it is",
        method="network",
        scores=(0.8 + (value or 0),) * 2,
        mean=0.8 + (value or 0),
        spread=0.01,
        difference=found,
        conclusion=None if value is None else ("better" if value > 0 else "worse") if apart else "no difference shown",
        rank=rank,
        cost=FitCost.model_validate({"train_s": 10.0, "parameters": 1000, **cost}),
    )


ALONE = Ranking(block="row", blocks=90, friedman_p=None)
"""No two are alike."""


def report(*variants: VariantRecord, **changed: object) -> CompareReport:
    shown = variants or (
        record("profile", None, rank=1.5),
        record("up", 0.05, rank=1.4, train_s=100.0),
        record("even", 0.01, rank=2.0, parameters=10),
        record("down", -0.1, rank=2.6),
    )
    values = {
        "run": "r", "model": "tones", "metric": "macro_f1", "lower_is_better": False, "reference": shown[0].name,
        "seeds": (0, 1), "alpha": 0.05, "epochs": 2, "test_rows": 90, "variants": shown,
        "not_run": (NotRun(name="lora", group="finetuning", reason="no encoder is pretrained", applies=False),),
        "ranking": Ranking(block="row", blocks=90, friedman_p=0.01, alike=(("up", "profile"), ("profile", "even"))),
        "finding": ("Better than profile in macro F1: up.",), "machine": "m",
    }  # fmt: skip
    return CompareReport.model_validate({**values, **changed})


def test_the_heading_says_better_only_of_what_is() -> None:
    assert conclude(report()) == "Better than profile: up"
    plain = report(record("profile", None), record("even", 0.01), record("down", -0.1))
    assert conclude(plain) == "Nothing is shown to be better than profile; 1 of 2 worse"


def test_intervals_are_drawn_where_they_lie_and_the_reference_at_0() -> None:
    found = difference_picture(report(), lambda variant: variant.name)
    assert [row["name"] for row in found["rows"]] == ["up", "even", "down"]
    assert found["level"] is not None
    up, even, down = found["rows"]
    assert up["low"] > found["level"]
    assert even["low"] < found["level"] < even["high"]
    assert down["high"] < found["level"]
    assert [row["tone"] for row in found["rows"]] == ["better", "same", "worse"]


def test_variants_stand_by_rank_and_a_bar_joins_each_set_that_is_alike() -> None:
    found = rank_picture(report())
    assert [row["name"] for row in found["rows"]] == ["up", "profile", "even", "down"]
    y = {row["name"]: row["y"] for row in found["rows"]}
    assert [(top < y["up"] < bottom, top < y["even"] < bottom) for _, top, bottom, _ in found["bars"]] == [
        (True, False),
        (False, True),
    ]
    assert all(row["x"] <= found["right"] < bar[0] for row in found["rows"] for bar in found["bars"])


def test_costs_are_drawn_on_a_log_scale_where_two_are_known() -> None:
    seconds, parameters = cost_pictures(report())
    x = {mark["number"]: mark["x"] for mark in seconds["marks"]}
    assert x[2] > x[1] == x[3]
    assert "joules" not in seconds["name"] + parameters["name"]
    energy = report(record("profile", None, energy_j=5.0), record("up", 0.05, energy_j=500.0))
    assert cost_pictures(energy)[-1]["name"] == "Macro F1 against joules of training"


def test_the_page_holds_every_figure_names_no_address_and_escapes_names(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    shown = [record("profile", None), record("<b>up", 0.05), record("even", 0.01)]
    write_compare_page(path, report(*shown, ranking=ALONE))
    page = path.read_text()
    assert "<b>up" not in page
    assert "&lt;b&gt;up" in page
    assert "+0.050 [+0.030, +0.070]" in page
    assert "no encoder is pretrained" in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_page_of_what_could_not_be_ranked_or_timed(tmp_path: Path) -> None:
    ranking = Ranking(block="cluster", blocks=3, friedman_p=None, note="3 test clusters are too few to be ranked by")
    bare = [record("profile", None), record("same", 0.0, 0.0)]
    shown = [each.model_copy(update={"cost": FitCost(), "spread": None}) for each in bare]
    write_compare_page(tmp_path / "report.html", report(*shown, ranking=ranking, clusters=3, not_run=()))
    assert "3 test clusters are too few to be ranked by." in (tmp_path / "report.html").read_text()


def test_the_table_tells_the_reference_from_the_others() -> None:
    found = CompareSummary(
        metric="macro_f1", reference="profile", seeds=2, test_rows=9,
        variants=(
            ComparedSummary(name="profile", mean=0.8, train_s=10, parameters=1000),
            ComparedSummary(
                name="up", mean=0.85, difference=(0.05, 0.03, 0.07), p_holm=0.0001, conclusion="better", train_s=0.5
            ),
        ),
    )  # fmt: skip
    rows = [*variants_table(found).as_text()]
    assert rows[0][:5] == ("profile", "0.800", "–", "–", "reference")
    assert rows[1][1:5] == ("0.850", "+0.050 [+0.030, +0.070]", "< 0.001", "better")


@pytest.mark.parametrize("value", [0.0, 1e-9])
def test_variants_that_hardly_differ_can_be_drawn(value: float) -> None:
    found = report(record("profile", None), record("same", value, 0.0))
    assert difference_picture(found, lambda variant: "")["rows"]
    assert cost_pictures(found)
