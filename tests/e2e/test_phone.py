"""The pages a run leaves fit a phone: nothing but a table, in a box of its own, is wider than the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import chromium

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PHONE = {"width": 390, "height": 844}


def test_the_report_and_data_docs_fit_a_phone(crossmodal: Callable[..., Any], learnable: Path, tmp_path: Path) -> None:
    for number in range(40, 43):
        (learnable.parent / f"img/{number}.png").write_bytes(b"not a picture")
    assert crossmodal("retrain", "--plain", "--data", str(learnable)).json["verdict"] == "promote"
    arguments = ("--plain", "--data", str(learnable), "--set", "train.epochs=1", "--set", "train.learning_rate=1e-5")
    folder = tmp_path / "store" / "runs" / crossmodal("retrain", *arguments).json["run"]
    pages = [folder / "report.html", *sorted((folder / "docs").rglob("*.html"))]
    assert len(pages) > 5
    with chromium() as browser:
        page = browser.new_page(viewport=PHONE)
        for path in pages:
            page.goto(path.as_uri())
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"], f"{path.relative_to(folder)} is {width} px wide"
