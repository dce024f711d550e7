"""A real `crossmodal up`, a real browser, a hostile page on another loopback port: who gets in, and who does not."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.hosting.access import basic_header, session_value
from flows.hosting.prefect_api import PrefectAPI
from flows.hosting.services import executable
from tests.support.browser import WAIT_MS, chromium
from tests.support.data import TINY
from tests.support.serving import Up, errors_in, running_up
from tests.support.web import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RUN = "20261125-200000-1a2b3c4d"
REPORT = """<!doctype html><title>report</title><h1>Report</h1><p id="out">untouched</p>
<script>document.title = "acted"</script><img src="x" onerror="document.title = 'acted'">
<a href="docs/samples/">Data Docs</a><form action="/"><button>send</button></form>"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    store = tmp_path_factory.mktemp("guarded")
    docs = store / "runs" / RUN / "docs" / "samples"
    docs.mkdir(parents=True)
    (docs / "index.html").write_text("<h1>Samples</h1>")
    (docs.parents[1] / "report.html").write_text(REPORT)
    summary = {"verdict": "promote", "reason": "better", "model": {"name": "digits", "version": "7"}, "metrics": {}}
    (docs.parents[1] / "summary.json").write_text(json.dumps(summary))
    with running_up(store) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def session(up: Up, browser: Any) -> Iterator[Any]:
    """A browser that followed the printed link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(up.link)
    page.wait_for_url(up.running.pages_url + "/", timeout=WAIT_MS)
    yield context
    context.close()


def shown(session: Any, url: str, text: str) -> Any:
    page = session.new_page()
    page.goto(url, timeout=WAIT_MS)
    page.get_by_text(text, exact=False).first.wait_for(timeout=WAIT_MS)
    return page


OWN_SOCKET = """url => new Promise(done => {
  const socket = new WebSocket(url, "prefect");
  socket.onopen = () => socket.send(JSON.stringify({type: "auth", token: atob(localStorage.getItem("prefect-password"))}));
  socket.onmessage = message => { done(JSON.parse(message.data).type); socket.close(); };
  socket.onerror = () => done("error");
})"""


def test_the_printed_link_opens_all_three(up: Up, session: Any, browser: Any) -> None:
    start = shown(session, up.running.pages_url, "digits v7")
    assert start.get_by_text("retrain/weekly").count() == 1
    start.get_by_role("link", name="Prefect").click()
    start.wait_for_url(f"{up.running.prefect_url}/**", timeout=WAIT_MS)
    prefect = shown(session, f"{up.running.prefect_url}/v2/deployments", "answers")
    prefect.get_by_placeholder("Search deployments").fill("weekly")  # Prefect lists ten to a page
    prefect.get_by_text("weekly").first.wait_for(timeout=WAIT_MS)
    sockets = up.running.prefect_url.replace("http", "ws")
    assert prefect.evaluate(OWN_SOCKET, f"{sockets}/api/events/out") == "auth_success"
    assert prefect.evaluate(OWN_SOCKET, f"{sockets}/api/logs/out") == "auth_success"
    shown(session, f"{up.running.prefect_url}/v2/runs", "Runs")
    shown(session, f"{up.running.mlflow_url}/#/experiments", "Default")
    again = browser.new_context()
    page = again.new_page()
    page.goto(up.link)
    page.get_by_text("was used already").wait_for(timeout=WAIT_MS)
    page.goto(up.running.pages_url)
    page.get_by_text("crossmodal login").wait_for(timeout=WAIT_MS)
    fresh = json.loads(up.call("crossmodal", "login", "--store", str(up.store), "--json").stdout)["link"]
    page.goto(fresh)
    page.get_by_text("digits v7").wait_for(timeout=WAIT_MS)
    again.close()


def test_a_report_opens_and_cannot_act(up: Up, session: Any) -> None:
    page = shown(session, up.running.pages_url, "digits v7")
    page.locator(f"a[href='/runs/{RUN}']").click()
    page.get_by_role("heading", name="Report").wait_for(timeout=WAIT_MS)
    page.get_by_text("send").click()  # a form in a sandbox
    assert page.title() == "report"
    page.get_by_text("Data Docs").click()
    page.get_by_role("heading", name="Samples").wait_for(timeout=WAIT_MS)
    assert page.url == f"{up.running.pages_url}/runs/{RUN}/docs/samples/index.html"


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[str]:
    """The address of a page of somebody else, on this machine."""
    (tmp_path / "index.html").write_text("<!doctype html><title>hostile</title><body>")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with serving(handler) as address:
        yield f"{address}/"


ATTEMPTS = """async ({prefect, mlflow, pages, create, body}) => {
  const tried = {};
  const attempt = async (name, make) => {
    try { const answer = await make(); tried[name] = answer.type + " " + answer.status; }
    catch (error) { tried[name] = "refused"; }
  };
  const json = {"content-type": "application/json"};
  await attempt("simple", () => fetch(create, {method: "POST", body, headers: {"content-type": "text/plain"}}));
  await attempt("preflighted", () => fetch(create, {method: "POST", body, headers: json}));
  await attempt("with cookies", () => fetch(create, {method: "POST", body, headers: json, credentials: "include"}));
  await attempt("guessing", () => fetch(create, {method: "POST", body, headers: {...json, authorization: "Basic eDp5"}}));
  await attempt("read", () => fetch(prefect + "/api/admin/settings", {credentials: "include"}));
  await attempt("read pages", () => fetch(pages + "/", {credentials: "include"}));
  await attempt("read models", () => fetch(mlflow + "/ajax-api/2.0/mlflow/registered-models/search", {credentials: "include"}));
  const experiment = mlflow + "/api/2.0/mlflow/experiments/create";
  const named = JSON.stringify({name: "hostile"});
  const blind = {method: "POST", mode: "no-cors", credentials: "include"};
  await attempt("blind", () => fetch(create, {...blind, body}));
  await attempt("blind mlflow", () => fetch(experiment, {...blind, body: named}));
  tried.socket = await new Promise(done => {
    const socket = new WebSocket(prefect.replace("http", "ws") + "/api/events/out", "prefect");
    socket.onopen = () => done("open"); socket.onerror = () => done("refused");
  });
  for (const [name, url] of Object.entries({prefect, mlflow, pages})) {
    const frame = document.createElement("iframe");
    frame.src = url; frame.name = "frame-" + name; document.body.append(frame);
    await new Promise(done => { frame.onload = done; });
  }
  return tried;
}"""

FORM = """({create, body}) => {
  const form = document.createElement("form");
  form.method = "POST"; form.action = create; form.enctype = "text/plain";
  const input = document.createElement("input");
  input.name = body.slice(0, -1) + ', "x": "'; input.value = '"}';
  form.append(input); document.body.append(form); form.submit();
}"""


def test_a_hostile_page_gets_nothing_even_from_a_browser_that_is_logged_in(up: Up, session: Any, hostile: str) -> None:
    api = PrefectAPI(up.running.prefect_url, up.running.auth_string)
    deployment = api.get("deployments/name/retrain/weekly")["id"]
    create = f"{up.running.prefect_url}/api/deployments/{deployment}/create_flow_run"
    body = json.dumps({"name": "hostile", "parameters": {"profile": "digits"}})
    before = len(up.flow_runs())
    page = session.new_page()
    page.goto(hostile)
    prefect, mlflow, pages = up.urls
    arguments = {"prefect": prefect, "mlflow": mlflow, "pages": pages, "create": create, "body": body}
    tried = page.evaluate(ATTEMPTS, arguments)
    blind = {name: tried.pop(name) for name in ("blind", "blind mlflow")}
    assert set(tried.values()) == {"refused"}, tried
    assert set(blind.values()) <= {"opaque 0", "refused"}, blind  # no answer can be read; below: nothing was done
    framed = [frame.evaluate("document.body ? document.body.innerText : ''") for frame in page.frames[1:]]
    assert len(framed) == 3
    assert not [text for text in framed if "digits" in text or "Deployments" in text or "Experiments" in text], framed
    with page.expect_navigation(timeout=WAIT_MS) as navigation:
        page.evaluate(FORM, arguments)
    assert navigation.value.status == 403
    assert len(up.flow_runs()) == before
    with httpx.Client(headers={"Authorization": basic_header(up.running.auth_string)}) as client:
        found = client.get(f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=100").raise_for_status()
    assert "hostile" not in found.text
    api.close()


def raw(url: str, request: str) -> str:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request.encode())
        return connection.recv(4096).decode().splitlines()[0]


@pytest.mark.parametrize("path", ["/", "/api/health", "/health", "/crossmodal/login", "/api/flow_runs/filter"])
def test_a_rebound_name_is_refused_though_it_carries_the_credential(up: Up, path: str) -> None:
    cookie = f"crossmodal-{up.running.pages_url.rpartition(':')[2]}={session_value(up.running.auth_string)}"
    knows = f"Authorization: {basic_header(up.running.auth_string)}\r\nCookie: {cookie}\r\n"
    for url in up.urls:
        for host in ("evil.example", f"evil.example:{url.rpartition(':')[2]}"):
            answer = raw(url, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{knows}Connection: close\r\n\r\n")
            assert " 421 " in f"{answer} ", (url, answer)


def test_who_does_not_log_in_gets_nothing(up: Up) -> None:
    paths = [
        "/",
        "/api/admin/version",
        "/api/admin/settings",
        "/docs",
        "/runs",
        f"/runs/{RUN}/report.html",
        "/ui-settings",
    ]
    paths += ["/ajax-api/2.0/mlflow/registered-models/search", "/v2/", "/openapi.json", "/graphql"]
    got = {(url, path): httpx.get(url + path).status_code for url in up.urls for path in paths}
    assert set(got.values()) == {401}, {key: value for key, value in got.items() if value != 401}
    assert httpx.post(f"{up.running.prefect_url}/api/flow_runs/filter", json={}).status_code in {401, 403}


def test_a_socket_without_the_credential_is_closed(up: Up) -> None:
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect
    from websockets.typing import Origin, Subprotocol

    url = up.running.prefect_url.replace("http", "ws")
    for path in ("events/out", "events/in", "logs/out", "task_runs/subscriptions/scheduled"):
        with connect(f"{url}/api/{path}", subprotocols=[Subprotocol("prefect")], proxy=None) as found:
            found.send(json.dumps({"type": "auth", "token": "crossmodal:guess"}))
            with pytest.raises(ConnectionClosed):
                found.recv()
    with pytest.raises(InvalidStatus):
        connect(f"{url}/api/events/out", origin=Origin("http://evil.example"), proxy=None)


@pytest.mark.parametrize(
    "variables", [{"command": "touch x"}, {"env": {"A": "b"}}, {"env.A": "b"}, {"working_dir": "/tmp"}]
)
def test_a_run_cannot_bring_its_own_command(up: Up, variables: dict[str, Any]) -> None:
    api = PrefectAPI(up.running.prefect_url, up.running.auth_string)
    deployment = api.get("deployments/name/retrain/weekly")["id"]
    with pytest.raises(httpx.HTTPStatusError) as caught:
        api.post(f"deployments/{deployment}/create_flow_run", {"job_variables": variables})
    assert caught.value.response.status_code == 422
    api.close()


def test_another_terminal_needs_to_type_nothing(up: Up, make_data: Callable[..., Path]) -> None:
    second = up.call("crossmodal", "up", "--store", str(up.store))
    assert (second.returncode, second.stderr.count("\n")) == (2, 1), second.stderr
    assert f"(process {up.running.pid}, {up.running.pages_url}); crossmodal login --store {up.store}" in second.stderr
    before = len(up.flow_runs())
    done = up.call(
        *("crossmodal", "retrain", "--data", str(make_data()), "--store", str(up.store), "--json"),
        *("--set", "train.epochs=1", "--set", "name=terminal"),
        *(part for text in TINY for part in ("--set", text)),
    )
    assert done.returncode == 0, done.stderr
    assert len(up.flow_runs()) == before + 1
    listed = subprocess.run(
        executable(["prefect", "deployment", "ls"]),
        env=up.environment | {"PREFECT_HOME": str(up.store / "prefect")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "retrain/weekly" in listed.stdout


def test_the_secret_is_in_no_argv_url_or_log_and_the_logs_hold_no_traceback(up: Up) -> None:
    secret = up.running.auth_string.partition(":")[2]
    coded = basic_header(up.running.auth_string).removeprefix("Basic ")
    argvs = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argvs.append(path.read_text(errors="replace"))
        except OSError:  # it has ended
            continue
    logs = {path.name: path.read_text(errors="replace") for path in (up.store / "prefect").glob("*.log")}
    assert set(logs) >= {"server.log", "worker.log", "mlflow.log", "pages.log"}
    for text in [*argvs, *logs.values(), *up.lines]:
        assert secret not in text
        assert coded not in text
    assert [error for name in logs for error in errors_in(up.store / "prefect" / name)] == []
    holders = [path for path in up.store.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert sorted(path.name for path in holders) == ["profiles.toml", "up.json"]
    assert {path.stat().st_mode & 0o777 for path in holders} == {0o600}
