"""Remote stores: nothing is fetched unless its scheme is allowed, and then only that, from there, within limits."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tasks.config import load_config
from tasks.errors import EnvironmentFailed, UsageError
from tasks.ingest.manifest.scan import scan
from tasks.ingest.rejected_row import Refused
from tasks.ingest.sources import remote
from tasks.ingest.sources.remote import Remote, _fetch_web
from tasks.ingest.sources.resolve import locate_data, name_of_data
from tasks.store import Store
from tests.support.data import write_manifest, write_picture
from tests.support.watching import Listener
from tests.support.web import serving

MEMORY = 'data.allowed_schemes=["memory"]'
WEB = 'data.allowed_schemes=["http"]'


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Any]:
    """fsspec's filesystem in memory with four pictures below bucket/img."""
    system = fsspec.filesystem("memory")
    for number in range(4):
        write_picture(tmp_path / f"up/{number}.png", number)
        system.pipe(f"/bucket/img/{number}.png", (tmp_path / f"up/{number}.png").read_bytes())
    yield system
    system.store.clear()


def _rows(*cells: str) -> list[dict[str, str]]:
    return [{"id": f"s{n}", "image": cell, "label": "ab"[n % 2]} for n, cell in enumerate(cells)]


def test_cells_of_an_allowed_scheme_are_fetched_and_decoded(
    data: Path, bucket: Any, run_ingest: Any, tmp_path: Path
) -> None:
    cells = ["memory://bucket/img/0.png", "MEMORY://bucket/img/1.png", "img/2.png", "memory://bucket/none.png"]
    done = run_ingest(
        write_manifest(data / "m.csv", _rows(*cells, "memory://bucket/img", "memory://bucket/img/2.png")), MEMORY
    )
    assert done.reasons == {
        "s3": "missing-file",
        "s4": "not-a-file",
        "s5": "conflicting-label",
        "s2": "conflicting-label",
    }
    local = run_ingest(write_manifest(data / "l.csv", _rows("img/0.png", "img/1.png")))
    assert [done.samples[n]["image"] for n in ("s0", "s1")] == [local.samples[n]["image"] for n in ("s0", "s1")]


def test_what_changes_in_the_store_is_noticed(data: Path, bucket: Any, run_ingest: Any) -> None:
    path = write_manifest(data / "m.csv", _rows("memory://bucket/img/0.png", "memory://bucket/img/1.png"))
    before = run_ingest(path, MEMORY)
    bucket.pipe("/bucket/img/1.png", bucket.cat("/bucket/img/3.png"))
    after = run_ingest(path, MEMORY)
    assert before.samples["s0"] == after.samples["s0"]
    assert before.samples["s1"]["image"] != after.samples["s1"]["image"]


AZURE = "container@account.dfs.core.windows.net"


@pytest.mark.parametrize("url", [f"abfs://{AZURE}/a/b.png", f"abfss://{AZURE}/b.png", f"ABFS://{AZURE}/b.png"])
def test_azure_names_a_container_where_others_name_a_user(url: str) -> None:
    stores = Remote(("abfs", "abfss"), 1e6, 1, f"abfs://{AZURE}/data/")
    assert stores.resolve(url) == url.replace("ABFS", "abfs")
    assert stores.resolve("img/1.png") == f"abfs://{AZURE}/data/img/1.png"


@pytest.mark.parametrize(
    "url",
    [
        "abfs://user:secret@account.dfs.core.windows.net/b.png",
        "abfs://container:@account.dfs.core.windows.net/b.png",
        "abfs://user:secret@container@account.dfs.core.windows.net/b.png",
        "abfs://@account.dfs.core.windows.net/b.png",
        "abfs://Some%3Asecret@account.dfs.core.windows.net/b.png",
        "s3://container@account.dfs.core.windows.net/b.png",
        "https://container@account.dfs.core.windows.net/b.png",
    ],
)
def test_no_user_and_no_password_elsewhere(url: str) -> None:
    with pytest.raises(Refused, match="a user or a password in the address"):
        Remote(("abfs", "s3", "https"), 1e6, 1).resolve(url)


def test_no_scheme_is_allowed_by_default(data: Path, bucket: Any, run_ingest: Any) -> None:
    done = run_ingest(write_manifest(data / "m.csv", _rows("img/0.png", "memory://bucket/img/1.png")))
    assert done.reasons == {"s1": "scheme-not-allowed"}


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("http://127.0.0.1:{port}/x.png", "scheme-not-allowed"),
        ("s3://127.0.0.1:{port}/x.png", "scheme-not-allowed"),
        ("file://{canary}", "scheme-not-allowed"),
        ("file:{canary}", "scheme-not-allowed"),
        ("local://{canary}", "scheme-not-allowed"),
        ("simplecache::http://127.0.0.1:{port}/x.png", "scheme-not-allowed"),
        ("zip://x.png::memory://bucket/a.zip", "scheme-not-allowed"),
        ("memory::file://{canary}", "scheme-not-allowed"),
        ("memory://x::file://{canary}", "bad-path"),
        ("memory://x::http://127.0.0.1:{port}/", "bad-path"),
        ("memory://user:secret@bucket/img/0.png", "bad-path"),
        ("memory://bucket/img/0.png\nfile://{canary}", "bad-path"),
        ("memory://[x/y.png", "bad-path"),
        ("memory://a\u2100b/x.png", "bad-path"),
        ("{canary}", "path-outside"),
        ("../outside/canary.png", "path-outside"),
    ],
)
def test_an_allowed_scheme_opens_no_other_door(
    run_ingest: Any, data: Path, bucket: Any, canary: Path, listener: Listener, cell: str, reason: str
) -> None:
    cell = cell.format(canary=canary, port=listener.port)
    done = run_ingest(write_manifest(data / "m.csv", _rows("img/0.png", cell)), MEMORY)
    assert done.reasons == {"s1": reason}


