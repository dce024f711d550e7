"""Files that take the room of one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tasks import shared_files
from tasks.shared_files import link_equal_files, link_file


def _two(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "below/target"
    source.write_bytes(b"new")
    return source, target


def test_the_target_holds_the_bytes_and_nothing_else_is_left(tmp_path: Path) -> None:
    source, target = _two(tmp_path)
    link_file(source, target)
    link_file(source, target)
    assert (target.read_bytes(), source.read_bytes()) == (b"new", b"new")
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_without_shared_blocks_it_is_one_file_with_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_files, "_clone", lambda *_: False)
    source, target = _two(tmp_path)
    target.parent.mkdir()
    target.write_bytes(b"old")
    link_file(source, target)
    assert target.samefile(source)
    assert target.read_bytes() == b"new"


def test_where_no_second_name_is_allowed_it_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(shared_files, "_clone", lambda *_: False)
    source, target = _two(tmp_path)
    link_file(source, target)
    assert target.read_bytes() == b"new"
    assert not target.samefile(source)


def test_only_files_of_equal_name_and_bytes_are_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_files, "_clone", lambda *_: False)
    for folder, other in (("one", "a"), ("two", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "equal").write_text("same")
        (tmp_path / folder / "other").write_text(other)
    (tmp_path / "two/new").write_text("same")
    link_equal_files(tmp_path / "one", tmp_path / "two")
    linked = {path.name: path.stat().st_nlink for path in (tmp_path / "two").iterdir()}
    assert linked == {"equal": 2, "other": 1, "new": 1}
