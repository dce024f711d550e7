"""What README and docs/ give a reader to type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """Lines of one kind that belong together."""

    page: str
    line: int
    language: str
    """shell, or what a fence says; `output` for a fence that says nothing."""
    text: str

    @property
    def commands(self) -> list[str]:
        """Of shell: one for each command, continued lines joined."""
        return [line.strip() for line in re.sub(r"\\\n\s*", " ", self.text).splitlines() if line.strip()]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """Fenced blocks, and indented ones, which are shell."""
    held: list[str] = []
    language, start = "", 0
    for number, line in enumerate([*page.read_text(encoding="utf-8").splitlines(), ""], start=1):
        fence = line.strip().startswith("```")
        if language not in ("", "shell"):  # inside a fence
            if fence:
                yield Block(page.name, start, language, "\n".join(held))
                held, language = [], ""
            else:
                held.append(line)
        elif line.startswith("    ") and (language == "shell" or not held):
            language, start = "shell", start if held else number
            held.append(line)
        else:
            if held:
                yield Block(page.name, start, "shell", "\n".join(held))
                held, language = [], ""
            if fence:
                info = line.strip().removeprefix("```")
                language, start = {"": "output", "bash": "shell-fence", "sh": "shell-fence"}.get(info, info), number


def all_blocks(*languages: str) -> list[Block]:
    """Of every page."""
    return [block for page in PAGES for block in blocks_of(page) if block.language in languages]
