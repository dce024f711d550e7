"""`make docs`: the site is built without a warning, from here alone, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.browser import chromium
from tests.support.docs_pages import PAGES
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow
ELSEWHERE = re.compile(r"""(?:https?:)?//[\w.-]+""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the line of the Makefile, but for where it goes."""
    line = re.findall(r"^\t\$\(BIN\)/python (-m sphinx .+) build/site$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    folder = tmp_path_factory.mktemp("site")
    assert "-W" in line[0].split()
    command = [sys.executable, *line[0].split(), str(folder)]
    nowhere = {"PATH": "/usr/bin:/bin", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, cwd=ROOT, env=nowhere, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


class Loaded(HTMLParser):
    """Addresses that a browser fetches by itself, and those that a reader may click."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.clicked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        addresses = [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]
        (self.clicked if tag == "a" else self.fetched).extend(addresses)


def test_every_page_is_there(site: Path) -> None:
    assert (site / "index.html").read_text() == (site / "README.html").read_text()
    for page in PAGES:
        place = page.relative_to(ROOT).with_suffix(".html")
        assert (site / place).is_file()
        assert f'href="{place}"' in (site / "index.html").read_text() or page.name == "README.md"
    assert (site / "docs/reference/config.html").is_file()


def test_links_lead_somewhere_and_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = Loaded()
        found.feed(page.read_text(encoding="utf-8"))
        assert [address for address in found.fetched if ELSEWHERE.match(address)] == [], page.name
        for address in found.clicked:
            path = address.partition("#")[0].partition("?")[0]
            if path and not re.match(r"[a-z]+:", path):
                assert (page.parent / path).exists(), f"{page.name}: {address}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def test_a_browser_that_reads_it_asks_nobody(site: Path) -> None:
    asked: list[str] = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index.html", "docs/reference/cli.html", "search.html?q=champion"):
            page.goto(f"file://{site}/{name}")
        page.wait_for_selector("#search-results li", timeout=600_000)
    assert {address.partition(":")[0] for address in asked} <= {"file", "data"}
