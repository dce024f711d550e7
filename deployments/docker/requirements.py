"""Prints what pyproject.toml requires, with the groups of optional dependencies named as arguments: one requirement a line."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
groups = project["optional-dependencies"]
unknown = [name for name in sys.argv[1:] if name not in groups]
if unknown:
    sys.exit(f"EXTRAS: pyproject.toml has no group {', '.join(unknown)}; it has {', '.join(groups)}")
print("\n".join([*project["dependencies"], *(line for name in sys.argv[1:] for line in groups[name])]))
