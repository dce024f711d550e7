"""Media that nobody took or said: made from a number, to try a model with."""

from __future__ import annotations

import io

import numpy as np


def make_pictures(number: int, count: int) -> list[np.ndarray]:
    """Pictures of coloured patches, uint8 (96, 128, 3), each shifted against the one before; another number, other patches."""
    patches = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = patches.repeat(16, axis=0).repeat(16, axis=1)
    return [np.roll(picture, 4 * shift, axis=1) for shift in range(count)]


def make_sound(number: int) -> tuple[np.ndarray, int]:
    """A second that rises in pitch with some noise, int16 (16000,), and its rate in Hz."""
    rate_hz = 16_000
    time_s = np.arange(rate_hz) / rate_hz
    phase = 2 * np.pi * (200 + 50 * number + 300 * time_s) * time_s
    noise = np.random.default_rng(number).standard_normal(rate_hz)
    return np.round(9000 * np.sin(phase) + 300 * noise).astype(np.int16), rate_hz


def clip_bytes(frames: list[np.ndarray], rate: int = 8) -> bytes:
    """An MP4 of frames, uint8 (H, W, 3) with even sides."""
    import av

    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as out:
        video = out.add_stream("mpeg4", rate=rate)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        for frame in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        out.mux(video.encode())
    return sink.getvalue()
