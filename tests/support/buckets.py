"""A bucket on this machine: moto's server, which answers as Amazon's S3 does, over HTTP, and keeps all in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

_KEY = "no-credential-at-all"


@pytest.fixture(scope="module")
def s3_environment() -> Iterator[dict[str, str]]:
    """The variables by which programs find the server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server.stop()


@pytest.fixture
def bucket(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty bucket, which this process finds."""
    import boto3
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()  # which know the server of another module
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{next(_numbers)}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


_numbers = iter(range(10**6))
