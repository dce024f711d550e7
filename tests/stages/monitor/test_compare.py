"""Profiles against each other, what the model is published with, and the pages that people read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.refs import MonitorReport, RowCounts
from tasks.config_sections import MonitorConfig
from tasks.errors import DataError
from tasks.modalities import MODALITIES
from tasks.modeling.profile import OTHER, PROFILE, choose, read_profile_file, shorten, write_profile
from tasks.monitor.compare import compare_profiles
from tasks.monitor.monitor import explain
from tasks.reporting.drift_report import write_page
from tasks.samples import Samples
from tests.support.browser import chromium
from tests.support.profiles import make_profile


def test_every_common_thing_is_tested_once_and_only_what_moved_has_drifted() -> None:
    reference, new = make_profile(), make_profile(seed=1, brightness=0.7, missing=100)
    tests = compare_profiles(reference, new, MonitorConfig(), seed=0)
    assert {test.name for test in tests if test.drifted} == {"image brightness", "image missing"}
    assert {test.name for test in tests} == {"image brightness", "image missing", "label", "image embedding"}
    missing = next(test for test in tests if test.name == "image missing")
    assert (missing.before, missing.after) == ("0.0 %", "25.0 %")
    assert missing.effect == pytest.approx(0.25)
    assert all(test.p is not None and test.p_holm is not None and test.p_holm >= test.p for test in tests)
    assert tests == compare_profiles(reference, new, MonitorConfig(), seed=0)


def test_what_is_certain_but_small_is_no_drift() -> None:
    reference, new = make_profile(rows=40_000, brightness=0.5), make_profile(rows=40_000, seed=1, brightness=0.505)
    for side in (reference, new):
        side.embeddings.clear()
    (test,) = (test for test in compare_profiles(reference, new, MonitorConfig(), 0) if test.name == "image brightness")
    assert test.p_holm is not None
    assert test.p_holm < 0.001
    assert test.effect < 0.1
    assert not test.drifted


def test_what_only_one_side_knows_is_left_out_and_few_rows_are_not_tested() -> None:
    reference, new = make_profile(), make_profile(rows=10, seed=1, brightness=0.9)
    del new.categories["label"]
    tests = compare_profiles(reference, new, MonitorConfig(), 0)
    assert {test.name for test in tests} == {"image brightness", "image missing", "image embedding"}
    assert all(test.p is None and not test.drifted and test.n_new == 10 for test in tests)


def test_a_profile_comes_back_from_its_file_and_the_same_profile_gives_the_same_bytes(tmp_path: Path) -> None:
    profile = make_profile()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_profile(profile, tmp_path / name / PROFILE)
    assert (tmp_path / "a" / PROFILE).read_bytes() == (tmp_path / "b" / PROFILE).read_bytes()
    found = read_profile_file(tmp_path / "a")
    assert found is not None
    assert found.categories == profile.categories
    for group in ("numbers", "embeddings"):
        mine, theirs = getattr(profile, group), getattr(found, group)
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
    (tmp_path / "a" / PROFILE).write_bytes(b"xx")
    with pytest.raises(DataError, match="damaged"):
        read_profile_file(tmp_path / "a")


def test_rows_are_chosen_by_their_id_whatever_their_order() -> None:
    ids = [f"s{number}" for number in range(50)]
    forward, backward = (Samples(pa.table({"id": order})) for order in (ids, ids[::-1]))
    chosen = choose(forward, 7).ids
    assert chosen == choose(backward, 7).ids
    assert choose(forward, 9).ids[:7] == chosen


def test_wide_embeddings_are_shortened_with_their_distances_nearly_kept() -> None:
    wide = np.random.default_rng(0).normal(size=(40, 768)).astype(np.float32)
    short = shorten(wide)
    assert short.shape == (40, 64)
    assert short.dtype == np.float16
    assert np.array_equal(short, shorten(wide))
    before = np.linalg.norm(wide[:, None] - wide[None], axis=-1)[np.triu_indices(40, 1)]
    after = np.linalg.norm(short[:, None].astype(float) - short[None], axis=-1)[np.triu_indices(40, 1)]
    assert np.abs(after / before - 1).mean() < 0.15  # sqrt(1 / (2 * 64)) = 0.09 is expected
    assert np.array_equal(shorten(wide[:, :8]), wide[:, :8].astype(np.float16))


def test_measures_by_value() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:, :3] = 255
    assert MODALITIES["image"].measure(picture, 0) == pytest.approx(
        {"width": 6, "height": 4, "brightness": 0.5, "contrast": 0.5}
    )
    clip = MODALITIES["video"].measure(np.full((5, 4, 6, 3), 51, np.uint8), 0)
    assert clip == pytest.approx({"width": 6, "height": 4, "frames": 5, "brightness": 0.2})
    assert MODALITIES["text"].measure("größe", 0) == {"length": 5}
    sound = MODALITIES["audio"].measure(np.full(8000, 16384, np.int16), 16000)
    assert sound == pytest.approx({"duration": 0.5, "loudness": -6.02}, abs=0.01)
    assert MODALITIES["audio"].measure(np.zeros(0, np.int16), 16000)["loudness"] == pytest.approx(-100)
    assert {"width", "height", "brightness", "contrast"} == MODALITIES["image"].measures.keys()


def test_rare_categories_are_counted_together() -> None:
    from tasks.modeling.profile import _most_frequent

    counts = _most_frequent(Counter([str(number % 300) for number in range(900)]))
    assert len(counts) == 201
    assert counts[OTHER] == 300


def make_report(tests: tuple[object, ...], rows: int) -> MonitorReport:
    return MonitorReport.model_validate(
        {
            "uri": "monitors/x", "sha256": "0" * 64, "rows": rows, "name": "cats<b>", "version": "3",
            "model_sha256": "1" * 64, "counts": RowCounts(rows_in=rows, used=rows, quarantined=0, duplicates=0),
            "known": 0, "alpha": 0.05, "tests": tests, "drift": True, "reason": "image brightness \u202e moved",
        }
    )  # fmt: skip


def test_the_page_shows_the_tests_and_what_users_wrote_is_inert(tmp_path: Path) -> None:
    tests = compare_profiles(make_profile(), make_profile(seed=1, brightness=0.7), MonitorConfig(), 0)
    write_page(tmp_path / "report.html", make_report(tests, 400), "run-1")
    page = (tmp_path / "report.html").read_text()
    assert "cats&lt;b&gt;" in page
    assert "⟨U+202E⟩" in page
    assert 'class="drift"><td>image brightness' in page
    assert "http" not in page.replace("http-equiv", "")
    assert len(page) < 20_000


@pytest.mark.slow
def test_the_page_breaks_no_word_on_a_phone_and_follows_the_browser_s_colours(tmp_path: Path) -> None:
    tests = compare_profiles(make_profile(), make_profile(seed=1, brightness=0.7), MonitorConfig(), 0)
    write_page(tmp_path / "report.html", make_report(tests, 400), "run-1")
    cells = "[...document.querySelectorAll('td:first-child')].map(td => { const words = []; const node = td.firstChild;"
    cells += (
        " for (const found of node.data.matchAll(/\\S+/g)) { const range = document.createRange(); range.setStart(node,"
    )
    cells += (
        " found.index); range.setEnd(node, found.index + found[0].length); words.push(range.getClientRects().length); }"
    )
    cells += " return words; }).flat()"
    colours = set()
    with chromium() as browser:
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
            page.goto((tmp_path / "report.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            assert set(page.evaluate(cells)) == {1}
            colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2


def test_the_reason_says_what_moved_and_from_where_to_where() -> None:
    tests = compare_profiles(make_profile(), make_profile(seed=1, missing=100), MonitorConfig(), 0)
    assert explain(tests, 400, 3) == (
        "drift in 1 of 4 tests on 400 new rows (3 rows that the model was made with left out): image missing 0.0 % → 25.0 % "
        "(effect 0.25, p < 0.001)"
    )
    assert explain((), 5, 0) == "5 new rows, at least 20 are needed to compare"
    assert explain(tests[1:], 400, 0) == "no drift in 3 tests on 400 new rows"
