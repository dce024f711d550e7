"""The report of a monitor run: one HTML file that holds everything it shows and names no external address."""

from __future__ import annotations

from pathlib import Path

from data_contracts.refs import DriftTest, MonitorReport
from tasks.number_format import p_text
from tasks.pages import page_template
from tasks.store import replace_file


def write_page(path: Path, report: MonitorReport, run: str) -> None:
    """`path` holds the report, in one step. Every value is escaped: labels and file names are users' data."""
    template = page_template(Path(__file__).with_name("drift_report.html.j2"), p=p_text, share="{:.3f}".format)
    page = template.render(
        report=report,
        run=run,
        title="Drift" if report.drift else "No drift" if report.tests else "Nothing to compare",
        tone="open" if report.drift else "good" if report.tests else "same",
        outcome=outcome,
        bars={test.name: _bar(test) for test in report.tests},
    )
    replace_file(path, page.encode())


def outcome(test: DriftTest, alpha: float) -> str:
    """One word or two for a line of the table."""
    if test.p_holm is None:
        return "too few rows"
    if test.drifted:
        return "drift"
    return "certain, but small" if test.p_holm <= alpha else "no drift"


def _bar(test: DriftTest) -> tuple[float, float]:
    """Widths in percent of the effect, and of the least that counts, on a scale where embeddings fit, too."""
    full = max(10 * test.min_effect, 1e-9)
    return round(100 * min(1.0, test.effect / full), 1), round(100 * min(1.0, test.min_effect / full), 1)
