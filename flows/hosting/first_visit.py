"""What MLflow's UI remembers of its user, set before a browser's first visit: it opens on runs, not on traces.

Its UI has two modes and begins in that for generative AI, whatever an experiment is tagged as, and with its assistant opened,
which is not served here. It keeps both in the browser's local storage, which only a page of its own origin can write.
"""

from __future__ import annotations

import base64
import hashlib
import json

from flows.hosting.guard import App, Headers, Receive, Scope, Send

REMEMBERED = {
    "mlflow.workflowType_v1": json.dumps("machine_learning"),
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
}
"""Key to value of MLflow's local storage; what a person has chosen there stays."""
_YEAR_S = 31_536_000


class WithFirstVisit:
    """MLflow's app, which a browser gets from its second look at the page on: its first one is at a page that looks again."""

    def __init__(self, app: App, cookie: str) -> None:
        self._app = app
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the first visit, hands on the rest."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET" or self._has_visited(scope):
            await self._app(scope, receive, send)
            return
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(_PAGE)).encode()),
            (b"cache-control", b"no-store"),
            (b"content-security-policy", _PAGE_POLICY.encode()),
            (b"set-cookie", f"{self._cookie}=1; Path=/; Max-Age={_YEAR_S}; HttpOnly; SameSite=Strict".encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": _PAGE})

    def _has_visited(self, scope: Scope) -> bool:
        return Headers(scope).cookie(self._cookie) is not None


_SCRIPT = f"""
for (const [key, value] of Object.entries({json.dumps(REMEMBERED)}))
  if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
location.reload();
"""
_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_PAGE_POLICY = (
    f"default-src 'none'; script-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_PAGE = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>MLflow</title>
<noscript>MLflow's UI needs JavaScript.</noscript>
<script>{_SCRIPT}</script>
</html>
""".encode()
