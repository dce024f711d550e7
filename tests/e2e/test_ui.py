"""What a person does in the browser, by clicks alone: log in, run with another value, watch, read, pause, schedule.

CROSSMODAL_SCREENSHOTS=FOLDER keeps a picture of every step.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.hosting.deployments import BASE, read_deployments
from tests.conftest import SMALL, write_learnable
from tests.support.browser import WAIT_MS, chromium
from tests.support.serving import Up, running_up
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
CRON = "30 4 * * 2"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """With a profile of the user's own, so that the form has a choice."""
    store = tmp_path_factory.mktemp("served")
    data = write_learnable(tmp_path_factory.mktemp("learnable"))
    (store / "profiles").mkdir()
    settings = dict(text.split("=") for text in SMALL)
    lines = [f'data.path = "{data}"', *(f"{key} = {value}" for key, value in settings.items())]
    (store / "profiles" / "tones.toml").write_text("\n".join(lines) + "\n")
    with running_up(store) as started:
        yield started


def keep(page: Any, name: str, full_page: bool = False) -> None:
    """The page as a picture, where someone asked for it."""
    if folder := os.environ.get("CROSSMODAL_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=full_page)


def choose(page: Any, shown: str, wanted: str) -> None:
    """Chooses in a list that shows a value by now."""
    page.locator("button", has_text=re.compile(f"^{shown}$")).click()
    page.get_by_role("option", name=wanted, exact=True).click()


def test_a_person_runs_watches_reads_pauses_and_schedules_by_clicks_alone(up: Up) -> None:
    with chromium() as browser:
        page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        page.set_default_timeout(WAIT_MS)
        broken: list[str] = []
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.goto(up.link)
        page.get_by_role("heading", name="Deployments").wait_for()
        keep(page, "up-start")
        start_a_run(page)
        watch_it(page)
        read_what_it_left(page, up)
        pause_and_schedule(page)
        assert broken == [], "the pages' own scripts failed"
    listed = up.call("crossmodal", "schedule", "list", "--store", str(up.store), "--json")
    assert listed.returncode == 0, listed.stderr
    rows = {row["cron"]: row["active"] for row in json.loads(listed.stdout)}
    [shipped] = next(entry.schedules for entry in read_deployments() if entry.name == BASE)
    assert rows == {shipped.cron: False, CRON: True}


def start_a_run(page: Any) -> None:
    """Deployments → retrain/weekly → Run → Custom run, with another profile and another number of epochs."""
    page.get_by_role("link", name="retrain/weekly").click()
    page.get_by_role("button", name="Run").first.click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_text("Enforce Parameter Schema").wait_for()
    assert page.get_by_text('Property is type "None"').count() == 0
    choose(page, "digits", "tones")
    page.locator("input[type=number]").fill("2")
    keep(page, "prefect-form", full_page=True)
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("link", name="View run").click()


def watch_it(page: Any) -> None:
    """The run's page, until its name says how it ended."""
    page.wait_for_url("**/runs/flow-run/**")
    page.get_by_text(re.compile(r"tones · .* UTC · promote v1")).first.wait_for()
    page.reload()
    page.locator("canvas").first.wait_for()  # the graph of its tasks
    assert page.get_by_text("did not generate any task").count() == 0
    page.get_by_text(re.compile("ingest: 120 rows read")).first.wait_for()
    page.get_by_text(re.compile("train: epoch 2")).first.wait_for()
    keep(page, "prefect-run")


def read_what_it_left(page: Any, up: Up) -> None:
    """The gate's table, the verdict, and the report that its link opens."""
    run = page.url
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("heading", name="gate", exact=True).click()
    page.get_by_text("accuracy above majority").first.wait_for()
    keep(page, "prefect-gate")
    page.goto(run)
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("heading", name="verdict", exact=True).click()
    # Exactly: the cards of the page before are links, too, and hold the word.
    link = page.get_by_role("link", name="Report", exact=True)
    link.wait_for()
    keep(page, "prefect-verdict")
    assert str(link.get_attribute("href")).startswith(f"{up.running.pages_url}/runs/")
    link.click()
    page.get_by_text("Promoted").first.wait_for()
    assert page.url.endswith("/report.html")
    keep(page, "report-in-browser")


def pause_and_schedule(page: Any) -> None:
    """The deployment's own schedule is paused, another one is added."""
    page.goto(re.sub(r"/runs/.*", "/", page.url))
    page.get_by_role("link", name="retrain/weekly").click()
    active = page.get_by_role("switch").first
    active.wait_for()
    assert active.get_attribute("aria-checked") == "true"
    active.click()
    wait_until(lambda: active.get_attribute("aria-checked") == "false", "the schedule is paused", every_s=0.2)
    page.get_by_role("button", name="Schedule", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("tab", name="Cron").click()
    dialog.locator("input[name='schedule.cron']").fill(CRON)
    dialog.get_by_role("button", name="Save").click()
    page.get_by_text(re.compile("At 04:30 AM.*Tuesday")).first.wait_for()
    dialog.wait_for(state="hidden")
    keep(page, "prefect-schedule")
