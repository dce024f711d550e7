"""Media that would make a careless opener read a neighbour, call someone, or fill the memory: each is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.data import write_manifest, write_sound
from tests.support.watching import Listener

# {canary} is a file elsewhere, {port} the listener's port
SCRIPTS = {
    "concat": "ffconcat version 1.0\nfile '{canary}'\nfile 'http://127.0.0.1:{port}/a.mp4'\n",
    "concat_relative": "ffconcat version 1.0\nfile ../outside/canary.png\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n#EXTINF:1,\nfile://{canary}\n#EXT-X-ENDLIST\n",
    "hls_key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.1:{port}/k"\n#EXTINF:1,\nconcat:{canary}\n#EXT-X-ENDLIST\n',
    "dash": '<MPD><Period><AdaptationSet><BaseURL>http://127.0.0.1:{port}/</BaseURL></AdaptationSet></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
    "rtsp": "RTSPtextrtsp://127.0.0.1:{port}/x\n",
    "pls": "[playlist]\nFile1=http://127.0.0.1:{port}/a.mp3\nFile2={canary}\n",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink"><image x:href="{canary}"/>'
    '<image x:href="http://127.0.0.1:{port}/a.png"/></svg>',
    "xxe": '<?xml version="1.0"?><!DOCTYPE s [<!ENTITY e SYSTEM "file://{canary}">]><svg>&e;</svg>',
    "eps": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({canary}) (r) file 99 string readstring\n%%EOF\n",
    "mvg": "push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 'http://127.0.0.1:{port}/a.png'\npop graphic-context\n",
    "msl": '<image><read filename="{canary}"/><write filename="{canary}.out"/></image>',
}  # fmt: skip


def _ingest_of(run_ingest: Any, data: Path, modality: str, ending: str, canary: Path, port: int) -> dict[str, str]:
    rows = []
    for name, script in SCRIPTS.items():
        (data / f"{name}{ending}").write_text(script.format(canary=canary, port=port))
        rows.append({"id": name, "image": "img/0.png", "label": name} | {modality: f"{name}{ending}"})
    rows.append({"id": "good", "image": "img/1.png", "label": "good"})
    done = run_ingest(write_manifest(data / "m.csv", rows))
    assert set(done.samples) == {"good"}
    return dict(done.reasons)


@pytest.mark.parametrize(
    ("modality", "ending"), [("image", ".png"), ("audio", ".wav"), ("audio", ".mp4"), ("audio", ".m3u8")]
)
def test_scripts_named_like_media(
    run_ingest: Any, data: Path, canary: Path, listener: Listener, modality: str, ending: str
) -> None:
    reasons = _ingest_of(run_ingest, data, modality, ending, canary, listener.port)
    assert reasons == dict.fromkeys(SCRIPTS, f"unreadable-{modality}")


def test_scripts_named_like_videos(run_ingest: Any, data: Path, canary: Path, listener: Listener) -> None:
    pytest.importorskip("tasks.media.video", reason="video is not read yet")
    reasons = _ingest_of(run_ingest, data, "video", ".mp4", canary, listener.port)
    assert set(reasons) == set(SCRIPTS)
    assert set(reasons.values()) == {"unreadable-video"}


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(side: int, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\x00" * (side * (side + 1)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + b"".join(extra)
        + _chunk(b"IDAT", pixels)
        + _chunk(b"IEND", b"")
    )


def test_bombs_in_pictures(run_ingest: Any, data: Path) -> None:
    """Compressed text and profile chunks that unpack to 200 MB, and more pixels than allowed: refused, or not unpacked."""
    bomb = zlib.compress(b"\x00" * 200_000_000, 9)
    (data / "text.png").write_bytes(_png(8, _chunk(b"zTXt", b"k\x00\x00" + bomb)))
    (data / "itxt.png").write_bytes(_png(9, _chunk(b"iTXt", b"k\x00\x01\x00\x00\x00" + bomb)))
    (data / "profile.png").write_bytes(_png(10, _chunk(b"iCCP", b"k\x00\x00" + bomb)))
    (data / "pixels.png").write_bytes(_png(8_000))
    rows = [
        {"id": name, "image": f"{name}.png", "label": name} for name in ("text", "itxt", "profile", "pixels", "img/0")
    ]
    done = run_ingest(write_manifest(data / "m.csv", rows), "media.memory_mb=512")
    assert "img/0" in done.samples
    assert done.reasons["pixels"] == "too-many-pixels"
    assert set(done.reasons.values()) <= {"too-many-pixels", "unreadable-image", "decoder-memory"}


def test_sounds_that_declare_much(run_ingest: Any, data: Path) -> None:
    """A WAV of 44 bytes that declares 4 GB, and one with a rate of 4 GHz."""
    write_sound(data / "good.wav", 1)
    whole = bytearray((data / "good.wav").read_bytes())
    (data / "long.wav").write_bytes(bytes(whole[:40]) + b"\xff\xff\xff\xff")
    whole[24:28] = b"\xff\xff\xff\x7f"
    (data / "fast.wav").write_bytes(bytes(whole))
    rows = [{"id": name, "audio": f"{name}.wav", "label": name} for name in ("long", "fast", "good")]
    done = run_ingest(write_manifest(data / "m.csv", rows))
    assert set(done.samples) == {"good"}
