"""Great Expectations' Data Docs as pages that need nothing from elsewhere: no script, no address, our own style.

Its templates load a dozen style sheets, scripts, fonts and pictures from other hosts. Here those templates are replaced
before rendering; the rest, and so the content, is Great Expectations' own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.escaping import html_text, visible
from tasks.validate.suite import Outcome, SuiteResult

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #1d2733; --soft: #5a6776; --line: #dbe1e8; --wash: #f4f6f9;
  --code: #e8edf3; --head: #1d2733; --link: #2456a6; --good: #18794e; --bad: #c62a2f; --warn: #9a5b00; }
@media screen and (prefers-color-scheme: dark) { :root { --back: #14181d; --ink: #e6eaf0; --soft: #9aa6b4; --line: #2c343d;
  --wash: #1d232a; --code: #29323c; --head: #232b34; --link: #8ab8f2; --good: #3fc79a; --bad: #ff8a8a; --warn: #e0b050; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--back); font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }
header { padding: 14px 28px; background: var(--head); color: #fff; }
header a { color: #fff; font-weight: 600; text-decoration: none; }
.page { display: flex; gap: 28px; max-width: 1280px; margin: 0 auto; padding: 24px 28px; }
.page > main { flex: 1; min-width: 0; }
.page > aside { flex: 0 0 220px; }
h1 { margin: 0 0 6px; font-size: 24px; } h2 { font-size: 18px; margin: 26px 0 8px; } h5 { margin: 0; font-size: 17px; }
h6, .h6 { margin: 0; font-size: 15px; font-weight: 600; }
a { color: var(--link); }
table { width: 100%; border-collapse: collapse; margin: 8px 0 18px; }
th, td { padding: 7px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
th { background: var(--wash); font-size: 13px; color: var(--soft); white-space: nowrap; }
td table { width: auto; margin: 10px 0 0; } td table td, td table th { border: 1px solid var(--line); padding: 3px 8px; }
td:first-child:has(i.fas), td.state { width: 90px; white-space: nowrap; }
.alert { padding: 10px 14px; border-left: 4px solid var(--ink); background: var(--wash); margin-top: 14px; }
.card { border: 1px solid var(--line); border-radius: 6px; } .card-header { padding: 8px 12px; background: var(--wash); }
.card-body { padding: 8px 12px; } .nav { list-style: none; margin: 0; padding: 0; } .nav a { text-decoration: none; }
.nav li { padding: 2px 0; }
.badge, code { padding: 1px 6px; border-radius: 4px; background: var(--code); font: 13px monospace; overflow-wrap: break-word; }
.fa-check-circle::before { content: "\\2713  met"; color: var(--good); font: 600 14px sans-serif; }
.fa-times::before { content: "\\2717  broken"; color: var(--bad); font: 600 14px sans-serif; }
.fa-exclamation-triangle::before { content: "! failed to run"; color: var(--warn); font: 600 14px sans-serif; }
.text-danger, .bad { color: var(--bad); } .text-success, .good { color: var(--good); } .warn { color: var(--warn); }
.good, .bad, .warn { font-weight: 600; } .soft { color: var(--soft); }
a[data-toggle="collapse"], [hidden] { display: none; } .table-responsive { overflow-x: auto; }
@media (max-width: 800px) {
  header { padding: 12px 16px; overflow-wrap: anywhere; }
  .page { display: block; padding: 16px; } main > table, .table-responsive, main table { display: block; overflow-x: auto; }
}
"""

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="UTF-8"><title>{{ expectation_suite_name }}: Data Docs</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{{ house_style | safe }}</style></head><body>
<header><a href="index.html">Data Docs</a> / {{ expectation_suite_name }}</header>
<div class="page"><aside>{% include 'table_of_contents.j2' %}</aside><main>
{% for section in sections %}{% set section_loop = loop -%}{% include 'section.j2' %}{% endfor %}
</main></div></body></html>
"""

_LOADS = re.compile(
    r"<script\b.*?</script\s*>|<(?:link|img|iframe|embed|object|base)\b[^>]*>", re.DOTALL | re.IGNORECASE
)
_AWAY = re.compile(r'<a href="(?:\.\./)+[^"]*"[^>]*>(.*?)</a>', re.DOTALL)
# Where the run's name and time would stand: equal data give equal pages, so a page has neither.
_NO_RUN = re.compile(
    r"<tr>\s*<td[^>]*><div[^>]*>Run (?:Name|Time)</div></td>\s*<td[^>]*><div[^>]*>__none__</div></td>\s*</tr>"
)
_RANDOM = re.compile(r"-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def render_page(result: ExpectationSuiteValidationResult) -> str:
    """Great Expectations' page of one validation result, self-contained, the same for the same result."""
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, DictLoader

    view: Any = DefaultJinjaPageView()
    view.env.loader = ChoiceLoader([DictLoader({"page.j2": _PAGE}), view.env.loader])
    view.env.globals["house_style"] = STYLE
    page: str = view.render(ValidationResultsPageRenderer(run_info_at_end=True).render(result))
    page = _NO_RUN.sub("", _AWAY.sub(r"\1", _LOADS.sub("", page)))  # links to pages of a site that is not built
    return visible(_RANDOM.sub("", page))  # what Great Expectations escapes as HTML can still hide or turn text


def write_docs(folder: Path, title: str, results: Sequence[SuiteResult], notes: Sequence[str] = ()) -> None:
    """Writes index.html, which lists every expectation, and one page of Great Expectations' per suite."""
    folder.mkdir(parents=True)
    for result in results:
        (folder / f"{result.name}.html").write_text(result.page, encoding="utf-8")
    (folder / "index.html").write_text(_index(title, results, notes), encoding="utf-8")


def _index(title: str, results: Sequence[SuiteResult], notes: Sequence[str]) -> str:
    said = "".join(f'<p class="alert">{html_text(note)}</p>' for note in notes)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="UTF-8"><title>{html_text(title)}: Data Docs</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f'<header><a href="index.html">Data Docs</a></header><div class="page"><main><h1>{html_text(title)}</h1>'
        f"{said}{''.join(_table(result) for result in results)}</main></div></body></html>\n"
    )


def _table(result: SuiteResult) -> str:
    met = sum(outcome.success for outcome in result.outcomes)
    rows = "".join(_line(outcome) for outcome in result.outcomes)
    return (
        f'<h2>{html_text(result.name)}</h2><p class="soft">{met} of {len(result.outcomes)} expectations met. '
        f'<a href="{html_text(result.name)}.html">Values and counts, by column</a></p><table><thead><tr><th>State</th>'
        f"<th>Expectation</th><th>It says that</th><th>Exceptions</th><th>For example</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _line(outcome: Outcome) -> str:
    state, style = ("met", "good") if outcome.success else ("broken", "bad")
    if not outcome.success and outcome.severity == "warning":
        state, style = "warning", "warn"
    extent = "" if outcome.success else "the table"
    if outcome.unexpected:  # a share of them may be allowed
        extent = f"{outcome.unexpected} of {outcome.rows}{', allowed' if outcome.success else ''}"
    cells = [
        f"<code>{html_text(outcome.name)}</code>",
        html_text(outcome.states),
        html_text(extent),
        html_text(", ".join(outcome.examples)),
    ]
    return f'<tr><td class="state {style}">{state}</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
