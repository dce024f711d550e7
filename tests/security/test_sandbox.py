"""What the decoding process has given up, tried in a process that did as it does."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.security.conftest import ROOT, Listener

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="needs Linux's seccomp"
)
SCRIPT = """
import json, os, socket, subprocess, sys
from tasks.isolation.sandbox import restrict
folder, port = sys.argv[1], int(sys.argv[2])
if sys.argv[3] == "restricted":
    restrict(2048)
tries = {
    "connect": lambda: socket.create_connection(("127.0.0.1", port)).close(),
    "datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)),
    "local socket": lambda: socket.socket(socket.AF_UNIX),
    "program": lambda: subprocess.run(["/bin/true"], check=True),
    "make": lambda: open(f"{folder}/made", "x").close(),
    "empty": lambda: open(f"{folder}/kept", "w").close(),
    "truncate": lambda: os.open(f"{folder}/kept", os.O_RDONLY | os.O_TRUNC),
    "append": lambda: open(f"{folder}/kept", "a").close(),
    "rename": lambda: os.rename(f"{folder}/kept", f"{folder}/moved"),
    "link": lambda: os.link(f"{folder}/kept", f"{folder}/linked"),
    "symlink": lambda: os.symlink("/", f"{folder}/slink"),
    "folder": lambda: os.mkdir(f"{folder}/sub"),
    "mode": lambda: os.chmod(f"{folder}/kept", 0o777),
    "remove": lambda: os.unlink(f"{folder}/kept"),
}
done = []
for name, attempt in tries.items():
    try:
        attempt()
        done.append(name)
    except OSError:
        pass
print(json.dumps([done, open(__file__ if "__file__" in globals() else "/etc/passwd").read(1) != ""]))
"""


def _attempt(folder: Path, port: int, how: str) -> tuple[list[str], bool]:
    (folder / "kept").write_text("kept")
    command = [sys.executable, "-c", SCRIPT, str(folder), str(port), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    attempted, reads = json.loads(done.stdout)
    return attempted, reads


def test_no_network_no_program_no_change_of_files(tmp_path: Path, listener: Listener) -> None:
    assert _attempt(tmp_path, listener.port, "restricted") == ([], True)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_text() == "kept"


def test_the_attempts_would_succeed_in_another_process(tmp_path: Path) -> None:
    listening = Listener()
    try:
        attempted, _ = _attempt(tmp_path, listening.port, "free")
    finally:
        listening.close()
    assert {"connect", "datagram", "program", "make", "empty", "truncate", "append", "folder"} <= set(attempted)