@pytest.mark.parametrize(
    "scheme", ["file", "local", "simplecache", "filecache", "zip", "reference", "dir", "data", "s3:", "*"]
)
def test_schemes_that_lead_around_the_roots_cannot_be_allowed(scheme: str) -> None:
    with pytest.raises(UsageError, match=r"not the scheme of a remote store; accepted: abfs.* s3"):
        load_config({}, [f'data.allowed_schemes=["{scheme}"]'])


def test_a_remote_file_has_limits(data: Path, bucket: Any, run_ingest: Any) -> None:
    bucket.pipe("/bucket/large.png", b"x" * 20_000)
    bucket.pipe("/bucket/empty.png", b"")
    cells = ["memory://bucket/img/0.png", "memory://bucket/large.png", "memory://bucket/empty.png"]
    done = run_ingest(write_manifest(data / "m.csv", _rows(*cells)), MEMORY, "media.max_file_mb=0.01")
    assert done.reasons == {"s1": "file-too-large", "s2": "empty-file"}


# -- a manifest in the store ---


def test_a_remote_manifest_names_what_lies_beside_it(bucket: Any, store: Store, canary: Path) -> None:
    cells = ["img/0.png", "./img/1.png", "memory://bucket/img/2.png", "../other/x.png", "img/../../y.png", str(canary)]
    for number in range(4):
        bucket.pipe(f"/bucket/set/img/{number}.png", bucket.cat(f"/bucket/img/{number}.png"))
    lines = ["id,image,label", *(f"s{n},{cell},{'ab'[n % 2]}" for n, cell in enumerate(cells))]
    bucket.pipe("/bucket/set/manifest.csv", "\n".join(lines).encode())
    bucket.pipe("/bucket/other/x.png", b"outside of the manifest's folder")
    config = load_config({}, [MEMORY, "data.path=memory://bucket/set/manifest.csv", "runtime.workers=1"])
    raw = scan(config, store, locate_data(config, store))
    rows = {row["id"]: row for row in _table(store, raw)}
    assert [rows[f"s{n}"]["reason"] for n in range(6)] == [None, None, None, *["path-outside"] * 3]
    assert rows["s0"]["image"] == "memory://bucket/set/img/0.png"
    assert name_of_data(config.data.path) == "set"


def _table(store: Store, raw: Any) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(store.path(raw.uri) / "rows.parquet").to_pylist()
    return rows


@pytest.mark.parametrize(
    ("path", "output"),
    [
        ("memory://bucket/none.csv", "missing-file"),
        ("memory://bucket/img", "a remote manifest is a file that ends in"),
        ("s3://bucket/m.csv", "scheme-not-allowed"),
        ("file:///etc/passwd.csv", "scheme-not-allowed"),
        ("memory://bucket/big.csv", "file-too-large"),
        ("memory://[x/m.csv", "bad-path"),
        ("memory://a\u2100b/m.csv", "bad-path"),
    ],
)
def test_a_remote_manifest_that_may_not_be_read(bucket: Any, store: Store, path: str, output: str) -> None:
    bucket.pipe("/bucket/big.csv", b"x" * 2_000_000)
    config = load_config({}, [MEMORY, f"data.path={path}", "data.max_manifest_mb=1"])
    with pytest.raises(UsageError, match=output):
        locate_data(config, store)


def test_a_remote_manifest_is_refused_by_default(store: Store, listener: Listener) -> None:
    for scheme in ("http", "s3", "memory"):
        config = load_config({}, [f"data.path={scheme}://127.0.0.1:{listener.port}/m.csv"])
        with pytest.raises(UsageError, match="scheme-not-allowed"):
            locate_data(config, store)


# -- the web ---


