"""What a worker gives up before it reads a user's bytes: memory, time, open files, network, programs, and writing.

Calls are refused by Linux's seccomp with a filter, which needs no privilege after PR_SET_NO_NEW_PRIVS. What is on no list
stays allowed: this is the second line, behind limits and allow-lists, and where it is not to be had (another system or
machine) work goes on.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Sequence

_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF, 32-bit operands
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_OTHER_ABI = 0x40000000  # x32's calls have this bit: the same calls under other numbers
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Numbers from the kernel's tables. Network: socket, connect, accept, accept4, bind, listen, sendto, sendmsg, socketpair. Other
# processes: execve, execveat, ptrace, process_vm_readv, process_vm_writev; io_uring_setup and openat2, whose orders cannot be
# seen from here. The rest changes names, sizes, modes and owners of files.
# fmt: off
_X86 = [41, 42, 43, 288, 49, 50, 44, 46, 53, 59, 322, 101, 310, 311, 425, 437, 76, 77, 82, 264, 316, 83, 258, 84, 85, 86,
        265, 87, 263, 88, 266, 90, 91, 268, 92, 93, 94, 260, 133, 259]
_ARM = [198, 203, 202, 242, 200, 201, 206, 211, 199, 221, 281, 117, 270, 271, 425, 437, 45, 46, 38, 276, 34, 37, 35, 36,
        52, 53, 54, 55, 33]
# fmt: on
_CALLS = {"x86_64": (0xC000003E, _X86, [(257, 2), (2, 1)]), "aarch64": (0xC00000B7, _ARM, [(56, 2)])}
"""Machine to its number, the calls that are refused, and (call, place of its flags) of those that open a file."""
_GRACE_S = 5
_HANDLES = 64
"""Files that a worker may have open: the pipes, the medium, the libraries it loads."""


def restrict(memory_mb: int) -> None:
    """Bounds memory and open files, leaves no core dump, gains no privilege, and gives up network, programs and writing."""
    memory = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    handles = _HANDLES if most == resource.RLIM_INFINITY else min(_HANDLES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (handles, handles))
    forbid_calls()


def allow_time(timeout_s: float) -> None:
    """Ends this process when its next task takes much too long, even if the parent, who waits `timeout_s`, is gone."""
    signal.alarm(math.ceil(timeout_s) + _GRACE_S)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    cpu_s = math.ceil(used.ru_utime + used.ru_stime + timeout_s) + _GRACE_S  # a signal handler cannot put this one off
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s if most == resource.RLIM_INFINITY else min(cpu_s, most), most))


def forbid_calls() -> bool:
    """From here on this process can open no socket, start no program, and write, make, rename or remove no file.

    False where the machine does not offer it. Cannot be undone.
    """
    if sys.platform != "linux":
        return False
    libc, zero = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong(0)
    may_gain = libc.prctl(_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), zero, zero, zero) != 0
    if may_gain or platform.machine() not in _CALLS or sys.maxsize < 2**32:
        return False
    code = _program(*_CALLS[platform.machine()])
    words = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(words))
    return bool(libc.prctl(_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.c_char_p(program), zero, zero) == 0)


def _program(machine: int, refused: Sequence[int], opening: Sequence[tuple[int, int]]) -> bytes:
    """The filter: each test jumps over the return that follows it when it does not hold."""
    steps = [(_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _REFUSE), (_LOAD, 0, 0, _NUMBER)]
    steps += [(_AT_LEAST, 0, 1, _OTHER_ABI), (_RETURN, 0, 0, _REFUSE)]
    for number in refused:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    for number, place in opening:
        flags = _ARGUMENTS + 8 * place  # the low half: both machines are little-endian
        steps += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, flags), (_ANY_BIT, 0, 1, _WRITES)]
        steps += [(_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)
