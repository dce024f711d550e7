"""Media and manifests in remote stores: fetched whole, as bytes, under limits, where `data.allowed_schemes` names the scheme.

The bytes are digested here and interpreted elsewhere, in the decoding process. Object stores are read through fsspec. http
and https are read directly: fsspec would follow a redirect wherever it leads.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from tasks.config import RunConfig
from tasks.config_sections import REMOTE_SCHEMES
from tasks.errors import EnvironmentFailed, UsageError
from tasks.ingest.rejected_row import Refused

WEB = ("http", "https")
_BLOCK = 1 << 20
_HANGING = 3
"""Fetches in a row without an answer in time after which the store counts as down."""
_REDIRECTS = 5
_METADATA = ipaddress.ip_address("fd00:ec2::254")
"""Where AWS serves instance metadata over IPv6: a private address, not a link-local one."""
_CONTAINERS = ("abfs", "abfss")
"""Schemes of Azure's data lake, whose addresses name a container where others name a user: container@account.host/path."""
_CONTAINER = re.compile(r"\$?[a-z0-9-]{3,63}")
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://[^\s\x00-\x1f\x7f\\]+", re.IGNORECASE)


def how_to_allow(scheme: str) -> str:
    """What to do about an address whose scheme data.allowed_schemes does not name."""
    if scheme in REMOTE_SCHEMES:
        return "download it, or name its scheme in data.allowed_schemes"
    return f"{scheme}:// is not read; download it, or put it where one of these leads: {', '.join(REMOTE_SCHEMES)}"


def is_remote(path: str) -> bool:
    """True for what is written as an address, of whatever scheme."""
    return "://" in path


@dataclass(frozen=True)
class Remote:
    """What may be fetched, and how far a fetch may go."""

    schemes: tuple[str, ...]
    max_bytes: float
    timeout_s: float
    base: str | None = None
    """The folder of a remote manifest, with a slash at its end: cells that are no address are beneath it."""
    _late: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def resolve(self, cell: str) -> str | None:
        """The address that a cell names; None where it names a local file. Refused for one that may not be read."""
        if not self.schemes:
            return None
        if is_remote(cell):
            return self.allow(cell)
        if self.base is None or cell.startswith("/"):
            return None
        parts = urlsplit(self.base)
        path = posixpath.normpath(posixpath.join(parts.path, cell)) if parts.path else posixpath.normpath(cell)
        if ".." in cell.split("/") and not f"{path}/".startswith(parts.path or "/"):
            raise Refused("path-outside", "beyond the manifest's folder")
        return self.allow(f"{parts.scheme}://{parts.netloc}/{path.lstrip('/')}")

    def allow(self, url: str) -> str:
        """The address, Refused unless its scheme is allowed and it is one address, of one store, without a password."""
        written = _URL.fullmatch(url.strip())
        scheme = url.strip().partition("://")[0].lower()
        if scheme not in self.schemes:
            raise Refused("scheme-not-allowed", how_to_allow(scheme))
        if written is None or ("::" in url and scheme not in WEB):  # fsspec would open one address through another
            raise Refused("bad-path", "not one address: white space, a control character, or '::'")
        try:
            netloc = urlsplit(url).netloc
        except ValueError as error:
            raise Refused("bad-path", f"not an address: {error}") from None
        user = netloc.rpartition("@")[0]
        if "@" in netloc and not (scheme in _CONTAINERS and _CONTAINER.fullmatch(user)):
            raise Refused("bad-path", "a user or a password in the address; give them to the store's own settings")
        return f"{scheme}{url.strip()[len(scheme) :]}"

    def fetch(self, url: str) -> bytes:
        """The bytes at an address that `resolve` gave.

        Raises Refused (`missing-file`, `empty-file`, `file-too-large`, `unreadable-file`, `fetch-failed`), UsageError where
        the scheme needs a package that is not installed, EnvironmentFailed where the store has stopped answering.
        """
        self._require_up(url)
        web = url.partition("://")[0] in WEB
        # A call into a store cannot be interrupted: it is left behind, and what it would give is not waited for.
        work = _begin(_fetch_web if web else _fetch_store, url, self.max_bytes, self.timeout_s)
        try:
            error = work.exception(self.timeout_s)
        except TimeoutError as late:
            error = late
        if isinstance(error, TimeoutError):  # whichever of the two clocks ran out first
            with self._lock:
                self._late.append(url)
            self._require_up(url)
            raise Refused("fetch-failed", f"took longer than data.remote_timeout_s = {self.timeout_s:g}")
        with self._lock:
            self._late.clear()
        if error is not None:
            raise _explained(error, url)
        data = work.result()
        if not data:
            raise Refused("empty-file", "0 bytes")
        return data

    def _require_up(self, url: str) -> None:
        if len(self._late) >= _HANGING:
            raise EnvironmentFailed(
                f"remote store: {_HANGING} fetches in a row took longer than data.remote_timeout_s = {self.timeout_s:g}, "
                f"the last of {url}; see whether the store answers, or raise the limit",
                transient=True,
            )


