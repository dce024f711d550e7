"""What files are whose endings are those of no medium, and what to do about them."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from tasks.ingest.sources.listing import Listing

_MARKS = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"II*\x00": ".tif",
    b"MM\x00*": ".tif",
    b"OggS": ".ogg",
    b"fLaC": ".flac",
    b"ID3": ".mp3",
}
"""First bytes of media to their ending."""
_HEIC = (".heic", ".heif")


def of_other_endings(listings: list[Listing], root: Listing) -> str:
    """What a refusal adds where no file ends as media do: HEIC as phones write it, or no ending at all."""
    files = [
        (listing, file)
        for listing in listings
        for held in listing.folders.values()
        for file in held
        if not listing.linked
    ]
    endings = {PurePosixPath(file).suffix.lower() for _, file in files}
    if endings & {*_HEIC}:
        return "; HEIC is not read: convert these to JPEG, with heif-convert, or Pillow and pillow-heif"
    if not files or endings != {""}:
        return ""
    listing, file = files[0]
    with (listing.path / file).open("rb") as opened:
        start = opened.read(16)
    ending = next((ending for mark, ending in _MARKS.items() if start.startswith(mark)), None)
    if ending is None and b"\x00" in start:
        return ""
    command = f"find . -type f ! -name '*.*' -exec mv {{}} {{}}{ending or '.txt'} \\;"
    what = f"{file} is a {ending} by its first bytes: if all are," if ending else "where these are texts,"
    return f"; {what} give them the ending {ending or '.txt'}: cd {shlex.quote(str(root.path))} && {command}"
