"""The guard before `up`'s servers, by value: which request gets through, and what its answer carries."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from flows.hosting import access
from flows.hosting.access import LOGIN_PATH, Codes, basic_header, new_auth_string, new_code, session_value
from flows.hosting.guard import Guard, Policy, Receive, Scope, Send, own_origins, refusal
from flows.hosting.login import WithLogin
from flows.hosting.mlflow_server import _SEARCHES

AUTH = "crossmodal:secret"
URL = "http://127.0.0.1:4200"
HOST = ("host", "127.0.0.1:4200")
KNOWS = ("authorization", basic_header(AUTH))
COOKIE = ("cookie", f"other=1; crossmodal-4300={session_value(AUTH)}")
NAVIGATES = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]


def policy(**changes: Any) -> Policy:
    fields: dict[str, Any] = {
        "auth_string": AUTH,
        "cookie": "crossmodal-4300",
        "origins": own_origins(URL, ["models.example.org"]),
        "open_paths": frozenset({"/api/health", LOGIN_PATH}),
        "header_only": ("/api",),
        "closed": ("/gateway",),
        "websockets": True,
    }
    return Policy(**(fields | changes))


def status(*headers: tuple[str, str], path: str = "/", method: str = "GET", kind: str = "http", **changes: Any) -> int:
    """The status of the refusal; 0 when the request gets through."""
    scope: dict[str, Any] = {
        "type": kind,
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    refused = refusal(policy(**changes), scope)
    return 0 if refused is None else refused.status


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4200",
        "127.0.0.1",
        "127.0.0.1:4201",
        "0.0.0.0:4200",
        "127.0.0.1:4200.evil.example",
        "",
    ],
)
def test_another_name_is_refused_whatever_it_carries(host: str) -> None:
    assert status(("host", host), KNOWS, COOKIE) == 421
    assert status(("host", host), path="/api/health") == 421


def test_no_host_or_two_are_refused() -> None:
    assert status(KNOWS) == 421
    assert status(HOST, ("host", "evil.example"), KNOWS) == 421


@pytest.mark.parametrize(
    "host", ["127.0.0.1:4200", "localhost:4200", "LOCALHOST:4200", "[::1]:4200", "models.example.org"]
)
def test_own_names_get_through(host: str) -> None:
    assert status(("host", host), KNOWS) == 0


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:4201", "https://127.0.0.1:4200", "http://localhost:4200"],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_another_origin_is_refused_whatever_it_carries(origin: str, kind: str) -> None:
    assert status(HOST, ("origin", origin), KNOWS, COOKIE, kind=kind) == 403
    assert status(HOST, ("origin", URL), ("origin", origin), KNOWS, kind=kind) == 403


def test_the_own_origin_gets_through_and_a_proxy_only_over_https() -> None:
    assert status(HOST, ("origin", URL), KNOWS) == 0
    assert status(("host", "models.example.org"), ("origin", "https://models.example.org"), KNOWS) == 0
    assert status(("host", "models.example.org"), ("origin", "http://models.example.org"), KNOWS) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "something-new"])
def test_another_site_may_follow_a_link_and_do_nothing_else(site: str) -> None:
    header = ("sec-fetch-site", site)
    assert status(HOST, header, COOKIE, *NAVIGATES) == 0
    assert status(HOST, header, COOKIE) == 403
    assert status(HOST, header, COOKIE, *NAVIGATES, method="POST") == 403
    assert status(HOST, header, COOKIE, NAVIGATES[0], ("sec-fetch-dest", "iframe")) == 403


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic x", "Basic !!", basic_header("crossmodal:other"), f"Bearer {AUTH}", basic_header(AUTH)[:-1]],
)
def test_a_wrong_header_is_refused(header: str) -> None:
    assert status(HOST, ("authorization", header)) == 401


def test_who_knows_nothing_gets_health_and_the_login_page_only() -> None:
    assert [status(HOST, path=path) for path in ("/", "/api/flow_runs", "/api/health/x", "/docs")] == [401] * 4
    assert [status(HOST, path=path) for path in ("/api/health", LOGIN_PATH)] == [0, 0]
    assert status(HOST, ("cookie", "crossmodal-4300=x")) == 401


def test_a_cookie_opens_pages_but_never_the_api_and_never_writes() -> None:
    assert status(HOST, COOKIE, path="/deployments") == 0
    assert [status(HOST, COOKIE, path=path) for path in ("/api", "/api/flow_runs", "//api/flow_runs")] == [401] * 3
    assert [status(HOST, COOKIE, path="/x", method=method) for method in ("POST", "PUT", "DELETE")] == [403] * 3
    assert status(HOST, KNOWS, path="/api/flow_runs", method="POST") == 0


def test_a_cookie_may_post_searches_of_mlflow() -> None:
    posts = {"cookie_posts": _SEARCHES, "header_only": ()}
    search, create = "/ajax-api/2.0/mlflow/runs/search", "/ajax-api/2.0/mlflow/experiments/create"
    assert status(HOST, COOKIE, path=search, method="POST", **posts) == 0
    assert status(HOST, COOKIE, path=create, method="POST", **posts) == 403
    assert status(HOST, COOKIE, path=search, method="DELETE", cookie_posts=re.compile("(?!)"), header_only=()) == 403


def test_closed_paths_are_closed_to_all() -> None:
    assert [status(HOST, KNOWS, path=path) for path in ("/gateway", "/gateway/x", "//gateway/x")] == [404] * 3
    assert status(HOST, KNOWS, path="/gateways") == 0


def test_a_browser_needs_the_cookie_for_a_websocket() -> None:
    own = ("origin", URL)
    assert status(HOST, own, kind="websocket", path="/api/events/out") == 403
    assert status(HOST, own, COOKIE, kind="websocket", path="/api/events/out") == 0
    assert status(HOST, kind="websocket", path="/api/events/out") == 0  # a program: Prefect asks in the first message
    assert status(HOST, KNOWS, COOKIE, kind="websocket", websockets=False) == 403


async def open_to_all(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that allows every origin."""
    headers = [(b"access-control-allow-origin", b"*"), (b"X-Frame-Options", b"DENY"), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


async def ask(app: Any, method: str, path: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
        return await client.request(method, path, **more)


def asked(app: Any, method: str, path: str, **more: Any) -> httpx.Response:
    import anyio

    async def call() -> httpx.Response:
        return await ask(app, method, path, **more)

    return anyio.run(call)


def test_no_leave_for_other_origins_passes_and_frames_are_refused() -> None:
    guarded = Guard(open_to_all, policy(content_security_policy="default-src 'self'"))
    answer = asked(guarded, "GET", "/", headers=[KNOWS])
    assert (answer.status_code, answer.text) == (200, "hello")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers.get_list("x-frame-options") == ["DENY"]
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    preflight = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    refused = asked(guarded, "OPTIONS", "/api/flow_runs", headers=preflight)
    assert refused.status_code == 403
    assert not [name for name in refused.headers if name.startswith("access-control")]


def test_a_visitor_without_session_reads_how_to_log_in() -> None:
    answer = asked(Guard(open_to_all, policy()), "GET", "/", headers=dict(NAVIGATES))
    assert answer.status_code == 401
    assert "crossmodal login" in answer.text


def test_a_code_logs_in_once_and_the_page_carries_no_secret() -> None:
    login = Guard(WithLogin(open_to_all, policy(), "http://127.0.0.1:4300/"), policy())
    page = asked(login, "GET", LOGIN_PATH)
    assert page.status_code == 200
    assert "secret" not in page.text
    assert session_value(AUTH) not in page.text
    code = new_code(AUTH)
    first = asked(login, "POST", LOGIN_PATH, content=code)
    assert first.json() == {"password": basic_header(AUTH).removeprefix("Basic "), "next": "http://127.0.0.1:4300/"}
    assert first.headers["set-cookie"] == f"crossmodal-4300={session_value(AUTH)}; Path=/; HttpOnly; SameSite=Strict"
    assert asked(login, "POST", LOGIN_PATH, content=code).status_code == 403
    assert asked(login, "POST", LOGIN_PATH, content=new_code(AUTH), headers={"origin": "null"}).status_code == 403


def test_codes_expire_and_belong_to_their_start(monkeypatch: pytest.MonkeyPatch) -> None:
    early = new_code(AUTH)
    clock = [access.time.time() + 1]
    monkeypatch.setattr(access.time, "time", lambda: clock[0])
    codes = Codes(AUTH)
    assert not codes.redeem(early)  # from before this process began: it may have been used
    code, later = new_code(AUTH), new_code(AUTH)
    assert not codes.redeem(code[:-1] + ("0" if code[-1] != "0" else "1"))
    assert not codes.redeem(new_code(new_auth_string()))
    assert not any(codes.redeem(wrong) for wrong in ("", "-", "a-b-c", code.split("-")[0]))
    clock[0] += access.CODE_VALID_S - 1
    assert [codes.redeem(code), codes.redeem(code)] == [True, False]
    clock[0] += 2
    assert not codes.redeem(later)


def test_auth_strings_are_fresh_and_fit_basic_authentication() -> None:
    one, two = new_auth_string(), new_auth_string()
    assert one != two
    assert re.fullmatch(r"crossmodal:[\w-]{43}", one)
    assert "secret" not in repr(policy())
