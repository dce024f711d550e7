"""What a worker gives up before it reads a user's bytes: memory, time, open files, network, programs, and writing.

Calls are refused by Linux's seccomp with a filter, which needs no privilege after PR_SET_NO_NEW_PRIVS. It is a best effort:
what is not in system_calls.py stays allowed, and where there is no seccomp (another system or machine) there is no filter.
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

from tasks.isolation.system_calls import ABSENT, ABSENT_ERROR, REFUSED, Conditional, conditional_calls

_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_REFUSE = _ERROR | errno.EPERM
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF, 32-bit operands
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_OTHER_ABI = 0x40000000  # x32's calls have this bit: the same calls under other numbers
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""Machine to its number (AUDIT_ARCH), and which of a call's numbers is its."""
_GRACE_S = 5
_HANDLES = 64
"""Files that a worker may have open: the pipes, the medium, the libraries it loads."""


def restrict(memory_mb: int) -> None:
    """Bounds memory and open files, leaves no core dump, gains no privilege, and gives up network, processes and writing."""
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
    """From here on this process can open no socket, start no process, signal none, and change no file nor its attributes.

    False where the machine does not offer it. Cannot be undone.
    """
    if sys.platform != "linux":
        return False
    libc, zero = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong(0)
    may_gain = libc.prctl(_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), zero, zero, zero) != 0
    if may_gain or platform.machine() not in _MACHINES or sys.maxsize < 2**32:
        return False
    code = _program(*_MACHINES[platform.machine()])
    words = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(words))
    return bool(libc.prctl(_SET_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.c_char_p(program), zero, zero) == 0)


def _program(machine: int, column: int) -> bytes:
    """The filter. A test that does not hold jumps over what follows it."""
    steps = [(_LOAD, 0, 0, _MACHINE), (_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _REFUSE), (_LOAD, 0, 0, _NUMBER)]
    steps += [(_AT_LEAST, 0, 1, _OTHER_ABI), (_RETURN, 0, 0, _REFUSE)]
    for calls, answer in ((REFUSED, _REFUSE), (ABSENT, _ERROR | ABSENT_ERROR)):
        for numbers in calls.values():
            if (number := numbers[column]) is not None:
                steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, answer)]
    for call in conditional_calls(os.getpid()).values():
        if (number := call.numbers[column]) is not None:
            steps += _conditional(number, call)
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _conditional(number: int, call: Conditional) -> list[tuple[int, int, int, int]]:
    """Steps that end with an answer where the call has this number: one for no match, then one for a match."""
    test, count = (_ANY_BIT if call.bits else _EQUAL), len(call.values)
    otherwise, matched = (_REFUSE, _ALLOW) if call.allowed else (_ALLOW, _REFUSE)
    return [
        (_EQUAL, 0, count + 3, number),
        (_LOAD, 0, 0, _ARGUMENTS + 8 * call.argument),  # the low half: both machines are little-endian
        *((test, count - place, 0, value) for place, value in enumerate(call.values)),
        (_RETURN, 0, 0, otherwise),
        (_RETURN, 0, 0, matched),
    ]
