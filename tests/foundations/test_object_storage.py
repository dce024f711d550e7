"""A bucket: an object is made once, and what goes wrong is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from s3fs import S3FileSystem

from tasks.errors import EnvironmentFailed, UsageError
from tasks.object_storage import ObjectStorage, check_address
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


def test_what_fsspec_keeps_elsewhere_is_a_bucket_too(tmp_path: Path) -> None:
    storage = ObjectStorage("memory://bucket/team")
    assert storage.create("a", b"1")
    assert not storage.create("a", b"2")
    assert storage.read("a") == b"1"
    assert storage.names("") == ["a"]


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:secret@bucket/x",
        "s3://bucket/x?token=abc",
        "file:///tmp/x",
        "https://bucket.s3.amazonaws.com",
        "s3://",
        "s3:///x",
    ],
)
def test_addresses_that_are_no_buckets(address: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_address(address)
    assert ("secret" not in str(raised.value) and "s3://" in str(raised.value)) or "AWS_" in str(raised.value)


def test_a_bucket_that_is_not_there_and_one_that_does_not_answer(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentFailed, match="no such bucket"):
        ObjectStorage("s3://nobody-made-this/x").create("a", b"")
    with pytest.raises(EnvironmentFailed, match=r"store nosuch://bucket: .*nosuch"):
        ObjectStorage("nosuch://bucket").read("a")
    S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(EnvironmentFailed, match=r"store s3://silent/x: could not read a .*run it again") as raised:
        ObjectStorage("s3://silent/x").read("a")
    assert raised.value.transient
    assert "no-credential" not in str(raised.value)
