"""The files of runs in a browser: nothing outside `runs/`, nothing that acts, no listing; and the start page by value."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from flows.hosting import pages
from flows.hosting.run_files import find_run_file, first_page
from flows.hosting.services import Services
from flows.hosting.start_page import pending_line, recent_runs
from tasks.reporting.start_page import PendingLine, RunLine, ScheduleLine, StartPage, render_start_page
from tasks.store import Store

RUN = "20261125-200000-1a2b3c4d"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / RUN
    (folder / "docs" / "samples").mkdir(parents=True)
    (folder / "report.html").write_text("<script>alert(1)</script>")
    (folder / "docs" / "samples" / "index.html").write_text("docs")
    (folder / "quarantine.csv").write_text("id\n")
    (folder / "quarantine.parquet").write_bytes(b"PAR1")
    (folder / ".hidden").write_text("hidden")
    (tmp_path / "up.json").write_text("secret")
    (folder / "linked.json").symlink_to(tmp_path / "up.json")
    (folder / "up").symlink_to(tmp_path)
    (tmp_path / "runs" / "elsewhere").symlink_to(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../up.json",
        f"{RUN}/../../up.json",
        f"{RUN}/docs/../report.html",
        f"{RUN}//report.html",
        f"{RUN}/linked.json",
        f"{RUN}/up/up.json",
        "elsewhere/up.json",
        f"{RUN}/.hidden",
        f"{RUN}/..\\..\\up.json",
        f"{RUN}/report.html\0.png",
        f"{RUN}/report.html/x",
        f"{RUN}/docs",
        RUN,
        f"{RUN}/absent.html",
        f"{RUN}/{'a' * 5000}",
    ],
)
def test_no_name_leads_elsewhere_and_no_folder_is_listed(root: Path, name: str) -> None:
    assert find_run_file(root / "runs", name) is None


def test_files_are_found_by_their_kind(root: Path) -> None:
    runs = root / "runs"
    found = {
        name: find_run_file(runs, f"{RUN}/{name}") for name in ("report.html", "quarantine.csv", "quarantine.parquet")
    }
    kinds = {name: (file.content_type, file.attachment) for name, file in found.items() if file is not None}
    assert kinds == {
        "report.html": ("text/html; charset=utf-8", False),
        "quarantine.csv": ("text/plain; charset=utf-8", False),
        "quarantine.parquet": ("application/octet-stream", True),
    }
    docs = find_run_file(runs, f"{RUN}/docs/samples")
    assert docs is not None
    assert docs.path == runs / RUN / "docs" / "samples" / "index.html"
    assert (first_page(runs, RUN), first_page(runs, "absent")) == ("report.html", None)


def asked(path: str) -> httpx.Response:
    import anyio

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(pages.make_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4300") as client:
            return await client.get(path)

    return anyio.run(call)


def test_a_report_is_sandboxed_and_kept_nowhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSMODAL_STORE", str(root))
    answer = asked(f"/runs/{RUN}/report.html")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-same-origin allow-downloads; default-src 'none'")
    assert "allow-scripts" not in policy
    assert "script-src" not in policy  # so default-src, 'none', holds for scripts
    assert answer.headers["cache-control"] == "no-store"
    assert asked(f"/runs/{RUN}").headers["location"] == f"/runs/{RUN}/report.html"
    assert asked(f"/runs/{RUN}/docs/samples/").headers["location"] == f"/runs/{RUN}/docs/samples/index.html"
    assert "attachment" in asked(f"/runs/{RUN}/quarantine.parquet").headers["content-disposition"]


@pytest.mark.parametrize(
    "path",
    [
        "/runs/..%2fup.json",
        f"/runs/{RUN}/..%2f..%2fup.json",
        f"/runs/{RUN}/%2e%2e/%2e%2e/up.json",
        "/runs/",
        "/up.json",
    ],
)
def test_encoded_steps_upwards_are_not_found(root: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSMODAL_STORE", str(root))
    answer = asked(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_runs_are_listed_newest_first_and_failed_ones_too(tmp_path: Path) -> None:
    digits = {"name": "digits", "version": "7"}
    promoted = {"verdict": "promote", "reason": "better", "model": digits}
    promoted["metrics"] = {"test": {"accuracy": 0.91, "macro_f1": 0.9}}
    failed = {"verdict": None, "reason": "no rows", "error": "no rows", "model": None, "metrics": {}}
    for run, day, summary in (("a", "24", promoted), ("b", "25", failed)):
        folder = tmp_path / "runs" / run
        folder.mkdir(parents=True)
        start = {"run": run, "flow": "retrain", "model": "digits", "data": "m.csv", "host": "h", "pid": 1}
        (folder / "run.json").write_text(json.dumps(start | {"started": f"2026-11-{day}T03:00:00Z"}))
        (folder / "summary.json").write_text(json.dumps(summary))
    page = tmp_path / "runs" / "history" / "digits.html"
    page.parent.mkdir()
    page.write_text("")
    shown = [(line.run, line.started, line.model, line.verdict, line.figure) for line in recent_runs(tmp_path)]
    assert shown == [
        ("b", "2026-11-25 03:00", "digits", "failed", ""),
        ("a", "2026-11-24 03:00", "digits v7", "promote", "macro-f1 0.900"),
    ]
    assert {line.history for line in recent_runs(tmp_path)} == {"/runs/history/digits.html"}


def test_what_judged_no_model_says_what_it_found(tmp_path: Path) -> None:
    found = {
        "a": {"flow": "check", "finding": "passed", "reason": "9 of 9 rows can be used"},
        "b": {
            "flow": "check",
            "finding": "not trainable",
            "reason": "9 of 9 rows can be used; not trainable: one class",
        },
        "c": {"flow": "check", "error": "no rows", "reason": "no rows"},
        "d": {"flow": "monitor", "finding": "drift", "reason": "drift in 1 of 4 tests"},
        "e": {"flow": "predict"},
    }
    for run, summary in found.items():
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "summary.json").write_text(json.dumps(summary))
    lines = {line.run: (line.verdict, line.tone, line.reason) for line in recent_runs(tmp_path)}
    assert lines == {
        "a": ("check: passed", "good", "9 of 9 rows can be used"),
        "b": ("check: not trainable", "bad", "9 of 9 rows can be used; not trainable: one class"),
        "c": ("check: failed", "bad", "no rows"),
        "d": ("monitor: drift", "open", "drift in 1 of 4 tests"),
        "e": ("predict: completed", "same", ""),
    }


def test_candidates_are_shown_with_the_time_until_when_they_may_be_approved() -> None:
    day_ms, since_ms = 86_400_000, 1795575600000  # 2026-11-25 03:00
    values = {
        "approval_since_ms": str(since_ms),
        "approval_until_ms": str(since_ms + 14 * day_ms),
        "approval": "pending",
    }
    values |= {"run": "r", "metrics": json.dumps({"accuracy": 0.9, "macro_f1": 0.8764})}
    tags = [{"key": f"crossmodal.{name}", "value": value} for name, value in values.items()]
    version = {"name": "digits", "version": "7", "tags": tags}
    expected = ("digits", "7", "r", "macro-f1 0.876", "2026-12-09 03:00")
    assert pending_line(version, since_ms + 13 * day_ms) == PendingLine(*expected, expired=False)
    late = pending_line(version, since_ms + 14 * day_ms)
    assert late == PendingLine(*expected, expired=True)
    urls = {"prefect_url": "http://p", "mlflow_url": "http://m"}
    page = StartPage([], [late], schedules=[ScheduleLine("id-1", "promote/promote", "", "")])
    assert "expired</span>, retrain again" in render_start_page(page, "s", **urls)
    page.pending[:] = [pending_line(version, since_ms)]
    text = render_start_page(page, "s", **urls)
    assert "http://p/v2/deployments/deployment/id-1" in text
    assert "crossmodal models promote digits 7 --reason" in text


def test_hostile_names_stay_text() -> None:
    line = RunLine("r", "", "<script>x</script>", "", "promote", "good", '"><img src=x>', "")
    waiting = PendingLine("<script>y</script>", "1", '"><img src=z>', "", "2026-12-09 03:00", expired=False)
    page = StartPage([line], [waiting], silent=["MLflow"])
    text = render_start_page(page, "s", prefect_url="http://p", mlflow_url="http://m")
    assert "<script>" not in text
    assert "<img" not in text
    assert "MLflow does not answer" in text


def test_the_credential_is_not_sent_to_an_mlflow_server_elsewhere(tmp_path: Path) -> None:
    elsewhere = Services(Store(tmp_path), 4200, 5000, "http://user:password@mlflow.example.org:5000")
    assert elsewhere.environment["CROSSMODAL_MLFLOW_URL"] == ""
    assert elsewhere.mlflow_url == "http://mlflow.example.org:5000"
    own = Services(Store(tmp_path), 4200, 5000, f"sqlite:///{tmp_path}/mlflow.db")
    assert own.environment["CROSSMODAL_MLFLOW_URL"] == "http://127.0.0.1:5000"
    assert own.auth_string not in repr(own)
    assert own.auth_string != elsewhere.auth_string
