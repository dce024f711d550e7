"""The system calls that a worker is refused, by the names and numbers of Linux's tables for x86_64 and aarch64."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

Numbers = tuple[int, int | None]
"""On x86_64 and on aarch64, which has no old calls."""

REFUSED: dict[str, Numbers] = {
    # Network.
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "accept": (43, 202),
    "accept4": (288, 242),
    "bind": (49, 200),
    "listen": (50, 201),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    # Other programs and processes, and memory and queues that are shared with them.
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # Ways around a filter: orders that it cannot see.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "openat2": (437, 437),
    "open_by_handle_at": (304, 265),
    # Names, sizes, modes, owners, times and attributes of files.
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "creat": (85, None),
    "link": (86, None),
    "linkat": (265, 37),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "fallocate": (285, 47),
    # The system itself, where the worker runs with privileges, and parts of the kernel that attacks prefer.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "syslog": (103, 116),
    "fanotify_init": (300, 262),
}


@dataclass(frozen=True)
class Conditional:
    """A call that is refused by one of its arguments."""

    numbers: Numbers
    argument: int
    """Its place. The low 32 bits are compared: of all of these the kernel reads no more."""
    values: tuple[int, ...]
    bits: bool = False
    """The argument is compared by its bits: whether it has any of those of a value."""
    allowed: bool = False
    """The call passes where the argument matches, and is refused otherwise; without, the other way round."""


_CLONE_THREAD = 0x10000
_INJECT_INPUT, _SELECT_TEXT = 0x5412, 0x541C  # TIOCSTI, TIOCLINUX: what they type runs in the user's shell
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def conditional_calls(pid: int) -> dict[str, Conditional]:
    """Calls that decoders need, in a form that concerns this process only; `pid` is its own."""
    return {
        "open": Conditional((2, None), 1, (_WRITES,), bits=True),
        "openat": Conditional((257, 56), 2, (_WRITES,), bits=True),
        "clone": Conditional((56, 220), 0, (_CLONE_THREAD,), bits=True, allowed=True),
        "kill": Conditional((62, 129), 0, (pid,), allowed=True),
        "tgkill": Conditional((234, 131), 0, (pid,), allowed=True),
        "prlimit64": Conditional((302, 261), 0, (0,), allowed=True),
        "ioctl": Conditional((16, 29), 1, (_INJECT_INPUT, _SELECT_TEXT)),
    }


ABSENT: dict[str, Numbers] = {"clone3": (435, 435)}
"""Answered with ENOSYS: its flags cannot be seen, and the C library falls back on clone, whose flags can."""
ABSENT_ERROR = errno.ENOSYS
