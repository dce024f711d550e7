"""What the decoding process has given up, tried in a process that did as it does."""

from __future__ import annotations

import ctypes
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.isolation.sandbox import _MACHINES
from tasks.isolation.system_calls import ABSENT, REFUSED, conditional_calls
from tests.support.paths import ROOT
from tests.support.watching import Listener

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="needs Linux's seccomp"
)
NEEDED = ["own signal", "own limits", "thread", "window size"]
"""What a decoder may do still: the filter that forbids all would pass the other assertions."""
SCRIPT = """
import ctypes, fcntl, json, os, pty, resource, signal, socket, subprocess, sys, threading
from tasks.isolation.sandbox import restrict
from tasks.isolation.system_calls import ABSENT, REFUSED, conditional_calls
folder, port = sys.argv[1], int(sys.argv[2])
libc, terminal, parent = ctypes.CDLL(None, use_errno=True), pty.openpty()[1], os.getppid()
column = 1 if os.uname().machine == "aarch64" else 0
kept = os.open(f"{folder}/kept", os.O_RDONLY)
def call(name, *arguments):
    number = (REFUSED | ABSENT | {name: call.numbers for name, call in conditional_calls(0).items()})[name][column]
    if libc.syscall(number, *[ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]) < 0:
        raise OSError(ctypes.get_errno(), name)
def fork():
    if os.fork() == 0:
        os._exit(0)
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
    "mode by handle": lambda: os.fchmod(kept, 0o777),
    "mode by the newest call": lambda: call("fchmodat2", -100, f"{folder}/kept".encode(), 0o777, 0),
    "time": lambda: os.utime(kept, (1, 1)),
    "attribute": lambda: os.setxattr(f"{folder}/kept", "user.crossmodal", b"1"),
    "attribute by handle": lambda: os.setxattr(kept, "user.crossmodal", b"1"),
    "fork": fork,
    "signal": lambda: os.kill(parent, 0),
    "signal to all": lambda: os.kill(0, 0),
    "signal by a handle": lambda: signal.pidfd_send_signal(os.pidfd_open(parent), 0),
    "terminal input": lambda: fcntl.ioctl(terminal, 0x5412, b"x"),
    "shared memory": lambda: call("shmget", 0, 4096, 0o1600),
    "ring": lambda: call("io_uring_setup", 1, ctypes.create_string_buffer(120)),
    "limits of another": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE),
    "own signal": lambda: os.kill(os.getpid(), 0),
    "own limits": lambda: resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000)),
    "thread": lambda: threading.Thread(target=int).start(),
    "window size": lambda: os.get_terminal_size(terminal),
    "remove": lambda: os.unlink(f"{folder}/kept"),
}
done = []
for name, attempt in tries.items():
    try:
        attempt()
        done.append(name)
    except (OSError, RuntimeError):
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
    assert _attempt(tmp_path, listener.port, "restricted") == (NEEDED, True)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_text() == "kept"


def test_the_attempts_would_succeed_in_another_process(tmp_path: Path) -> None:
    listening = Listener()
    try:
        attempted, _ = _attempt(tmp_path, listening.port, "free")
    finally:
        listening.close()
    files = {"make", "empty", "truncate", "append", "folder", "mode by handle", "time"}
    assert {"connect", "datagram", "program", "fork", "signal", "shared memory", *files, *NEEDED} <= set(attempted)


def test_the_numbers_are_those_of_the_kernels_tables() -> None:
    """Against libseccomp, which Debian's base system has; it knows the calls up to its release."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp.so.2 is not installed")
    calls = REFUSED | ABSENT | {name: call.numbers for name, call in conditional_calls(1).items()}
    resolve = library.seccomp_syscall_resolve_name_arch
    known = {name: [resolve(machine, name.encode()) for machine, _ in _MACHINES.values()] for name in calls}
    expected = {name: [-1 if number is None else number for number in numbers] for name, numbers in calls.items()}
    # Below -1 libseccomp numbers calls that a machine does not have; -1 is a name that it does not know yet.
    found = {name: [max(number, -1) for number in numbers] for name, numbers in known.items() if numbers != [-1, -1]}
    assert len(found) > 90
    assert found == {name: expected[name] for name in found}