class _Pages(http.server.BaseHTTPRequestHandler):
    pages: dict[str, tuple[int, dict[str, str], bytes]]
    asked: list[str]
    closing: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, headers, body = self.pages.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for start in range(0, len(body), 1 << 16):
            self.wfile.write(body[start : start + (1 << 16)])
        if self.path == "/slow":
            self.closing.wait()
        with contextlib.suppress(OSError):  # whoever asked has left
            while self.path == "/drip" and not self.closing.wait(0.01):
                self.wfile.write(b"x")

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@pytest.fixture
def web(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """web(path, status, headers, body) serves a page on the loopback address and returns its address."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    handler = type("Pages", (_Pages,), {"pages": {}, "asked": [], "closing": threading.Event()})

    def serve(path: str, status: int = 200, headers: dict[str, str] | None = None, body: bytes = b"") -> str:
        handler.pages[path] = (status, headers or {}, body)  # type: ignore[attr-defined]
        return f"{address}{path}"

    with serving(handler) as address:
        yield serve
        handler.closing.set()  # type: ignore[attr-defined]


def test_http_is_read_where_it_is_allowed(data: Path, web: Callable[..., str], run_ingest: Any) -> None:
    page = web("/a.png", body=(data / "img/1.png").read_bytes())
    moved = web("/b.png", 302, {"Location": "/a.png"})
    assert run_ingest(write_manifest(data / "m.csv", _rows("img/0.png", page))).reasons == {"s1": "scheme-not-allowed"}
    done = run_ingest(write_manifest(data / "m.csv", _rows("img/0.png", page)), WEB)
    assert done.reasons == {}
    again = run_ingest(write_manifest(data / "m.csv", _rows("img/0.png", moved)), WEB)
    assert again.samples["s1"]["image"] == done.samples["s1"]["image"]


@pytest.mark.parametrize(
    ("location", "output"),
    [
        ("file://{canary}", "redirected to file://"),
        ("http://169.254.169.254/latest/meta-data/", "redirected to http://169.254.169.254"),
        ("http://127.0.0.1:{port}/x.png", "redirected to http://127.0.0.1"),
        ("//127.0.0.1:{port}/x.png", "redirected to"),
        ("https://127.0.0.1:{port}/x.png", "redirected to https://"),
        ("/loop.png", "more than 5 redirects"),
    ],
)
def test_a_redirect_that_leads_elsewhere_is_not_followed(
    data: Path, web: Callable[..., str], run_ingest: Any, canary: Path, listener: Listener, location: str, output: str
) -> None:
    cell = web("/loop.png", 302, {"Location": location.format(canary=canary, port=listener.port)})
    done = run_ingest(write_manifest(data / "m.csv", _rows("img/0.png", cell)), WEB)
    assert done.reasons == {"s1": "fetch-failed"}
    assert output in done.refused[0]["detail"]


def test_a_link_local_address_is_never_asked(run_ingest: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = ["img/0.png", "http://169.254.169.254/latest/x.png", "http://[fe80::1]/x.png"]
    cells += ["http://[::ffff:169.254.169.254]/x.png", "http://[fd00:ec2::254]/x.png"]
    done = run_ingest(write_manifest(data / "m.csv", _rows(*cells)), WEB)
    assert done.reasons == dict.fromkeys(["s1", "s2", "s3", "s4"], "path-outside")


def test_what_a_server_sends_has_limits(data: Path, web: Callable[..., str], run_ingest: Any) -> None:
    cells = [
        "img/0.png",
        web("/declared", headers={"Content-Length": "999999999"}),
        web("/endless", body=b"x" * 500_000),  # no length declared
        web("/packed", headers={"Content-Encoding": "gzip"}, body=b"x"),
        web("/error", 500, body=b"oh"),
        web("/secret", 403),
        web("/empty"),
    ]
    done = run_ingest(write_manifest(data / "m.csv", _rows(*cells)), WEB, "media.max_file_mb=0.1")
    assert [done.reasons[f"s{n}"] for n in range(1, 7)] == [
        "file-too-large",
        "file-too-large",
        "fetch-failed",
        "fetch-failed",
        "fetch-failed",
        "empty-file",
    ]


def test_a_store_that_hangs_is_tried_three_times_and_then_fails_the_run(
    web: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = web("/slow", headers={"Content-Length": "10"}, body=b"x")
    fetcher = Remote(("http",), 1e6, 0.3)
    begun: list[str] = []
    begin = remote._begin
    monkeypatch.setattr(remote, "_begin", lambda fetch, url, *limits: begun.append(url) or begin(fetch, url, *limits))
    for _ in range(2):
        with pytest.raises(Refused, match="fetch-failed"):
            fetcher.fetch(slow)
    for _ in range(100):
        with pytest.raises(EnvironmentFailed, match=r"took longer than data\.remote_timeout_s"):
            fetcher.fetch(slow)
    assert begun == [slow] * 3


def test_a_server_that_sends_drop_by_drop_is_left_behind(web: Callable[..., str]) -> None:
    drip = web("/drip")  # without end
    with pytest.raises(TimeoutError):
        _fetch_web(drip, 1e9, 0.5)


def test_a_fetch_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    script = """
import threading
from tasks.ingest.sources import remote
from tasks.ingest.rejected_row import Refused
remote._fetch_store = lambda *given: threading.Event().wait()
try:
    remote.Remote(("memory",), 1e6, 0.2).fetch("memory://bucket/x.png")
except Refused as refused:
    print(refused.reason)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["fetch-failed"]
