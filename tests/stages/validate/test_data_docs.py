"""The Data Docs need nothing from elsewhere, name every expectation, and are the same for the same data."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tasks.errors import DataError
from tasks.validate.validate import validate_features, validate_samples
from tests.support.spoiled_samples import CONFIG, Bench, good_features, good_rows

LOADING = {"script", "link", "img", "iframe", "object", "embed", "base", "video", "audio", "source"}


class Loads(HTMLParser):
    """Collects what a page would load or run, the places it leads to, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag] * (tag in LOADING)
        self.found += [f"{name}={value}" for name, value in attrs if name in {"src", "srcset", "background", "onclick"}]
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def docs(bench: Bench) -> list[Path]:
    """Pages of samples with warnings and hostile labels, and of features."""
    rows = good_rows()
    for row in rows[:20]:
        row["audio"] = None
    rows[3]["id"] = "<script src='https://evil.example/x.js'></script>"
    rows[3]["image"] = None
    valid = validate_samples(bench.clean(rows), CONFIG, bench.store)
    check = validate_features(valid, {"image": bench.features("image", good_features("image"))}, CONFIG, bench.store)
    return [*bench.store.path(valid.docs).iterdir(), *bench.store.path(check["docs"]).iterdir()]


def test_pages_load_nothing_and_lead_nowhere_outside(docs: list[Path]) -> None:
    assert {page.name for page in docs} == {"index.html", "samples.html", "image_features.html"}
    for page in docs:
        source = page.read_text()
        loads = Loads()
        loads.feed(source)
        assert loads.found == [], page
        assert not re.search(r"@import|url\(|http-equiv", source), page
        for link in loads.links:
            target, _, anchor = link.partition("#")
            assert (page.parent / target).is_file() if target else f'id="{anchor}"' in source, link


def test_pages_name_the_expectations(docs: list[Path]) -> None:
    for page in docs:
        of_samples = (page.parent / "samples.html").exists()
        names = ("id_unique", "audio_missing") if of_samples else ("feature_finite", "feature_shape")
        text = page.read_text()
        assert all(name in text for name in names), page


def test_equal_data_give_equal_pages(bench: Bench, tmp_path: Path) -> None:
    valid = validate_samples(bench.clean(good_rows()), CONFIG, bench.store)
    pages = [(bench.store.path(valid.docs) / name).read_bytes() for name in ("index.html", "samples.html")]
    bench.store.path("validations").rename(tmp_path / "aside")
    again = validate_samples(bench.clean(good_rows()), CONFIG, bench.store)
    assert pages == [(bench.store.path(again.docs) / name).read_bytes() for name in ("index.html", "samples.html")]


def test_a_met_row_says_that_its_exceptions_are_allowed(docs: list[Path]) -> None:
    (index,) = (page for page in docs if page.name == "index.html" and (page.parent / "samples.html").exists())
    source = index.read_text()
    assert re.search(r"met</td><td><code>image_missing</code></td><td>[^<]*</td><td>\d+ of \d+, allowed</td>", source)
    assert "Broken by" not in source
    assert "__none__" not in "".join(page.read_text() for page in docs)


def test_a_broken_expectation_shows_its_values_with_their_counts_as_text(bench: Bench) -> None:
    rows = good_rows()
    for row, split in zip(rows, ("<b>a</b>\u202e", "<b>a</b>\u202e", "b"), strict=False):
        row["split"] = split
    with pytest.raises(DataError, match="split_known"):
        validate_samples(bench.clean(rows), CONFIG, bench.store)
    (page,) = bench.store.path("refusals").glob("*/docs/samples.html")
    source = page.read_text()
    assert "<code>&lt;b&gt;a&lt;/b&gt;⟨U+202E⟩</code> × 2, <code>b</code> × 1" in source
    assert "3 of 36 (8.33 %)" in source
    assert re.search(
        r'broken</td><td><code>split_known</code> [^<]+<br><span class="soft">expect_\w+</span><br>\w', source
    )
