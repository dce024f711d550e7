"""Drafts: what no process holds is cleared, wherever it lies; what one holds stays; a full disk is told in full."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import locks
from tasks.drafts import clear_leftovers, draft, full_disk, is_full_disk
from tasks.errors import EnvironmentFailed
from tasks.store import Store, replacing

KILLED = (
    "import os, sys\nfrom pathlib import Path\nfrom tasks.drafts import draft\nfrom tasks.store import Store, replacing\n"
    "place, what = Path(sys.argv[1]), sys.argv[2]\n"
    "with replacing(place / what) as scratch:\n    scratch.write_text('half')\n"
    "    scratch.with_name(scratch.name + '-journal').write_text('of sqlite')\n    os.kill(os.getpid(), 9)\n"
)


def kill_while_writing(folder: Path, name: str) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder), name], check=False).returncode == -9


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["mlflow.db", ".hidden", "a.b[c]*"])
def test_what_a_killed_process_left_beside_a_file_is_cleared_when_it_is_written_again(
    tmp_path: Path, name: str
) -> None:
    kill_while_writing(tmp_path, name)
    kill_while_writing(tmp_path, f"{name}.other")
    assert len(names(tmp_path)) == 6
    with replacing(tmp_path / name) as scratch:
        scratch.write_text("whole")
    left = [each for each in names(tmp_path) if each != name]
    assert len(left) == 3
    assert all(each.startswith(f".{name}.other.") for each in left)
    assert (tmp_path / name).read_text() == "whole"


def test_prepare_clears_what_was_left_in_the_stores_folder(store: Store) -> None:
    kill_while_writing(store.root, "mlflow.db")
    store.prepare()
    assert names(store.root) == ["tmp"]


def test_a_live_draft_stays_also_for_a_process_that_thinks_itself_another(
    tmp_path: Path,
) -> None:
    """As two containers with one host's name and the same process id: neither is what a draft is known by."""
    with draft(tmp_path, "x") as live:
        live.mkdir()
        code = (
            "import os, sys\nfrom pathlib import Path\nfrom tasks.drafts import clear_leftovers\n"
            f"os.getpid = lambda: {os.getpid()}\nclear_leftovers(Path(sys.argv[1]), drafts_only=True)\n"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        assert live.is_dir()
    assert names(tmp_path) == []


def test_a_draft_of_a_lease_is_cleared_when_its_machine_is_long_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "needs_lease", lambda kind, options: True)
    left = tmp_path / f".x.{'a' * 32}"
    left.touch()
    lease = tmp_path / f"{left.name}.lock.lease"
    lease.write_text(f"filelock/2\npid=7\nhost=elsewhere\nmode=lease\ntoken=t\nduration={locks.LEASE_S!r}\n")
    clear_leftovers(tmp_path)
    assert left.exists()
    old = lease.stat().st_mtime - locks.DEAD_S
    os.utime(lease, (old, old))
    clear_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_what_is_no_draft_of_ours_stays(tmp_path: Path) -> None:
    for name in ("a.lock", ".x.lock", f".x.{'A' * 32}", f".x.{'A' * 32}.lock", f".x.{'a' * 32}", "b"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    before = names(tmp_path)
    clear_leftovers(tmp_path)
    clear_leftovers(tmp_path, "x")
    assert names(tmp_path) == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_file_place_and_what_is_free_and_needed(store: Store, code: int) -> None:
    with pytest.raises(EnvironmentFailed) as told, store.create("checkpoints", "k") as artifact:  # noqa: PT012
        (artifact.path / "model.safetensors").write_bytes(bytes(2_500_000))
        raise OSError(code, os.strerror(code))
    message = str(told.value)
    for part in (
        str(store.root),
        "checkpoints/k",
        "MB free",
        "more than 2.5 MB is needed",
        "nothing was left there",
        "resumes",
    ):
        assert part in message
    assert names(store.root / "tmp") == []


def test_a_full_disk_where_nothing_could_be_begun(tmp_path: Path) -> None:
    error = full_disk(OSError(errno.ENOSPC, ""), "x", tmp_path / "absent" / "folder")
    assert str(error).startswith("x: No space left on device (")
    assert str(error).count(f"MB free in {tmp_path})") == 1
    named = full_disk(OSError(errno.EDQUOT, "", str(tmp_path / "f.bin")))
    assert str(named).startswith(f"{tmp_path}/f.bin: Disk quota exceeded (")
    assert str(full_disk(OSError(errno.ENOSPC, ""))).startswith("a file: No space left on device; free space")


def test_another_error_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output") as raised, draft(tmp_path, "x"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert type(raised.value) is OSError
    with pytest.raises(FileNotFoundError), draft(tmp_path / "absent", "x"):
        pass
    assert is_full_disk(OSError(errno.ENOSPC, ""))
