"""The scores of one model version: a folder of Parquet parts, `model=NAME/version=3/part-000000.parquet` (Hive's layout).

Parts are only ever added, each in one step, so that what a killed process leaves is a folder with fewer of them. What begins
with `.` or `_` is no part to pyarrow and pandas: the lock, a part that is being written, the list of refused rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks import locks
from tasks.drafts import clear_leftovers
from tasks.errors import EnvironmentFailed, UsageError
from tasks.score.row_keys import Keys, RowKeys, as_keys, locate
from tasks.store import replacing, sync

REFUSED = "_refused.csv"
"""Beside the parts: the rows that the last run could not score, with the reasons."""
MODEL_KEY = b"crossmodal.model_sha256"
"""In the metadata of every part."""
_LOCK = ".lock"


def partition_folder(out: Path, name: str, version: str) -> Path:
    """Where the scores of a model version lie."""
    return out / f"model={name}" / f"version={version}"


def list_parts(folder: Path) -> list[Path]:
    """The parts, oldest first."""
    return sorted(folder.glob("part-*.parquet"))


def read_parts(folder: Path, columns: Sequence[str], model_sha256: str) -> Iterator[pa.Table]:
    """These columns of every part, oldest first.

    UsageError where a part is of another model of that name and version, EnvironmentFailed where one cannot be read.
    """
    for path in list_parts(folder):
        try:
            schema = pq.read_schema(path)
            table = pq.read_table(path, columns=list(columns), partitioning=None)
        except (OSError, pa.ArrowException) as error:
            message = " ".join(str(error).split())[:200]
            raise EnvironmentFailed(f"scores {path}: cannot be read ({message}); delete it, and score again") from None
        theirs = (schema.metadata or {}).get(MODEL_KEY, b"").decode("utf-8", "replace")
        if theirs != model_sha256:
            raise UsageError(
                f"scores {path}: are of another model of that name and version (sha256 {theirs[:12] or 'not known'}, not "
                f"{model_sha256[:12]}); choose another folder"
            )
        yield table


@dataclass(frozen=True)
class KnownRows:
    """The N rows that the parts held when the partition was opened."""

    keys: RowKeys
    """In the order of the parts, as the next."""
    rows_of_id: NDArray[np.int64]
    """(N,) as the parts say it."""
    contents: Keys
    """Sorted."""
    places: NDArray[np.int64]
    """(N, 2) part and row in it, in the order of `contents`."""

    @classmethod
    def read(cls, folder: Path, model_sha256: str) -> KnownRows:
        """Those of a partition; errors as `read_parts`."""
        keys, contents, places = [], [as_keys([])], [np.zeros((0, 2), np.int64)]
        rows_of_id = [np.zeros(0, np.int64)]
        for number, part in enumerate(read_parts(folder, ["id", "content", "rows_of_id"], model_sha256)):
            texts = part["content"].to_pylist()
            keys.append(RowKeys.of(part["id"].to_pylist(), texts))
            rows_of_id.append(part["rows_of_id"].to_numpy())
            contents.append(as_keys([bytes.fromhex(text) for text in texts]))
            places.append(np.column_stack([np.full(len(texts), number), np.arange(len(texts))]))
        every = np.concatenate(contents)
        order = np.argsort(every, kind="stable")
        return cls(RowKeys.concat(keys), np.concatenate(rows_of_id), every[order], np.concatenate(places)[order])

    def find(self, contents: Keys) -> NDArray[np.int64]:
        """(M,) where in `places` a row of each content is; -1 where none is."""
        return locate(contents, self.contents)


class Partition:
    """A version's folder, held by this process alone."""

    def __init__(self, folder: Path, model_sha256: str) -> None:
        self.folder = folder
        self.known = KnownRows.read(folder, model_sha256)
        self._parts = list_parts(folder)
        self._model_sha256 = model_sha256

    def write(self, table: pa.Table) -> None:
        """One part more, in one step. EnvironmentFailed where it cannot be written: then there is none."""
        number = 1 + max((int(path.stem.removeprefix("part-")) for path in list_parts(self.folder)), default=-1)
        path = self.folder / f"part-{number:06d}.parquet"
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), MODEL_KEY: self._model_sha256})
        try:
            with replacing(path) as scratch:
                pq.write_table(table, scratch, compression="zstd")
            sync(self.folder)
        except OSError as error:
            raise EnvironmentFailed(f"scores {path}: cannot be written ({error.strerror or error})") from None

    def read_rows(self, places: NDArray[np.int64]) -> pa.Table:
        """(M,) the rows at these of `known.places`, in their order."""
        chosen = self.known.places[places]
        numbers = np.unique(chosen[:, 0])
        tables = [
            pq.read_table(self._parts[number], partitioning=None).take(chosen[chosen[:, 0] == number, 1])
            for number in numbers
        ]
        order = np.concatenate([np.flatnonzero(chosen[:, 0] == number) for number in numbers])
        return pa.concat_tables(tables, promote_options="default").take(np.argsort(order))


@contextlib.contextmanager
def open_partition(
    folder: Path, model_sha256: str, timeout_s: float = locks.LOCK_TIMEOUT_S, run: str | None = None
) -> Iterator[Partition]:
    """The version's folder, made where it is not there; a second process waits until the first one is done, and says so.

    EnvironmentFailed where it waited for longer than `timeout_s`, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFailed(f"scores {folder}: cannot be written to ({error.strerror or error})") from None
    with locks.held(folder / _LOCK, timeout_s, run):
        clear_leftovers(folder)
        yield Partition(folder, model_sha256)
