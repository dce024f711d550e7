"""The media of rows as a report shows them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence

from typing_extensions import TypedDict  # pydantic reads those of typing only from Python 3.12 on

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName
from tasks.media.media_store import MediaReader
from tasks.media.thumbnails import Picture
from tasks.modalities import MODALITIES
from tasks.store import Store

_SHOWN = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"BM": "bmp"}
"""First bytes of what every browser shows as a picture."""


class Thumbnails(TypedDict):
    """The media of a row as they are shown: one of each modality, None for what it lacks, or what the store has no more."""

    image: str | None
    audio: str | None
    seconds: float
    """Of the sound."""
    text: str | None
    video: str | None
    cells: list[tuple[str, str]] | None
    more: Thumbnails | None
    """The second ones of a modality, with the third ones in their `more`."""


def picture_media(
    rows: Sequence[Mapping[InputName, str]], media: Mapping[InputName, str], store: Store
) -> list[Thumbnails]:
    """What each row looks like. `rows`: digest of each input's medium; `media`: fingerprint of each input's canonical form."""
    found: dict[tuple[str, str], Picture] = {}
    for name, fingerprint in media.items():
        digests = [row[name] for row in rows if name in row]
        if not digests:
            continue
        modality = modality_of(name)
        reader = MediaReader(store, modality, fingerprint)
        for digest, medium in reader.read(digests):
            found[name, digest] = MODALITIES[modality].thumbnail(medium, reader.rate_hz)
    return [_merge(found.get(item, {}) for item in row.items()) for row in rows]


def media_players(
    rows: Sequence[Mapping[InputName, str]], media: Mapping[InputName, str], store: Store
) -> list[dict[InputName, str]]:
    """What of each row can be heard, as data URIs by input. Arguments as of `picture_media`."""
    found: dict[tuple[str, str], str] = {}
    for name, fingerprint in media.items():
        modality = modality_of(name)
        reader = MediaReader(store, modality, fingerprint)
        for digest, medium in reader.read([row[name] for row in rows if name in row]):
            sound = MODALITIES[modality].player(medium, reader.rate_hz)
            if sound is not None:
                found[name, digest] = sound
    return [{name: found[name, digest] for name, digest in row.items() if (name, digest) in found} for row in rows]


def source_picture(content: bytes) -> str | None:
    """A file as it is, as a data URI; None where not every browser shows it."""
    form = next((form for start, form in _SHOWN.items() if content.startswith(start)), None)
    return None if form is None else f"data:image/{form};base64,{base64.b64encode(content).decode('ascii')}"


def _merge(pictures: Iterable[Picture]) -> Thumbnails:
    """The first of each modality, and in `more` the others."""
    first: Picture = {}
    others: list[Picture] = []
    for picture in pictures:
        if first.keys() & picture.keys():
            others.append(picture)
        else:
            first.update(picture)
    return {
        "image": first.get("image"),
        "audio": first.get("audio"),
        "seconds": first.get("seconds", 0.0),
        "text": first.get("text"),
        "video": first.get("video"),
        "cells": first.get("cells"),
        "more": _merge(others) if others else None,
    }
