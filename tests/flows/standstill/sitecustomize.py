"""Loaded by every Python that has this folder on PYTHONPATH: it stands still before a chosen file appears.

STAND_STILL_BEFORE is `n pattern`: the process stops itself before its n-th rename to a path that matches the pattern.
"""

import os
import re
import signal
import sys
from typing import Any

_count, _, _pattern = os.environ.get("STAND_STILL_BEFORE", "").partition(" ")
_seen = 0


def _stop_before(event: str, arguments: tuple[Any, ...]) -> None:
    global _seen  # noqa: PLW0603
    if event == "os.rename" and re.search(_pattern, os.fspath(arguments[1])):
        _seen += 1
        if _seen == int(_count):
            os.kill(os.getpid(), signal.SIGSTOP)


if _pattern:
    sys.addaudithook(_stop_before)
