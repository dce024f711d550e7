"""What a person does in the browser, by clicks alone: log in, run with another value, watch, read, pause, schedule.

CROSSMODAL_SCREENSHOTS=FOLDER keeps a picture of every step.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import TimeoutError

from flows.hosting.deployments import BASE, read_deployments
from tasks.publish.approval import AGAINST, UNTIL_MS
from tests.support.browser import WAIT_MS, chromium
from tests.support.data import SMALL, TINY, write_learnable
from tests.support.hostile import CLASSES, write_hostile
from tests.support.serving import Up, running_up
from tests.waiting import wait_for, wait_until

pytestmark = pytest.mark.slow
CRON = "30 4 * * 2"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """With profiles of the user's own, so that the form has a choice; the models of `hostile` need approval."""
    store = tmp_path_factory.mktemp("served")
    (store / "profiles").mkdir()
    settings = dict(text.split("=") for text in SMALL)
    settings |= {text.partition("=")[0]: '"tiny"' for text in TINY}
    asking = {"gate.approval": '"required"', "gate.margin": "0.2", "encoders.audio": '"off"', "train.epochs": "8"}
    tones, hostile = write_learnable(store.parent / "learnable"), write_hostile(store.parent / "hostile")
    for name, data, more in (("tones", tones, {}), ("hostile", hostile, asking)):
        lines = [f'data.path = "{data}"', *(f"{key} = {value}" for key, value in (settings | more).items())]
        (store / "profiles" / f"{name}.toml").write_text("\n".join(lines) + "\n")
    with running_up(store) as started:
        yield started


@pytest.fixture(scope="module")
def candidate(up: Up) -> str:
    """The id of the flow run that left version 1 of `hostile` waiting for approval."""
    run = up.start("retrain/weekly", profile="hostile")
    state = up.end_of(run)
    assert state["type"] == "COMPLETED", state
    assert state["message"].startswith("needs-approval: hostile version 1 passes the gate and waits 14 days")
    return run


LOOKS = 20
"""In vain for a run, a second apart, until the form is submitted again."""


