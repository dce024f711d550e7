"""The decoding process: `python -P -m tasks.media.worker`. The only place where user bytes are interpreted.

Reads batches on stdin, answers file by file on stdout. It gives up its right to write files and to use more memory than
it was told, so that a decoder that goes wrong costs one sample.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import math
import os
import resource
import signal
import sys
from typing import Any, BinaryIO

from tasks.media.canonical import Canonical, Undecodable
from tasks.media.files import NotRegular, open_regular_file
from tasks.media.sandbox import forbid_calls
from tasks.media.wire_protocol import pack, pipes, unpack
from tasks.modalities import MODALITIES

DECODERS = {name: spec.decoder() for name, spec in MODALITIES.items()}
"""Imported before the process gives up its rights."""
_GRACE_S = 5
_HANDLES = 64
"""Files that a worker may have open: the pipes, the medium, the libraries it loads."""
_NO_NEW_PRIVILEGES = 38  # prctl's PR_SET_NO_NEW_PRIVS: no program that we might start can have more rights than we


def main() -> None:
    """Serves batches until stdin ends."""
    read, sink = pipes()
    with contextlib.suppress(EOFError):
        first, _ = unpack(read)
        limits = first["limits"]
        restrict(limits)
        sink.write(pack({"ready": True}))
        sink.flush()
        while True:
            header, payload = unpack(read)
            serve(header["jobs"], payload, limits, sink)


def restrict(limits: dict[str, Any]) -> None:
    """Bounds memory and open files, leaves no core dump, gains no privilege, and gives up network, programs and writing."""
    memory = int(limits["memory_mb"]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    handles = _HANDLES if most == resource.RLIM_INFINITY else min(_HANDLES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (handles, handles))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    forbid_calls()


def allow_time(timeout_s: float) -> None:
    """Ends this process when the next job takes much too long, even if the parent, who waits `timeout_s`, is gone."""
    signal.alarm(math.ceil(timeout_s) + _GRACE_S)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    cpu_s = math.ceil(used.ru_utime + used.ru_stime + timeout_s) + _GRACE_S  # a signal handler cannot put this one off
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s if most == resource.RLIM_INFINITY else min(cpu_s, most), most))


def serve(jobs: list[dict[str, Any]], payload: bytes, limits: dict[str, Any], sink: BinaryIO) -> None:
    """Decodes a batch; the answer to each job is sent before the next one begins."""
    offset = 0
    for job in jobs:
        size = job.get("size", 0)
        inline, offset = payload[offset : offset + size], offset + size
        allow_time(float(limits["timeout_s"]))
        message = answer(job, inline, limits)
        signal.alarm(0)  # a parent that is slow to read is no fault of the file's
        sink.write(message)
        sink.flush()


def answer(job: dict[str, Any], inline: bytes, limits: dict[str, Any]) -> bytes:
    """The message for one job: the canonical form, or the reason why there is none."""
    try:
        data = read_file(job["path"], limits) if job.get("path") else inline
        if hashlib.sha256(data).hexdigest() != job["sha256"]:
            raise Undecodable("changed-file", "the content is not what it was when the manifest was read; run again")
        canonical: Canonical = DECODERS[job["modality"]](data, limits)
    except Undecodable as error:
        return pack({"reason": error.reason, "detail": error.detail[:500]})
    except MemoryError:
        return pack({"reason": "decoder-memory", "detail": f"needs more than {limits['memory_mb']} MB"})
    header = {
        "digest": canonical.digest,
        "shape": list(canonical.shape),
        "rate_hz": canonical.rate_hz,
        "warning": canonical.warning,
    }
    return pack(header, canonical.data)


def read_file(path: str, limits: dict[str, Any]) -> bytes:
    """The bytes of a regular file. It was there when the manifest was read, so every failure is `changed-file`."""
    try:
        handle, size = open_regular_file(path, float(limits["max_file_mb"]) * 1e6)
        with os.fdopen(handle, "rb") as file:
            return file.read(size + 1)
    except OSError as error:
        raise Undecodable("changed-file", f"cannot be read any more ({error.strerror}); run again") from None
    except NotRegular as error:
        raise Undecodable("changed-file", f"{error.detail}; run again") from None


if __name__ == "__main__":
    main()
    sys.exit(0)
