"""Data whose classes, texts, ids and file names are attacks on whatever shows them: HTML, Markdown, templates, tables, bidi."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.data import write_manifest

CLASSES = (
    "<script>alert(1)</script>",
    "</td></table><b onclick=alert(2)>bold",
    "[a](javascript:alert(3)) | pipe | `tick` {{7*7}} ![p](http://127.0.0.1:9/x.png)",
    "\u202eمرحبا بالعالم\u202c שלום",
    "W" * 200,
)
FILES = ("<img src=x onerror=alert(4)>.png", "a | b `c` [d](javascript:alert(5)) {{7*7}}.png", "\u202egnp.exe.png")


def write_hostile(folder: Path, rows: int = 150, seed: int = 0) -> Path:
    """A manifest of pictures whose colour is their class and whose text holds it; and three rows that are refused.

    Another `seed`: other rows of the same kind, under other ids.
    """
    rng, table = np.random.default_rng(seed), []
    hues = ((220, 30, 30), (30, 220, 30), (30, 30, 220), (220, 220, 30), (30, 220, 220))
    (folder / "files").mkdir(parents=True, exist_ok=True)
    for number in range(rows):
        kind = number % len(CLASSES)
        pixels = np.clip(np.array(hues[kind]) + rng.integers(-30, 30, (16, 16, 3)), 0, 255).astype(np.uint8)
        name = f"files/{number} {FILES[number % len(FILES)]}"
        Image.fromarray(pixels).save(folder / name, "PNG")
        split = "test" if number < rows // 3 else "val" if number < rows // 2 else "train"
        text = f"{CLASSES[kind]} is number {number}"
        table.append(
            {
                "id": f"{seed} {number} {CLASSES[kind]}",
                "image": name,
                "text": text,
                "label": CLASSES[kind],
                "split": split,
            }
        )
    for number, name in enumerate(FILES):
        (folder / "files" / name).write_bytes(b"not a picture")
        table.append(
            {
                "id": f"{seed} refused {number} {name}",
                "image": f"files/{name}",
                "text": "",
                "label": CLASSES[0],
                "split": "train",
            }
        )
    return write_manifest(folder / "manifest.csv", table)


HOSTILE_NAMES = (
    "../../escaped",
    "=cmd|'/c calc'!A1",
    "<script>alert(1)</script>",
    "{{7*7}} {% for x in y %} ${7*7} $value",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J",
    "\u202egnp.exe\u202c\u200b\u2066",
    "[link](http://127.0.0.1:9/x) ![p](http://127.0.0.1:9/y.png)",
    "[bold]rich[/bold] :smile: [/]",
    "a | b\n| c |\r\nd",
    "latest",
    "L" * 5000,
)


def bare(text: str) -> set[str]:
    """The characters of a text that a terminal acts on or that cannot be seen."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t"}


LABELS = (
    "<script>alert(1)</script>",
    "=cmd|'/c calc'!A1",
    "\x1b[31mred\x1b]0;t\x07 \u202e[x](http://127.0.0.1:9/)`{{7*7}}`",
)
"""Short enough to be classes."""
