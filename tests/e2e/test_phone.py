"""The pages a run leaves fit a phone: nothing but a table, in a box of its own, is wider than the screen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def chromium() -> str:
    """The program; without it the test fails in CI, and is skipped with the reason elsewhere."""
    found = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if found is None:
        reason = "needs Chromium on the PATH"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return found


def test_the_report_and_data_docs_fit_a_phone(
    crossmodal: Callable[..., Any], learnable: Path, tmp_path: Path, chromium: str
) -> None:
    from playwright.sync_api import sync_playwright

    for number in range(40, 43):
        (learnable.parent / f"img/{number}.png").write_bytes(b"not a picture")
    assert crossmodal("retrain", "--plain", "--data", str(learnable)).json["verdict"] == "promote"
    arguments = ("--plain", "--data", str(learnable), "--set", "train.epochs=1", "--set", "train.learning_rate=1e-5")
    folder = tmp_path / "store" / "runs" / crossmodal("retrain", *arguments).json["run"]
    pages = [folder / "report.html", *sorted((folder / "docs").rglob("*.html"))]
    assert len(pages) > 5
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport=PHONE)
            for path in pages:
                page.goto(path.as_uri())
                width = page.evaluate("document.documentElement.scrollWidth")
                assert width <= PHONE["width"], f"{path.relative_to(folder)} is {width} px wide"
        finally:
            browser.close()