@contextlib.contextmanager
def logged_in(up: Up, width: int = 1280, height: int = 1000) -> Iterator[Any]:
    """The start page in a browser, by a fresh login link. No page of the block runs or loads what is not `up`'s own."""
    link = up.call("crossmodal", "login", "--store", str(up.store)).stdout.strip()
    with chromium() as browser:
        page = browser.new_context(viewport={"width": width, "height": height}).new_page()
        page.set_default_timeout(WAIT_MS)
        wrong: list[str] = []
        own = (*up.urls, "data:", "blob:")
        page.on("pageerror", lambda error: wrong.append(f"a script failed: {error}"))
        page.on("dialog", lambda dialog: (wrong.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: None if asked.url.startswith(own) else wrong.append(f"asked for: {asked.url}"))
        page.goto(link)
        page.get_by_role("heading", name="Deployments").wait_for()
        yield page
        assert page.locator("a[href^='javascript']").count() == 0
        assert wrong == []


def keep(page: Any, name: str, full_page: bool = False) -> None:
    """The page as a picture, where someone asked for it."""
    if folder := os.environ.get("CROSSMODAL_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=full_page)


def choose(page: Any, shown: str, choice: str) -> None:
    """Chooses in a list that shows a value by now."""
    page.locator("button", has_text=re.compile(f"^{shown}$")).click()
    page.get_by_role("option", name=choice, exact=True).click()


def test_a_person_runs_watches_reads_pauses_and_schedules_by_clicks_alone(up: Up) -> None:
    with chromium() as browser:
        page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        page.set_default_timeout(WAIT_MS)
        broken: list[str] = []
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.goto(up.link)
        page.get_by_role("heading", name="Deployments").wait_for()
        keep(page, "up-start")
        start_a_run(page, up)
        watch_it(page)
        read_what_it_left(page, up)
        pause_and_schedule(page)
        assert broken == [], "the pages' own scripts failed"
    listed = up.call("crossmodal", "schedule", "list", "--store", str(up.store), "--json")
    assert listed.returncode == 0, listed.stderr
    rows = {row["cron"]: row["active"] for row in json.loads(listed.stdout)}
    [shipped] = next(entry.schedules for entry in read_deployments() if entry.name == BASE)
    assert rows == {shipped.cron: False, CRON: True}


def start_a_run(page: Any, up: Up) -> None:
    """Deployments → retrain/weekly → Run → Custom run, with another profile and another number of epochs."""
    page.get_by_role("link", name="retrain/weekly").click()
    page.get_by_role("button", name="Run").first.click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_text("Enforce Parameter Schema").wait_for()
    assert page.get_by_text('Property is type "None"').count() == 0
    choose(page, "digits", "tones")
    page.locator("input[type=number]").fill("2")
    keep(page, "prefect-form", full_page=True)
    submit(page, up)


def submit(page: Any, up: Up) -> str:
    """Submits the form and opens the new run's page: its id. Prefect's note with the link is gone after some seconds, which a
    busy browser may miss; the page is then opened by its address."""
    before = {run["id"] for run in up.flow_runs()}
    button = page.get_by_role("button", name="Submit")
    button.click()
    looks = itertools.count(1)

    def made() -> set[str]:
        """The new run; a form that had not been ready for the click is clicked again, as a person would."""
        found = {str(run["id"]) for run in up.flow_runs()} - before
        if not found and next(looks) % LOOKS == 0 and button.count():
            button.click()
        return found

    (new,) = wait_for(made, "the form has made a run")
    try:
        page.get_by_role("link", name="View run").click(timeout=5000)
        page.wait_for_url(f"**/runs/flow-run/{new}**", timeout=5000)
    except TimeoutError:
        page.goto(f"{up.running.prefect_url}/runs/flow-run/{new}")
    return new


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
    # The form closes without a word where the server refuses what it saves.
    with page.expect_response(lambda answer: is_saving(answer.request)) as answered:
        dialog.get_by_role("button", name="Save").click()
    assert answered.value.status == HTTPStatus.CREATED, answered.value.text()
    dialog.wait_for(state="hidden")
    page.get_by_text(re.compile("At 04:30 AM.*Tuesday")).first.wait_for()
    keep(page, "prefect-schedule")


def is_saving(request: Any) -> bool:
    return bool(request.method == "POST" and request.url.endswith("/schedules"))


# Rows of a table whose cells are not as many as its heads: some text closed one, or opened another.
BROKEN_ROWS = """[...document.querySelectorAll("table")].flatMap(table => {
  const span = row => [...row.cells].reduce((sum, cell) => sum + cell.colSpan, 0);
  return [...table.rows].filter(row => span(row) !== span(table.rows[0])).map(row => row.innerText); })"""
ACTIVE = "script, iframe, object, b[onclick], img[onerror], img[src^=http], a[href^=javascript]"


def test_labels_that_attack_stay_text_and_break_no_page(up: Up, candidate: str) -> None:
    new = write_hostile(up.store.parent / "later", seed=1)
    monitored = up.start("monitor/new-data", profile="hostile", data=str(new), model="hostile@challenger")
    folders = {path.parent.name: json.loads(path.read_text()) for path in up.store.glob("runs/*/summary.json")}
    trained = next(run for run, summary in folders.items() if summary["verdict"] == "needs-approval")
    with logged_in(up) as page:
        read_mlflow(page, trained)
        state = up.end_of(monitored)
        assert state["message"].startswith("drift no: no drift in 12 tests on 150 new rows"), state
        for key, artifact in (up.artifacts_of(candidate) | up.artifacts_of(monitored)).items():
            page.goto(f"{up.running.prefect_url}/v2/artifacts/artifact/{artifact}")
            page.get_by_text("hostile", exact=False).first.wait_for()
            assert page.locator("main, body").first.locator("b[onclick], img[onerror]").count() == 0, key
            keep(page, f"hostile-{key}")
            if key == "drift":
                page.get_by_text(f"{CLASSES[0]} 20.0 %").first.wait_for()
                page.get_by_role("link", name="Report", exact=True).wait_for()
    with logged_in(up, 390, 844) as page:
        found = [path.parent.name for path in up.store.glob("runs/*/report.html")]
        paths = ["", "runs/history/hostile.html", *(f"runs/{run}/report.html" for run in found)]
        assert len(paths) >= 4
        for path in paths:
            page.goto(f"{up.running.pages_url}/{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
            assert page.evaluate(BROKEN_ROWS) == [], path
            assert page.locator(ACTIVE).count() == 0, path
            keep(page, f"phone-{path.replace('/', '-')}", full_page=True)
        page.goto(f"{up.running.pages_url}/runs/{trained}/report.html")
        for label in (CLASSES[0], CLASSES[1], CLASSES[2]):
            assert page.get_by_role("cell", name=label, exact=True).count() >= 1, label
        same_interface(page, up)


def read_mlflow(page: Any, run: str) -> None:
    """From the start page to the experiment's runs, a run's data, tags, curves and report, and the version's page."""
    page.get_by_role("link", name="MLflow", exact=True).click()
    page.get_by_role("link", name="hostile", exact=True).click()
    page.wait_for_url("**/runs?**")
    page.get_by_text(re.compile(r"hostile \([0-9a-f]{36}\)")).first.wait_for()
    page.get_by_placeholder(re.compile("metrics.rmse")).fill(
        "tags.verdict = 'needs-approval' and tags.profile = 'hostile'"
    )
    page.keyboard.press("Enter")
    page.get_by_text("1 matching run").wait_for()
    keep(page, "mlflow-runs")
    page.get_by_role("link", name=run).click()
    page.get_by_text("verdict").first.wait_for()
    keep(page, "mlflow-run")
    page.get_by_role("tab", name="Model metrics").click()
    page.get_by_placeholder("Search metric charts").fill("/loss")  # of an epoch: not test_log_loss
    page.locator(".js-plotly-plot .scatterlayer path.js-line").nth(1).wait_for()
    keep(page, "mlflow-curves")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("report.html").click()
    report = page.frame_locator("iframe")
    report.get_by_role("heading", name="Needs approval").wait_for()
    assert report.locator(ACTIVE).count() == 0
    keep(page, "mlflow-report")
    page.get_by_text("model_card.md").click()
    page.get_by_text("Intended use, and limits").first.wait_for()
    keep(page, "mlflow-card")
    page.goto(re.sub("#.*", "#/models/hostile/versions/1", page.url))
    page.get_by_text(re.compile("Passes the gate: accuracy")).first.wait_for()
    keep(page, "mlflow-version")


def same_interface(page: Any, up: Up) -> None:
    """The start page's link to Prefect and the address that `up` prints open the same page of the same UI."""
    page.goto(up.running.pages_url)
    page.get_by_role("link", name="Prefect", exact=True).click()
    page.get_by_text("Flow Runs").first.wait_for()
    linked = page.url
    printed = next(line.split()[1] for line in up.lines if line.startswith("Prefect"))
    page.goto(printed)
    page.get_by_text("Flow Runs").first.wait_for()
    assert page.url.partition("?")[0] == linked.partition("?")[0] == f"{up.running.prefect_url}/v2/dashboard"
    keep(page, "phone-prefect")


def test_a_candidate_is_approved_and_another_one_rejected_by_clicks_alone(up: Up, candidate: str) -> None:
    models = ("crossmodal", "models")
    where = ("--store", str(up.store))
    pending = json.loads(up.call(*models, "pending", *where, "--json").stdout)
    assert [(row["name"], row["version"], row["state"]) for row in pending] == [("hostile", "1", "pending")]
    with logged_in(up) as page:
        waiting = page.get_by_role("heading", name="Waiting for approval")
        assert waiting.count() == 1
        keep(page, "up-pending")
        state = decide(page, up, "1", "approve", "as agreed with the clinic")
        assert state["message"] == "hostile version 1 is now champion: as agreed with the clinic"
        page.goto(up.running.pages_url)
        assert waiting.count() == 0
        assert (
            page.locator("tr", has=page.get_by_role("link", name="hostile", exact=True)).last.inner_text().count("v1")
            == 2
        )

        for version, status, message in (
            ("1", 5, "is champion already, approved by"),
            ("9", 2, "has no version '9'; it has 1"),
        ):
            again = up.call(*models, "promote", "hostile", version, "--reason", "again", *where)
            assert (again.returncode, message in again.stderr) == (status, True), again.stderr
        retrained = up.call(
            "crossmodal", "retrain", "--plain", "--profile", "hostile", "--set", "seed=1", *where, "--json"
        )
        assert json.loads(retrained.stdout.splitlines()[-1])["verdict"] == "needs-approval", retrained.stdout

        change_tag(up, "2", AGAINST, "none")
        overtaken = up.call(*models, "promote", "hostile", "2", "--reason", "late", *where)
        assert "the champion is now version 1, another than this candidate was compared with" in overtaken.stderr
        change_tag(up, "2", UNTIL_MS, "60000")  # its time is over since 1970
        page.goto(up.running.pages_url)
        page.get_by_text("expired", exact=True).wait_for()
        state = decide(page, up, "2", "approve", "too late")
        expired = "model hostile version 2: its approval expired on 1970-01-01 00:01; run crossmodal retrain again"
        assert (state["type"], state["message"]) == ("FAILED", expired)
        page.get_by_text(expired, exact=True).first.wait_for()
        assert page.get_by_text("Traceback").count() == 0
        keep(page, "prefect-refused")
        state = decide(page, up, "2", "reject", "worse on the night shift")
        assert state["message"] == "hostile version 2 is rejected: worse on the night shift"
        page.goto(up.running.pages_url)
        assert waiting.count() == 0
    versions = json.loads(up.call(*models, "show", "hostile", *where, "--json").stdout)
    assert [(row["version"], row["approval"]) for row in versions] == [("1", "approved"), ("2", "rejected")]


def change_tag(up: Up, version: str, key: str, value: str) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{up.store}/mlflow.db"
    MlflowClient(tracking_uri=uri, registry_uri=uri).set_model_version_tag("hostile", version, key, value)


def decide(page: Any, up: Up, version: str, decision: str, reason: str) -> dict[str, Any]:
    """Fills in the form of the deployment `promote`, submits it, and watches the run to its end: its state."""
    page.goto(up.running.pages_url)
    page.get_by_role("link", name="promote/promote").click()
    page.get_by_role("button", name="Run").first.click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_label("model (Optional)", exact=True).fill("hostile")
    page.get_by_label("version (Optional)", exact=True).fill(version)
    if decision != "approve":
        choose(page, "approve", decision)
    page.get_by_label("reason", exact=True).fill(reason)
    keep(page, f"prefect-{decision}", full_page=True)
    state = up.end_of(submit(page, up))
    page.reload()
    page.get_by_text(state["message"], exact=True).first.wait_for()  # a line of the run's log
    return state
