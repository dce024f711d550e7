"""The start page of `up` and the files of its runs: read-only, behind the guard, on an origin of their own."""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from flows.hosting.run_files import SANDBOX, find_run_file, first_page
from flows.hosting.serve import AUTH_STRING, MLFLOW_URL, PAGES_URL, PREFECT_URL, policy_of, run_guarded, store_root
from flows.hosting.start_page import read_start_page
from tasks.redaction import redact_output
from tasks.reporting.start_page import render_start_page

_NO_STORE = {"Cache-Control": "no-store"}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)


async def start(request: Request) -> Response:
    """The start page."""
    urls = {"prefect_url": os.environ[PREFECT_URL], "mlflow_url": os.environ[MLFLOW_URL]}
    page = await run_in_threadpool(read_start_page, store_root(), **urls, auth_string=os.environ[AUTH_STRING])
    text = render_start_page(page, str(store_root()), **urls)
    return HTMLResponse(text, headers=_NO_STORE)


async def run_page(request: Request) -> Response:
    """A run's own address leads to its report."""
    run = request.path_params["run"]
    name = first_page(store_root() / "runs", run)
    if name is None:
        return PlainTextResponse("no such run, or nothing was written yet\n", 404, headers=_NO_STORE)
    return RedirectResponse(f"/runs/{run}/{name}", headers=_NO_STORE)


async def run_file(request: Request) -> Response:
    """A file of a run, in a sandbox."""
    run, name = request.path_params["run"], request.path_params["name"]
    if not name:
        return await run_page(request)
    found = find_run_file(store_root() / "runs", f"{run}/{name}")
    if found is None:
        return PlainTextResponse("no such file\n", 404, headers=_NO_STORE)
    if (
        found.path.name != name.rstrip("/").rpartition("/")[2]
    ):  # a folder's index: links in it are relative to the folder
        return RedirectResponse(f"/runs/{run}/{name.rstrip('/')}/index.html", headers=_NO_STORE)
    headers = _NO_STORE | {"Content-Security-Policy": SANDBOX, "Content-Type": found.content_type}
    download = found.path.name if found.attachment else None
    return FileResponse(found.path, headers=headers, filename=download)


async def health(request: Request) -> Response:
    """Answers while it runs."""
    return PlainTextResponse("OK")


def make_app() -> Starlette:
    """The pages, without the guard."""
    return Starlette(
        routes=[
            Route("/", start),
            Route("/health", health),
            Route("/runs/{run}", run_page),
            Route("/runs/{run}/{name:path}", run_file),
        ]
    )


def main() -> None:
    """Serves until it is stopped."""
    redact_output()
    url = os.environ[PAGES_URL]
    policy = policy_of(url, open_paths=frozenset({"/health"}), content_security_policy=CONTENT_SECURITY_POLICY)
    run_guarded(make_app(), url, policy)


if __name__ == "__main__":
    main()
