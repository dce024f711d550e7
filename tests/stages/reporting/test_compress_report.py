"""The page of compressed models: its heading, its pictures, its figures, and that whatever it holds stays text."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from data_contracts.compression import CompressReport, Latency, MethodResult
from tasks.reporting.compress_report import conclude, describe, pictures, write_compress_page

FAST = Latency(row_ms=2.0, batch_ms=20.0, original_row_ms=10.0, original_batch_ms=80.0, batch_rows=32)


def result(method: str, decision: str, difference: tuple[float, float, float], size: int, **other: Any) -> MethodResult:
    return MethodResult.model_validate(
        {
            "method": method,
            "says": f"what {method} does",
            "state": "measured",
            "reason": f"{decision}: as it is",
            "size_bytes": size,
            "latency": FAST,
            "metrics": {"accuracy": 0.8 + difference[0], "ece": 0.04, "log_loss": 0.5},
            "differences": {"accuracy": difference},
            "decision": decision,
            **other,
        }
    )


def report(*results: MethodResult, **other: Any) -> CompressReport:
    return CompressReport(
        run="r",
        model="photos",
        version="3",
        metric="accuracy",
        margin=0.02,
        confidence=0.95,
        test_rows=2000,
        size_bytes=10_000_000,
        metrics={"accuracy": 0.8, "ece": 0.05, "log_loss": 0.52},
        results=results,
        threads=1,
        machine="x86_64, 2 CPUs",
        libraries={"torch": "2.15.0"},
        **other,
    )


GOOD = result("int8", "promote", (-0.001, -0.004, 0.002), 2_500_000)
BAD = result("int4", "reject", (-0.05, -0.06, -0.04), 1_250_000)


@pytest.mark.parametrize(
    ("found", "title", "tone"),
    [
        (report(GOOD, BAD), "1 way to compress it passes the gate", "good"),
        (report(GOOD, GOOD), "2 ways to compress it pass the gate", "good"),
        (report(BAD), "No compressed model passes the gate", "open"),
        (report(GOOD, published="4"), "Published as version 4", "good"),
    ],
)
def test_the_heading_says_what_came_of_it(found: CompressReport, title: str, tone: str) -> None:
    assert conclude(found) == (title, tone)


def test_ratios_are_of_the_original_in_the_same_turns() -> None:
    assert (FAST.row_ratio, FAST.batch_ratio) == (5.0, 4.0)
    assert report(GOOD).smaller(GOOD) == 4.0
    assert describe(report(GOOD)) == (
        "int8 4.0x smaller, a row 5.0x as fast, accuracy −0.0010 [−0.0040, +0.0020] (promote)"
    )


def test_a_cheaper_model_is_further_left_and_a_worse_one_lower_with_its_interval() -> None:
    size, time = pictures(report(GOOD, BAD), [GOOD, BAD])
    marks = {mark["name"]: mark for mark in size["marks"]}
    assert marks["int4"]["x"] < marks["int8"]["x"] < marks["original"]["x"]
    assert size["level"] == marks["original"]["y"] < marks["int8"]["y"] < marks["int4"]["y"]
    assert marks["int8"]["high"] < marks["int8"]["y"] < marks["int8"]["low"]
    assert marks["int8"]["y"] < size["margin"] < marks["int4"]["y"]
    assert {mark["name"]: mark["tone"] for mark in size["marks"]} == {
        "int8": "good",
        "int4": "open",
        "original": "same",
    }
    assert time["x_title"] == "milliseconds of one row"


def test_names_do_not_lie_on_each_other() -> None:
    same = [result(name, "promote", (0.0, 0.0, 0.0), 2_500_000) for name in ("float16", "int8", "int4", "onnx")]
    (size, _) = pictures(report(*same), same)
    labels = sorted(mark["label"] for mark in size["marks"] if mark["name"] != "original")
    assert all(later - earlier >= 13 for earlier, later in pairwise(labels))
    assert labels[0] > 0


def test_the_page_holds_every_figure_and_what_is_not_possible_and_no_markup_of_others(tmp_path: Path) -> None:
    odd = MethodResult(method="prune", says="s", state="not possible", reason="<script>alert(1)</script>")
    robust = result("onnx", "promote", (0.0, -0.01, 0.01), 9_000_000, robustness={"image/noise": (0.6, 0.55)})
    write_compress_page(tmp_path / "r.html", report(GOOD, BAD, robust, odd))
    page = (tmp_path / "r.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    for text in ("2.5", "4×", "5×", "−0.0010 [−0.0040, +0.0020]", "what int8 does", "image/noise", "0.5500", "reject"):
        assert text in page, text
    write_compress_page(tmp_path / "none.html", report(odd))
    assert "Not possible for this model" in (tmp_path / "none.html").read_text()
