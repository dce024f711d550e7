"""The bytes of a table file, unpacked where its name says that it is packed, and never more of them than allowed."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tasks.errors import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PACKED = (".gz", ".zst")
"""Endings of packed files, after that of the format: rows.csv.gz."""
BLOCK_BYTES = 1 << 20
LINE_CHARS = 128 << 20
"""No line of a table is longer."""


def format_of(name: str) -> str:
    """The ending that names a file's format, in lower case, without that of its packing: `.csv` of rows.CSV.gz."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes = suffixes[:-1]
    return suffixes[-1] if suffixes else ""


@dataclass(frozen=True)
class TableFile:
    """A file that can be read from its start as often as it takes."""

    path: Path
    limit_mb: float
    """data.max_manifest_mb, for what is unpacked."""

    def open(self) -> BinaryIO:
        """The unpacked bytes. DataError while reading: for a file that is not packed as it says, and beyond the limit."""
        packing = self.path.suffix.lower()
        if packing == ".gz":
            return io.BufferedReader(_Bounded(gzip.open(self.path).read, self), BLOCK_BYTES)
        if packing == ".zst":
            import pyarrow as pa

            unpacked = pa.input_stream(str(self.path), compression="zstd")
            return io.BufferedReader(_Bounded(unpacked.read, self), BLOCK_BYTES)
        return self.path.open("rb", BLOCK_BYTES)

    def blocks(self) -> Iterator[bytes]:
        """The bytes, block by block."""
        with self.open() as file:
            while block := file.read(BLOCK_BYTES):
                yield block

    def lines(self, encoding: str) -> Iterator[str]:
        """The lines with their ends (\\n, \\r\\n or \\r), decoded. DataError for one longer than LINE_CHARS."""
        with io.TextIOWrapper(self.open(), encoding=encoding, newline="") as text:
            while line := text.readline(LINE_CHARS):
                if len(line) == LINE_CHARS:
                    raise DataError(f"manifest {self.path}: a line of {LINE_CHARS} characters and more; is it a table?")
                yield line


class _Bounded(io.RawIOBase):
    """Bytes as they are unpacked: what cannot be, and what grows beyond the limit, is a DataError."""

    def __init__(self, read: Callable[[int], bytes], file: TableFile) -> None:
        self._read, self._file, self._total = read, file, 0

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills the buffer as far as one read of the packed file goes."""
        view = memoryview(buffer)
        try:
            data = self._read(min(len(view), BLOCK_BYTES))
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(f"manifest {self._file.path}: cannot be unpacked ({error})") from None
        self._total += len(data)
        if self._total > self._file.limit_mb * 1e6:
            raise DataError(
                f"manifest {self._file.path}: more than data.max_manifest_mb = {self._file.limit_mb:g} once unpacked"
            )
        view[: len(data)] = data
        return len(data)
