"""Programs of this machine that generate: which version there is, and one answer of theirs, within a limit of time."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence

from tasks.errors import EnvironmentFailed
from tasks.isolation.process import bare_environment

TIMEOUT_S = 60.0
_VERSION = re.compile(r"\d+(?:\.\d+)+\S*")


def find_program(program: str) -> str | None:
    """Its path; None where it is not on this machine."""
    return shutil.which(program)


def program_version(program: str) -> str | None:
    """Of the program on this machine; None where there is none. EnvironmentFailed where it does not answer."""
    if find_program(program) is None:
        return None
    version = _VERSION.search(run_program(program, ["--version"]).decode("utf-8", "replace"))
    return version.group() if version else "unknown"


def run_program(program: str, arguments: Sequence[str], given: bytes = b"", hint: str = "") -> bytes:
    """What it writes to standard output, with `given` on its standard input; none of our secrets in its environment.

    EnvironmentFailed, with `hint` behind what it says, where it fails or takes longer than a minute.
    """
    found = find_program(program)
    if found is None:
        raise EnvironmentFailed(f"{program} is not installed on this machine")
    environment = bare_environment(OMP_THREAD_LIMIT="1")
    try:
        done = subprocess.run(
            [found, *arguments], input=given, capture_output=True, timeout=TIMEOUT_S, check=True, env=environment
        )
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.decode("utf-8", "replace").split())[:200]
        raise EnvironmentFailed(f"{program}: exit {error.returncode} ({said}){hint}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentFailed(f"{program}: {error}") from None
    return done.stdout
