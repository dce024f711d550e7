"""A folder of a bucket (S3, and what fsspec knows besides): objects that are written once, listed, read and deleted.

What others rest on is one thing that every object store has by now: an object can be created only where there is none
(`If-None-Match: *` of S3, `ifGenerationMatch=0` of Google's), so that of two writers one is told that the other was first.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import EnvironmentFailed, UsageError
from tasks.packages import missing_packages_named
from tasks.redaction import holds_credential, redact

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<place>[^/?#].*)", re.DOTALL)
_LOCAL = frozenset({"file", "local", "http", "https", "data", "ftp", "git", "github", "zip", "tar", "simplecache"})
"""What fsspec reads besides, and keeps nothing in that machines could share."""


def check_address(address: str) -> str:
    """The address without a slash at its end. Raises UsageError for what is not a bucket's, or has credentials in it."""
    matched = _ADDRESS.fullmatch(address)
    shown = redact(address)
    if matched is None or matched["scheme"] in _LOCAL or "::" in address:
        raise UsageError(f"store {shown!r}: is no bucket's address; write s3://BUCKET/PREFIX, or the path of a folder")
    if holds_credential(address) or re.search(r"[?#]", address):
        raise UsageError(
            f"store {shown!r}: has credentials or options in it; leave them to the environment (AWS_ACCESS_KEY_ID, "
            "AWS_ENDPOINT_URL, …) or to fsspec's config"
        )
    return address.rstrip("/")


class ObjectStorage:
    """The objects below an address; names are relative to it. Methods raise EnvironmentFailed where nobody answers there."""

    def __init__(self, address: str) -> None:
        self.address = check_address(address)

    def create(self, name: str, data: bytes | Path) -> bool:
        """The object is there, whole. False where there was one by that name: it is as it was."""
        with self._told(f"write {name}"):
            system, path = self._at(name)
            try:
                if isinstance(data, Path):
                    system.put_file(str(data), path, mode="create")
                else:
                    system.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            except FileNotFoundError as error:
                raise EnvironmentFailed(f"store {self.address}: there is no such bucket ({error})") from None
        return True

    def replace(self, name: str, data: bytes) -> None:
        """The object is there, instead of what was."""
        with self._told(f"write {name}"):
            system, path = self._at(name)
            system.pipe_file(path, data)

    def read(self, name: str) -> bytes | None:
        """The object's bytes; None where there is none."""
        with self._told(f"read {name}"), contextlib.suppress(FileNotFoundError):
            system, path = self._at(name)
            data: bytes = system.cat_file(path)
            return data
        return None

    def download(self, name: str, target: Path) -> bool:
        """The object's bytes are in the file. False where there is no object."""
        with self._told(f"read {name}"), contextlib.suppress(FileNotFoundError):
            system, path = self._at(name)
            system.get_file(path, str(target))
            return True
        return False

    def names(self, folder: str) -> list[str]:
        """Those of all objects below a folder, sorted."""
        with self._told(f"list {folder}"), contextlib.suppress(FileNotFoundError):
            system, path = self._at(folder)
            _, root = self._at("")
            return sorted(str(found).removeprefix(root).lstrip("/") for found in system.find(path))
        return []

    def delete(self, name: str) -> None:
        """There is no such object."""
        with self._told(f"delete {name}"), contextlib.suppress(FileNotFoundError):
            system, path = self._at(name)
            system.rm_file(path)

    def _at(self, name: str) -> tuple[AbstractFileSystem, str]:
        """The file system, as fsspec keeps it for this process, and the object's path in it."""
        import fsspec

        system, root = fsspec.core.url_to_fs(self.address, use_listings_cache=False)
        return system, f"{root.rstrip('/')}/{name}" if name else root.rstrip("/")

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            with missing_packages_named():
                yield
        except (EnvironmentFailed, FileNotFoundError):
            raise
        except ImportError as error:  # fsspec's word for a scheme whose package is not there
            raise EnvironmentFailed(f"store {self.address}: {error}; pip install 'crossmodal[remote]'") from None
        except Exception as error:  # noqa: BLE001 (stores raise what they like)
            message = " ".join(redact(str(error)).split())[:200]
            raise EnvironmentFailed(
                f"store {self.address}: could not {what} ({type(error).__name__}: {message}); see to its credentials and its "
                "network, and run it again: it resumes",
                transient=True,
            ) from None
