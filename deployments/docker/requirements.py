"""Prints what pyproject.toml requires, with the groups of optional dependencies named as arguments: one requirement a line.

`--only` before the groups leaves all else out.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
groups = project["optional-dependencies"]
only = sys.argv[1:2] == ["--only"]
names = sys.argv[2:] if only else sys.argv[1:]
unknown = [name for name in names if name not in groups]
if unknown:
    sys.exit(f"EXTRAS: pyproject.toml has no group {', '.join(unknown)}; it has {', '.join(groups)}")
print("\n".join([*([] if only else project["dependencies"]), *(line for name in names for line in groups[name])]))
