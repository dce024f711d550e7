"""The files beneath a manifest's folders, listed on the first look, found by what people write for them."""

from __future__ import annotations

import difflib
import os
import re
import threading
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from data_contracts.refs import Modality
from tasks.ingest.manifest.file_states import FileStates
from tasks.ingest.sources.listing import MODALITY_OF, is_hidden, modality_of_file

_MAX_FILES = 500_000
"""Beyond so many files nothing is looked for."""
_MAX_FOLDERS = 1_000
_DRIVE = re.compile(r"^[A-Za-z]:")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
_SHARE = re.compile(r"//[^/]+/[^/]+/")
"""The machine and the share with which a network path of Windows begins, once its slashes are turned."""
_ATTACHED = re.compile(r" \(https?://[^\s()]+\)$")
"""The address behind the name of an attachment, as Airtable exports it: `front.jpg (https://…)`."""
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_NOT_IN_NAMES = re.compile(r'[:|<>*?"$%]|^~')
"""An address, a pattern or a variable is no name of a file."""
_INSIDE = re.compile(rf"(?:{'|'.join(map(re.escape, MODALITY_OF))})['\"]?\s*[;,|\s]\s*\S", re.IGNORECASE)
"""An ending, and then another name, as in a list that is written out."""


class MediaIndex:
    """Finds the file that a cell means though it is not where it says: slashes, case, Unicode form, folder or ending differ."""

    def __init__(self, roots: tuple[str, ...], states: FileStates | None = None) -> None:
        self._roots = roots
        self._states = states or FileStates()
        self._lock = threading.Lock()
        self._listed = False
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_number: dict[str, list[str]] = defaultdict(list)
        """By a name without ending that is a number, without its leading zeros."""

    def find(self, cell: str, modality: Modality | None = None) -> str | None:
        """The path of the one file that fits best: by its name, else by its name without ending, else by the
        number that this is (7 of 007.jpg: spreadsheets drop zeros), of files of a modality;
        of several the one that shares the most folders with the cell. None where there is none, or none is best.
        """
        best = self.candidates(cell, modality)
        return best[0] if len(best) == 1 else None

    def candidates(self, cell: str, modality: Modality | None = None) -> list[str]:
        """The files that fit a cell best and equally well; where there is none, those that it means as part of an address,
        `a%20b.png`.
        """
        found = self._candidates(cell, modality)
        return found or (self._candidates(unquote(cell), modality) if _ESCAPE.search(cell) else [])

    def _candidates(self, cell: str, modality: Modality | None) -> list[str]:
        parts = _parts(cell)
        if not parts:
            return []
        self._list()
        names = [path for path in self._by_name.get(parts[-1], []) if _fits(path, modality)]
        name = PurePosixPath(parts[-1])
        is_number = name.suffix[1:].isdigit()  # 12.50 names no 12.png
        stems = [*self._by_stem.get(name.name, []), *([] if is_number else self._by_stem.get(name.stem, []))]
        if not names and not stems and parts[0] == "upload":  # Label Studio puts a number before the name of an upload
            names = [path for path in self._by_name.get(_UPLOADED.sub("", parts[-1]), []) if _fits(path, modality)]
        number = self._by_number.get(name.stem.lstrip("0"), []) if _is_number(name.stem) and not is_number else []
        for group in (names, stems, number):
            paths = [path for path in dict.fromkeys(group) if _fits(path, modality)]
            if paths:
                shared = {path: _shared(parts[:-1], _parts(path)[:-1]) for path in paths}
                return [path for path in paths if shared[path] == max(shared.values())]
        return []

    def beside(self, cell: str) -> str | None:
        """A file of the cell's name that lies in a folder beside the first root, where no medium may lie."""
        parts = _parts(cell)
        parent = Path(self._roots[0]).parent
        if parts and os.access(parent, os.R_OK):
            for folder in sorted(parent.iterdir())[:_MAX_FOLDERS]:
                place = folder / PurePosixPath(cell.replace("\\", "/")).name
                if not is_hidden(folder.name) and os.path.isfile(place):  # noqa: PTH113 - False for what cannot be looked at
                    return str(place)
        return None

    def nearest(self, cell: str) -> str | None:
        """The files that fit a cell equally well; else one whose name is nearly the cell's."""
        parts = _parts(cell)
        if fitting := self.candidates(cell):
            return " or ".join(fitting[:2])
        self._list()
        near = difflib.get_close_matches(parts[-1], self._by_name, n=1) if parts and len(self._by_name) < 20_000 else []
        return self._by_name[near[0]][0] if near else None

    def _list(self) -> None:
        with self._lock:
            if self._listed:
                return
            self._listed = True
            for count, path in enumerate(_walk(self._roots, self._states)):
                if count >= _MAX_FILES:
                    self._states.is_whole = False
                    self._by_name.clear()
                    self._by_stem.clear()
                    self._by_number.clear()
                    return
                name = _plain(path.rsplit("/", 1)[-1])
                self._by_name[name].append(path)
                stem = PurePosixPath(name).stem
                self._by_stem[stem].append(path)
                if _is_number(stem):
                    self._by_number[stem.lstrip("0")].append(path)


def _walk(roots: tuple[str, ...], states: FileStates) -> Iterator[str]:
    """Every visible file beneath the roots, once; links to folders are not followed. The folders' states are noted."""
    seen: set[str] = set()
    for root in roots:
        for folder, folders, files in os.walk(root):
            real = os.path.realpath(folder)
            states.note_place(real)
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            if real in seen or real in ("/proc", "/sys", "/dev"):
                folders.clear()
                continue
            seen.add(real)
            yield from (f"{folder.rstrip('/')}/{name}" for name in sorted(files) if not is_hidden(name))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _parts(cell: str) -> list[str]:
    """The folders and the name in a cell, as they are compared; none where it cannot be the path of a file."""
    text = _SHARE.sub("/", _DRIVE.sub("", _ATTACHED.sub("", cell.strip()).replace("\\", "/")))
    if _NOT_IN_NAMES.search(text):
        return []
    parts = [_plain(part) for part in text.split("/") if part not in ("", ".")]
    return [] if ".." in parts or names_several(text) else parts


def names_several(cell: str) -> bool:
    """Whether a cell lists several files: the ending of one stands amid it, before a mark that no folder's name begins with."""
    return _INSIDE.search(_ATTACHED.sub("", cell.strip())) is not None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _fits(path: str, modality: Modality | None) -> bool:
    found = modality_of_file(path)
    return found is not None and modality in (None, found)


def _shared(one: list[str], other: list[str]) -> int:
    """How many folders are the same, from the innermost on."""
    count = 0
    for mine, theirs in zip(reversed(one), reversed(other), strict=False):
        if mine != theirs:
            break
        count += 1
    return count
