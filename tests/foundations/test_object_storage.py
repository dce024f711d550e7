"""A bucket: an object is made once, and what goes wrong is one line."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from s3fs import S3FileSystem

from tasks.errors import EnvironmentFailed, UsageError
from tasks.object_storage import ObjectStorage, check_address, is_address
from tests.support.buckets import bucket, s3_environment

__all__ = ["bucket", "s3_environment"]


def test_an_object_is_made_once_and_read_by_all(bucket: str, tmp_path: Path) -> None:
    storage, other = ObjectStorage(f"{bucket}/team/"), ObjectStorage(f"{bucket}/team")
    assert storage.address == f"{bucket}/team"
    assert (storage.read("a/b"), storage.names("a"), storage.download("a/b", tmp_path / "b")) == (None, [], False)
    assert not (tmp_path / "b").exists()
    assert storage.create("a/b", b"first")
    assert not other.create("a/b", b"second")
    assert other.read("a/b") == b"first"
    (tmp_path / "file").write_bytes(b"of a file")
    assert other.create("a/c/d", tmp_path / "file")
    assert not storage.create("a/c/d", tmp_path / "file")
    assert storage.names("a") == ["a/b", "a/c/d"], "made meanwhile by another"
    assert storage.download("a/c/d", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"of a file"
    storage.replace("a/b", b"third")
    assert other.read("a/b") == b"third"
    for _ in range(2):
        storage.delete("a/b")
    assert storage.names("") == ["a/c/d"]


class _Server(BaseHTTPRequestHandler):
    """Answers each PUT with the next error of a list, then well."""

    protocol_version = "HTTP/1.1"
    errors: ClassVar[list[tuple[int, str]]] = []

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, code = self.errors.pop(0) if self.errors else (200, "")
        body = f"<Error><Code>{code}</Code><Message>as it says</Message></Error>".encode() if code else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("errors", "is_made"),
    [
        ([(409, "ConditionalRequestConflict")] * 2, True),
        ([(409, "ConditionalRequestConflict"), (412, "PreconditionFailed")], False),
        ([(412, "PreconditionFailed")], False),
    ],
)
def test_answers_to_two_who_make_an_object_at_once(
    errors: list[tuple[int, str]], is_made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amazon's, which asks to try again, and MinIO's, which says of no condition that it failed."""
    S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(_Server, "errors", errors)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "no-credential")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "no-credential")
        assert ObjectStorage("s3://bucket/x").create("a", b"1") == is_made
        assert errors == []
        server.shutdown()
    S3FileSystem.clear_instance_cache()


def test_a_full_disk_of_this_machine_is_not_told_as_the_bucket_s(bucket: str) -> None:
    storage = ObjectStorage(bucket)
    storage.create("a", b"1" * 10_000)
    with pytest.raises(OSError, match="No space left"):
        storage.download("a", Path("/dev/full"))


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:secret@bucket/x",
        "s3://bucket/x?token=abc",
        "file:///tmp/x",
        "https://bucket.s3.amazonaws.com",
        "s3://",
        "s3:///x",
        "s3:/bucket/x",
        "s3:bucket/x",
        "S3://bucket",
        "s3://bucket/a/../b",
        "s3://bucket//a",
        "memory://bucket/x",
        "sftp://host/x",
    ],
)
def test_addresses_that_are_no_buckets(address: str) -> None:
    assert is_address(address)
    with pytest.raises(UsageError) as raised:
        check_address(address)
    assert ("secret" not in str(raised.value) and "s3://" in str(raised.value)) or "AWS_" in str(raised.value)


def test_paths_are_no_addresses_and_addresses_are_what_they_are() -> None:
    assert not any(map(is_address, [".crossmodal", "/data/store", "../s3", "a:b/c", "s3/x"]))
    for address in ("s3://b", "s3://b/x y/z", "gs://b/x", "abfs://container@account.dfs.core.windows.net/x"):
        assert check_address(f"{address}/") == address


def test_a_bucket_that_is_not_there_and_one_that_does_not_answer(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentFailed, match="no such bucket"):
        ObjectStorage("s3://nobody-made-this/x").create("a", b"")
    S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(EnvironmentFailed, match=r"store s3://silent/x: could not read a .*run it again") as raised:
        ObjectStorage("s3://silent/x").read("a")
    assert raised.value.transient
    assert "no-credential" not in str(raised.value)
