"""MLflow behind its first visit: a browser's first look at the page sets what the UI remembers, later ones are MLflow's."""

from __future__ import annotations

import base64
import hashlib
import re

import anyio
import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from flows.hosting.first_visit import REMEMBERED, WithFirstVisit


async def mlflow(request: Request) -> PlainTextResponse:
    return PlainTextResponse("MLflow")


def test_only_the_first_visit_of_the_page_is_ours() -> None:
    app = WithFirstVisit(Starlette(routes=[Route("/{path:path}", mlflow, methods=["GET", "POST"])]), "seen")

    async def look() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:5000") as browser:
            asked = [("GET", "/api/2.0/mlflow"), ("POST", "/"), ("GET", "/"), ("GET", "/")]
            return [await browser.request(method, path) for method, path in asked]

    api, post, first, second = anyio.run(look)
    assert [answer.text for answer in (api, post, second)] == ["MLflow"] * 3
    script = re.findall(r"<script>(.*?)</script>", first.text, re.DOTALL)[0]
    assert all(key in script for key in REMEMBERED)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in first.headers["content-security-policy"]
    assert "HttpOnly; SameSite=Strict" in first.headers["set-cookie"]
