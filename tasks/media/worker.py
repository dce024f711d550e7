"""The decoding process: `python -P -m tasks.media.worker`. The only place where user bytes are interpreted.

Reads batches on stdin, answers file by file on stdout. It gives up its right to write files and to use more memory than
it was given, so that a decoder that goes wrong costs one sample.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import signal
import sys
from typing import TYPE_CHECKING

from tasks.isolation.sandbox import allow_time, restrict
from tasks.isolation.worker import Parent
from tasks.media.canonical import Canonical, Undecodable
from tasks.media.files import NotRegular, open_regular_file
from tasks.modalities import MODALITIES, Params

if TYPE_CHECKING:
    from tasks.media.pool import Answers, JobMessage, Outcome

DECODERS = {name: spec.decoder() for name, spec in MODALITIES.items()}
"""Imported before the process gives up its rights."""


def main() -> None:
    """Serves batches until stdin ends."""
    parent = Parent.connect()
    with contextlib.suppress(EOFError):
        limits = parent.receive()[0]["limits"]
        restrict(int(limits["memory_mb"]))
        parent.send({"ready": True})
        while True:
            header, payload = parent.receive()
            if header.get("together"):
                answer_together(header["jobs"], payload, limits, parent)
            else:
                serve(header["jobs"], payload, limits, parent)


def serve(jobs: list[JobMessage], payload: bytes, limits: Params, parent: Parent) -> None:
    """Decodes a batch; the answer to each job is sent before the next one begins."""
    offset = 0
    for job in jobs:
        size = job["size"]
        inline, offset = payload[offset : offset + size], offset + size
        allow_time(float(limits["timeout_s"]))
        message = answer(job, inline, limits)
        signal.alarm(0)  # a parent that is slow to read is no fault of the file's
        parent.send(*message)


def answer_together(jobs: list[JobMessage], payload: bytes, limits: Params, parent: Parent) -> None:
    """Decodes a batch, and answers all of it at once."""
    allow_time(float(limits["timeout_s"]))
    ends = [0, *itertools.accumulate(job["size"] for job in jobs)]
    answers = [answer(job, payload[start:end], limits) for job, start, end in zip(jobs, ends, ends[1:], strict=False)]
    signal.alarm(0)
    header: Answers = {"outcomes": [outcome for outcome, _ in answers], "sizes": [len(data) for _, data in answers]}
    parent.send(header, b"".join(data for _, data in answers))


def answer(job: JobMessage, inline: bytes, limits: Params) -> tuple[Outcome, bytes]:
    """The message for one job: the canonical form, or the reason why there is none."""
    try:
        data = inline if job["path"] is None else read_file(job["path"], limits)
        if hashlib.sha256(data).hexdigest() != job["sha256"]:
            raise Undecodable("changed-file", "the content is not what it was when the manifest was read; run again")
        canonical: Canonical = DECODERS[job["modality"]](data, limits)
    except Undecodable as error:
        return {"reason": error.reason, "detail": error.detail[:500]}, b""
    except MemoryError:
        return {"reason": "decoder-memory", "detail": f"needs more than {limits['memory_mb']} MB"}, b""
    header: Outcome = {
        "digest": canonical.digest,
        "shape": list(canonical.shape),
        "rate_hz": canonical.rate_hz,
        "warning": canonical.warning,
    }
    return header, canonical.data


def read_file(path: str, limits: Params) -> bytes:
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
