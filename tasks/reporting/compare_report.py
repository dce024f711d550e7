"""The report of a comparison of variants: one HTML file that holds everything it shows and names no external address."""

from __future__ import annotations

from pathlib import Path

from data_contracts.comparison import CompareReport, VariantRecord
from data_contracts.run_summary import CompareSummary
from tasks.difference_text import difference_text
from tasks.display_table import DisplayTable
from tasks.number_format import p_text, short_number
from tasks.pages import page_template
from tasks.problems.registry import figure_text, get_metric
from tasks.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from tasks.reporting.compare_charts import cost_pictures, difference_picture, numbers_of, rank_picture, tone_of
from tasks.reporting.formatting import seconds
from tasks.store import replace_file


def write_compare_page(path: Path, report: CompareReport) -> None:
    """`path` holds the report, in one step. Every value is escaped: settings may hold paths."""
    template = page_template(
        Path(__file__).with_name("compare_report.html.j2"),
        seconds=seconds,
        short=short_number,
        p=p_text,
        tone=tone_of,
        figure=lambda value: figure_text(value, report.metric),
        difference=lambda variant: difference_of(variant, report.metric),
    )
    page = template.render(
        report=report,
        reference=report.variants[0],
        title=conclude(report),
        score=get_metric(report.metric),
        numbers=numbers_of(report),
        differences=difference_picture(report, lambda variant: difference_of(variant, report.metric)),
        ranks=rank_picture(report),
        costs=cost_pictures(report),
        has_energy=any(variant.cost.energy_j is not None for variant in report.variants),
        energy=next((v.cost.energy_source for v in report.variants if v.cost.energy_source), None),
        box={
            "width": WIDTH,
            "height": HEIGHT,
            "left": LEFT,
            "right": WIDTH - RIGHT,
            "top": TOP,
            "bottom": HEIGHT - BOTTOM,
        },
    )
    replace_file(path, page.encode())


def conclude(report: CompareReport) -> str:
    """The page's heading."""
    better = [variant.name for variant in report.variants if variant.conclusion == "better"]
    worse = sum(variant.conclusion == "worse" for variant in report.variants)
    others = len(report.variants) - 1
    if better:
        return f"Better than {report.reference}: {', '.join(better)}"
    return f"Nothing is shown to be better than {report.reference}; {worse} of {others} worse"


def difference_of(variant: VariantRecord, metric: str) -> str:
    """`+0.021 [-0.004, +0.046]`; a dash for the reference."""
    found = variant.difference
    return "–" if found is None else difference_text(found.interval, metric)


def variants_table(found: CompareSummary) -> DisplayTable:
    """Every variant with its figures, for terminals and for Prefect."""
    return DisplayTable.of(
        {
            "variant": each.name,
            found.metric: figure_text(each.mean, found.metric),
            f"minus {found.reference}": "–"
            if each.difference is None
            else difference_text(each.difference, found.metric),
            "p (Holm)": "–" if each.p_holm is None else p_text(each.p_holm),
            "conclusion": each.conclusion or "reference",
            "training": "–" if each.train_s is None else seconds(each.train_s),
            "parameters": None if each.parameters is None else f"{each.parameters:,}",
        }
        for each in found.variants
    )
