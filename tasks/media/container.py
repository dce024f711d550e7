"""Opening a container of sound and pictures with FFmpeg, so that nothing but the given bytes can ever be read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, cast

from tasks.media.canonical import Undecodable

if TYPE_CHECKING:
    from av.container import InputContainer

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,gif,"
    "mp3,aac,wav,aiff,flac,tta,ape,wv,caf,amr,au"
)
"""Detected from the content. Left out are all that name other files: concat, hls, dash, sdp, image2 and the like."""
PROTOCOLS = "none"
"""An allow-list that no protocol is on; the bytes come from memory and need none."""
COMPLETE_SHARE = 0.98
"""A file with fewer of its declared frames, or more damaged packets than the rest, is refused; encoders round, so not 1."""


@contextmanager
def open_container(data: bytes, reason: str) -> Iterator[InputContainer]:
    """The opened container. What FFmpeg says against it, then or in the body, becomes Undecodable with this reason."""
    import av  # 0.1 s that pictures and text need not wait for

    options = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS}
    try:
        with av.open(io.BytesIO(data), io_open=_refuse, container_options=options, metadata_errors="replace") as opened:
            yield cast("InputContainer", opened)
    except MemoryError:
        raise
    except av.FFmpegError as error:
        raise Undecodable(reason, error.strerror or type(error).__name__) from None
    except (OverflowError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise Undecodable(reason, f"{type(error).__name__}: {error}") from None


def decoder_of(stream: Any, reason: str) -> Any:
    """The stream's codec context, single-threaded so that its memory is bounded; Undecodable where there is no decoder."""
    if stream.codec_context is None:
        raise Undecodable(reason, "no decoder for its codec")
    stream.codec_context.thread_count = 1
    return stream.codec_context


def indexed_frames(stream: Any, size: int) -> tuple[int, int]:
    """How many of the frames that the file's index lists lie within its `size` bytes, and how many it lists."""
    ends = [entry.pos + entry.size for entry in stream.index_entries]
    return sum(end <= size for end in ends), len(ends)


class Damage:
    """Counts what did not decode."""

    def __init__(self) -> None:
        self.packets = 0
        self.good = 0
        self.first = ""

    def require_intact(self, reason: str) -> None:
        """Undecodable where more than a stray packet is damaged."""
        total = self.packets + self.good
        if self.packets > (1 - COMPLETE_SHARE) * total:
            raise Undecodable(reason, f"{self.packets} of {total} packets are damaged ({self.first})")


def decoded_frames(container: Any, stream: Any, damage: Damage) -> Iterator[Any]:
    """Every frame in the order of presentation; a packet that does not decode is counted."""
    import av

    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except av.FFmpegError as error:
            damage.packets += 1
            damage.first = damage.first or (error.strerror or type(error).__name__)
            continue
        damage.good += 1
        yield from frames


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    """Stands where a demuxer would open a second file."""
    raise PermissionError("a medium may not name another file")