def make_remote(config: RunConfig, max_mb: float | None = None) -> Remote:
    """What a run's config allows; `max_mb` instead of media.max_file_mb for a manifest."""
    data = config.data
    base = data.path[: data.path.rindex("/") + 1] if is_remote(data.path) else None
    limit = config.media.max_file_mb if max_mb is None else max_mb
    return Remote(data.allowed_schemes, limit * 1e6, data.remote_timeout_s, base)


def _begin(fetch: Callable[[str, float, float], bytes], *arguments: Any) -> Future[bytes]:
    """A fetch under way in a thread that, other than an executor's, does not hold up the end of the process."""
    work: Future[bytes] = Future()

    def run() -> None:
        """The future holds what the fetch returned or raised."""
        try:
            work.set_result(fetch(*arguments))
        except BaseException as error:  # noqa: BLE001 (the one who waits for it handles it)
            work.set_exception(error)

    threading.Thread(target=run, name="fetch", daemon=True).start()
    return work


def _explained(error: BaseException, url: str) -> BaseException:
    """What a failure of a store means for the row."""
    scheme = url.partition("://")[0]
    if isinstance(error, Refused):
        return error
    if isinstance(error, ImportError):
        return UsageError(f"scheme {scheme!r}: {error}; install its package, as in crossmodal[remote]")
    if isinstance(error, FileNotFoundError):
        return Refused("missing-file", "no such object")
    if isinstance(error, PermissionError):
        return Refused("unreadable-file", "the store does not allow it")
    if not isinstance(error, Exception):
        return error  # Ctrl-C and the like
    return Refused("fetch-failed", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


# -- object stores ---


def _fetch_store(url: str, max_bytes: float, timeout_s: float) -> bytes:
    import fsspec

    deadline = time.monotonic() + timeout_s
    system, path = fsspec.core.url_to_fs(url)
    info: dict[str, Any] = system.info(path)
    if info.get("type") == "directory":
        raise Refused("not-a-file", "a folder")
    _require_small(int(info.get("size") or 0), max_bytes)
    with system.open(path, "rb", cache_type="readahead") as file:
        return _bounded(iter(lambda: file.read(_BLOCK), b""), max_bytes, deadline)


def _bounded(blocks: Any, max_bytes: float, deadline: float) -> bytes:
    """All blocks as one; what a store declares is not what it need send. TimeoutError past the deadline."""
    data = bytearray()
    for block in blocks:
        data += block
        _require_small(len(data), max_bytes)
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(data)


def _require_small(size: int, max_bytes: float) -> None:
    if size > max_bytes:
        raise Refused("file-too-large", f"{size} bytes; the limit is {max_bytes:g}")


# -- the web ---


def _fetch_web(url: str, max_bytes: float, timeout_s: float) -> bytes:
    """By GET, redirects followed within the host and port that the cell names. TimeoutError when it takes too long."""
    import httpx

    try:
        return _get(url, max_bytes, timeout_s)
    except httpx.TimeoutException as error:
        raise TimeoutError from error


def _get(url: str, max_bytes: float, timeout_s: float) -> bytes:
    import httpx

    deadline = time.monotonic() + timeout_s
    asked = urlsplit(url)
    headers = {"Accept-Encoding": "identity"}  # a packed answer could unpack to anything
    for _ in range(_REDIRECTS + 1):
        _require_routable(urlsplit(url))
        left = max(deadline - time.monotonic(), 0.1)
        with httpx.stream("GET", url, headers=headers, follow_redirects=False, timeout=left) as answer:
            if answer.has_redirect_location:
                url = _redirected(url, answer.headers["location"], asked)
                continue
            if answer.status_code in (404, 410):
                raise Refused("missing-file", f"HTTP {answer.status_code}")
            if answer.status_code != 200 or answer.headers.get("content-encoding", "identity") != "identity":
                raise Refused("fetch-failed", f"HTTP {answer.status_code} {answer.headers.get('content-encoding', '')}")
            declared = answer.headers.get("content-length", "")
            _require_small(int(declared) if declared.isdigit() else 0, max_bytes)
            # As it comes: a block that is filled drop by drop would not be looked at before it is full.
            return _bounded(answer.iter_raw(), max_bytes, deadline)
    raise Refused("fetch-failed", f"more than {_REDIRECTS} redirects")


def _redirected(url: str, location: str, asked: SplitResult) -> str:
    """Where a redirect leads, when that is on the scheme, host and port that was asked for."""
    target = urljoin(url, location)
    parts = urlsplit(target)
    if (parts.scheme, parts.netloc) != (asked.scheme, asked.netloc):
        raise Refused("fetch-failed", f"redirected to {parts.scheme}://{parts.netloc}; name the file where it lies")
    return target


def _require_routable(parts: SplitResult) -> None:
    """Refused for link-local addresses: there, clouds hand out the machine's credentials.

    A name that changes its address between this look and the fetch is not caught.
    """
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError:
        return  # not to be found from here: a proxy may find it, and else the fetch fails by itself
    if any(_hands_out_secrets(str(entry[4][0]).partition("%")[0]) for entry in found):
        raise Refused("path-outside", "a link-local address, or that of a cloud's metadata")


def _hands_out_secrets(text: str) -> bool:
    """Whether an address is link-local, also as IPv4 written as IPv6, or one of a cloud's metadata elsewhere."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_link_local or address == _METADATA
