"""A folder of a bucket (S3, Google's, Azure's, by fsspec): objects that are written once, listed, read and deleted.

What others rest on is one thing that every object store has by now: an object can be created only where there is none
(`If-None-Match: *` of S3, `ifGenerationMatch=0` of Google's), so that of two writers one is told that the other was first.
"""

from __future__ import annotations

import contextlib
import errno
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import EnvironmentFailed, UsageError
from tasks.packages import missing_packages_named
from tasks.redaction import holds_credential, redact

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Schemes whose file systems in fsspec make an object only where there is none, in one step."""
_ADDRESS = re.compile(rf"(?:{'|'.join(_BUCKETS)})://[^/?#\s]+(?:/.*)?")
_MEANT = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*:/|(?:{'|'.join(_BUCKETS)}):", re.IGNORECASE)
_CONFLICTS = 6
"""Times that an object is tried to be made while others try the same."""


def is_address(place: str) -> bool:
    """Whether an address is meant, rightly written or not, and no folder."""
    return "://" in place or _MEANT.match(place) is not None


def check_address(address: str) -> str:
    """The address without a slash at its end. Raises UsageError for what is not a bucket's, or has credentials in it."""
    shown = redact(address)
    steps = {"", ".", ".."} & set(address.rstrip("/").split("/")[3:])
    if _ADDRESS.fullmatch(address) is None or "::" in address or steps:
        raise UsageError(
            f"store {shown!r}: is no bucket's address; write s3://BUCKET/PREFIX (or gs://, az://), or the path of a folder"
        )
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
            for tried in range(_CONFLICTS):
                try:
                    self._create(name, data)
                except FileExistsError:
                    return False
                except FileNotFoundError as error:
                    raise EnvironmentFailed(f"store {self.address}: there is no such bucket ({error})") from None
                except OSError as error:
                    if _code(error) == "PreconditionFailed":  # of servers that do not say which one, as MinIO's
                        return False
                    if _code(error) != "ConditionalRequestConflict" or tried == _CONFLICTS - 1:
                        raise
                    time.sleep(0.1 * 2**tried)  # another makes it at this moment: it is there by then, or free
                else:
                    break
        return True

    def _create(self, name: str, data: bytes | Path) -> None:
        system, path = self._at(name)
        if isinstance(data, Path):
            system.put_file(str(data), path, mode="create")
        else:
            system.pipe_file(path, data, mode="create")

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
        return list(self.sizes(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        """The names of all objects below a folder, sorted, to their bytes."""
        with self._told(f"list {folder}"), contextlib.suppress(FileNotFoundError):
            system, path = self._at(folder)
            _, root = self._at("")
            found = system.find(path, detail=True)
            return {str(name).removeprefix(root).lstrip("/"): int(found[name]["size"] or 0) for name in sorted(found)}
        return {}

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
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # this machine's disk
            message = " ".join(redact(str(error)).split())[:200]
            raise EnvironmentFailed(
                f"store {self.address}: could not {what} ({type(error).__name__}: {message}); see to its credentials and its "
                "network, and run it again: it resumes",
                transient=not isinstance(error, PermissionError),
            ) from None


def _code(error: OSError) -> str:
    """S3's own word for what went wrong."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
