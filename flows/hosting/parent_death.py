"""Starts a program that gets SIGTERM when its parent dies: `parent_death.py PARENT PROGRAM ARGUMENT…`. Standard library."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; it survives execve


def main() -> None:
    """Becomes the program. Ends with 4 where the parent was gone before Linux could be asked."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(4)
    os.execv(program[0], program)


if __name__ == "__main__":
    main()
