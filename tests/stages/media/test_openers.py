"""A medium that names other files, or an address, gets nothing: the media that would be read are there, and are not."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from tasks.config_sections import MediaConfig
from tasks.media.audio import decode_audio
from tasks.media.canonical import Undecodable
from tasks.media.video import decode_video

LIMITS = MediaConfig().model_dump(mode="json")
MakeClip = Callable[..., bytes]
HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>"
)
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
SCRIPTS = {
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "hls": HLS,
    "dash": DASH,
    "sdp": SDP,
    "subtitles": "#EXTM3U\n{}\n",
}


@pytest.fixture
def canary(tmp_path: Path, make_clip: MakeClip) -> Path:
    """A clip that a script beside it may name."""
    path = tmp_path / "canary.mp4"
    path.write_bytes(make_clip(4, sound_s=0.2))
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Waits for a call that must not come."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def test_the_canary_sings_when_it_is_asked(canary: Path) -> None:
    """What the scripts would do, so that the tests below can fail."""
    script = canary.with_name("script.mp4")
    script.write_text(SCRIPTS["concat"].format(canary))
    with av.open(str(script), container_options={"safe": "0"}) as opened:
        assert len(list(opened.decode(video=0))) == 4
    script.write_text(SCRIPTS["hls"].format(canary))
    with av.open(
        str(script), container_options={"allowed_extensions": "ALL", "extension_picky": "0"}, format="hls"
    ) as opened:
        assert len(list(opened.decode(video=0))) == 4


@pytest.mark.parametrize("decode", [decode_video, decode_audio])
@pytest.mark.parametrize("kind", SCRIPTS)
@pytest.mark.parametrize("form", ["{}", "file:{}", "canary.mp4"])
def test_a_script_does_not_read_its_neighbour(
    canary: Path, kind: str, form: str, decode: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(canary.parent)
    with pytest.raises(Undecodable) as error:
        decode(SCRIPTS[kind].format(form.format(canary)).encode(), LIMITS)
    assert error.value.reason.startswith("unreadable-")


@pytest.mark.parametrize("decode", [decode_video, decode_audio])
@pytest.mark.parametrize("kind", SCRIPTS)
@pytest.mark.parametrize("scheme", ["http", "tcp", "rtmp"])
def test_a_script_calls_nobody(listener: socket.socket, kind: str, scheme: str, decode: Callable[..., object]) -> None:
    address = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/a.ts"
    with pytest.raises(Undecodable):
        decode(SCRIPTS[kind].format(address).encode(), LIMITS)
    with pytest.raises(BlockingIOError):
        listener.accept()
