"""A reader of the docs, who types what stands there: in a clean folder, with the programs of this environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """Types commands in a folder that is their home, too."""

    folder: Path
    inherited: Mapping[str, str] = field(default_factory=dict)
    """What the environment holds besides."""

    @property
    def environment(self) -> dict[str, str]:
        """Of every command."""
        return {
            **self.inherited,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "OMP_NUM_THREADS": "1",
        }

    def type(self, command: str, typed: str = "") -> str:
        """What the command prints, `given` on its stdin; it must succeed."""
        done = subprocess.run(
            ["bash", "-c", command],
            input=typed,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout
