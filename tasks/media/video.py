"""Video: any clip that FFmpeg reads becomes a few RGB frames, evenly spaced in time, upright, of a bounded side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.media.canonical import Canonical, Undecodable
from tasks.media.container import COMPLETE_SHARE, Damage, decoded_frames, decoder_of, indexed_frames, open_container

if TYPE_CHECKING:
    from av import VideoFrame

UNREADABLE = "unreadable-video"
_SHAPES_OF_PIXEL = (1 / 8, 8.0)
"""Pixels more oblong than this are a damaged header, and taken for squares."""


@dataclass(frozen=True)
class _Plan:
    """Which frames to take: the last one shown at or before each of `moments`, on the axis that `by_index` says."""

    moments: tuple[float, ...]
    by_index: bool
    """Frames are counted, as not all of them have a time."""
    end: float
    """What comes later is beyond the limits."""
    cut: bool


def decode_video(data: bytes, limits: Mapping[str, Any]) -> Canonical:
    """The clip as uint8 (N, H, W, 3), N at most `video_frames`: distinct frames, spaced evenly over its duration.

    Every frame up to the limits is decoded, and FFmpeg's own order is kept. Rotation and the shape of the pixels are
    applied. Raises Undecodable: `unreadable-video`, `empty-video`, `truncated-video`, `too-many-pixels`.
    """
    with open_container(data, UNREADABLE) as container:
        stream = _stream(container, limits)
        _require_complete(stream, len(data))
        plan = _plan(container, stream, limits)
    with open_container(data, UNREADABLE) as container:  # from the start again; seeking is not exact in every format
        stream = _stream(container, limits)
        damage = Damage()
        shape = stream.sample_aspect_ratio
        frames = [
            _picture(frame, shape, limits) for frame in _choose(decoded_frames(container, stream, damage), plan, limits)
        ]
    damage.require_intact(UNREADABLE)
    if not frames:
        raise Undecodable("empty-video", "0 frames")
    clip = np.stack([frame for frame in frames if frame.shape == frames[0].shape])
    notes = [f"cut to {limits['max_video_s']:g} s or {limits['max_video_frames']} frames"] if plan.cut else []
    if damage.packets:
        notes.append("damaged packets skipped")
    return Canonical(clip.shape, clip.tobytes(), None, "; ".join(notes) or None)


def _stream(container: Any, limits: Mapping[str, Any]) -> Any:
    """The first video stream that is not a cover picture."""
    streams = [s for s in container.streams.video if not s.disposition & type(s.disposition).attached_pic]
    if not streams:
        raise Undecodable(UNREADABLE, "no video in it")
    codec = decoder_of(streams[0], UNREADABLE)
    codec.options = {"max_pixels": str(int(limits["max_pixels"]))}
    _require_small(codec.width, codec.height, limits)
    return streams[0]


def _require_small(width: int, height: int, limits: Mapping[str, Any]) -> None:
    if width * height > int(limits["max_pixels"]):
        raise Undecodable("too-many-pixels", f"{width} x {height}; the limit is media.max_pixels")


def _require_complete(stream: Any, size: int) -> None:
    """Refuses a file that ends before what its index lists, as of an MP4 whose download was broken off."""
    present, listed = indexed_frames(stream, size)
    if present < COMPLETE_SHARE * listed:
        raise Undecodable("truncated-video", f"{present} of {listed} indexed frames are in the file")


def _plan(container: Any, stream: Any, limits: Mapping[str, Any]) -> _Plan:
    """Reads the packets' times without decoding them."""
    most = int(limits["max_video_frames"])
    stamps: list[int | None] = []
    for packet in container.demux(stream):
        if packet.size and not packet.is_discard:
            stamps.append(packet.pts)
        if len(stamps) > most:
            break
    cut = len(stamps) > most
    times = sorted(stamp for stamp in stamps[:most] if stamp is not None)
    count = min(int(limits["video_frames"]), len(stamps))
    if len(times) < min(most, len(stamps)) or len(set(times)) < 2:
        end = float(min(most, len(stamps)))
        return _Plan(tuple((k + 0.5) * end / max(count, 1) for k in range(count)), True, end, cut)
    longest = float(limits["max_video_s"]) / float(stream.time_base)
    shown = [stamp for stamp in times if stamp - times[0] < longest]
    step = (shown[-1] - shown[0]) / max(len(shown) - 1, 1) or 1.0
    span = shown[-1] - shown[0] + step
    moments = tuple(shown[0] + (k + 0.5) * span / count for k in range(count))
    return _Plan(moments, False, shown[0] + span, cut or len(shown) < len(times))


def _choose(frames: Iterator[VideoFrame], plan: _Plan, limits: Mapping[str, Any]) -> Iterator[VideoFrame]:
    """The frames that are on screen at the plan's moments, each once."""
    waiting = list(reversed(plan.moments))
    shown: VideoFrame | None = None
    taken: VideoFrame | None = None
    at = 0.0
    for index, frame in enumerate(frames):
        _require_small(frame.width, frame.height, limits)
        at = float(index) if plan.by_index or frame.pts is None else float(frame.pts)
        while waiting and shown is not None and at > waiting[-1]:
            waiting.pop()
            if shown is not taken:
                taken = shown
                yield shown
        if at >= plan.end and plan.cut:
            return
        shown = frame
    if waiting and shown is not None and shown is not taken:
        yield shown


def _picture(frame: VideoFrame, shape: Any, limits: Mapping[str, Any]) -> np.ndarray:
    """One frame as uint8 (H, W, 3), scaled and upright."""
    oblong = float(shape) if shape and _SHAPES_OF_PIXEL[0] <= shape <= _SHAPES_OF_PIXEL[1] else 1.0
    width, height = frame.width * max(oblong, 1.0), frame.height / min(oblong, 1.0)
    scale = min(1.0, int(limits["video_px"]) / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = frame.reformat(*size, format="rgb24", interpolation="AREA").to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
