"""A whole run whose classes, ids and paths are attacks: what it leaves is inert, and none of it is a pickle.

One small run, made once, in a process of its own.
"""

from __future__ import annotations

import csv
import json
import os
import pickletools
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.data import write_manifest
from tests.support.hostile import HOSTILE_NAMES, LABELS, bare
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow
SETTINGS = (
    "encoders.image=tiny",
    "train.epochs=6", "train.batch_size=16", "train.learning_rate=0.003", "train.threads=1", "runtime.workers=1",
    "data.max_quarantined=1", "encoders.text=off", "encoders.audio=off",
)  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """What the run left."""

    store: Path
    out: str
    err: str
    status: int


def write_hostile_data(folder: Path) -> Path:
    """Pictures whose colour is their class; 24 of each in train, 6 in val, 9 in test. Then rows that are refused."""
    rng, rows = np.random.default_rng(0), []
    for number in range(117):
        kind = number % 3
        pixels = rng.integers(0, 100, (20, 20, 3), dtype=np.uint8)
        pixels[..., kind] += 150
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        split = "test" if number < 27 else "val" if number < 45 else "train"
        start = HOSTILE_NAMES[number % 9]
        rows.append({"id": f"{start} {number}", "image": f"{number}.png", "label": LABELS[kind], "split": split})
    for number, name in enumerate(HOSTILE_NAMES):
        rows.append({"id": f"{name}{number}", "image": f"{name}.png", "label": name, "split": "train"})
        rows.append({"id": f"ok{number}", "image": "0.png", "label": "L" * 5000, "split": name})
    return write_manifest(folder / "manifest.csv", rows)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    place = tmp_path_factory.mktemp("hostile")
    manifest = write_hostile_data(place / "latest")
    command = [sys.executable, "-m", "flows", "retrain", "--plain", "--json", "--data", str(manifest)]
    command += ["--store", str(place / "store"), *(part for value in SETTINGS for part in ("--set", value))]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "CROSSMODAL_"))}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, env=environment, check=False)
    assert {path.name for path in place.iterdir()} == {"latest", "store"}
    return Ran(place / "store", done.stdout, done.stderr, done.returncode)


def test_the_run_publishes_and_its_lines_are_inert(ran: Ran) -> None:
    assert ran.status == 0, ran.err
    summary = json.loads(ran.out.splitlines()[-1])
    assert summary["verdict"] == "promote", summary["reason"]
    assert summary["model"]["name"] == "latest"
    assert summary["rows"]["used"] == 117
    assert bare(ran.out + ran.err) == set()
    assert all(bare(path.name) == set() for path in ran.store.rglob("*"))


def test_the_quarantine_is_inert_in_a_spreadsheet(ran: Ran) -> None:
    tables = list(ran.store.glob("runs/*/quarantine.csv"))
    assert len(tables) == 1
    with tables[0].open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + 2 * len(HOSTILE_NAMES)
    cells = [cell for row in rows for cell in row]
    assert any(cell.startswith("'=cmd") for cell in cells)
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))]
    assert bare("".join(cells)) == set()


class Page(HTMLParser):
    """Collects what a page would run or load, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag] * (tag in {"script", "iframe", "object", "embed", "base", "link", "form"})
        for name, value in attrs:
            if name.startswith("on") or (
                name in {"src", "href"} and re.match(r"(?i)\s*(javascript|https?|//)", value or "")
            ):
                self.found.append(f"{name}={value}")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_pages_run_and_load_nothing_and_hide_nothing(ran: Ran) -> None:
    pages = [path for path in ran.store.rglob("*.html") if "trash" not in path.parts]
    assert {"report.html", "index.html", "samples.html"} <= {path.name for path in pages}
    seen = ""
    for path in pages:
        source = path.read_text(encoding="utf-8")
        page = Page()
        page.feed(source)
        assert page.found == [], path
        assert bare(source) == set(), path
        seen += page.text if path.name == "report.html" else ""
    assert "<script>alert(1)</script>" in seen
    assert "⟨U+001B⟩[31mred" in seen
    assert "{{7*7}}" in seen


def test_the_model_card_renders_names_as_themselves(ran: Ran) -> None:
    cards = [path for path in ran.store.rglob("README.md") if "mlartifacts" in path.parts]
    assert len(cards) >= 1
    for card in cards:
        text = card.read_text(encoding="utf-8")
        assert "<script" not in text
        assert "&lt;script>alert" in text
        assert "](http" not in text
        assert bare(text) == set()


# -- no pickle ---


def is_pickle(data: bytes) -> bool:
    """True for a pickle of protocol 2 or later, and for anything that parses as one of an older protocol, whole."""
    if data[:1] == b"\x80" and data[1:2] <= b"\x05" and data[-1:] == b".":
        return True
    if not data.endswith(b"."):
        return False
    try:
        operations = [operation.name for operation, _, _ in pickletools.genops(data[:100_000])]
    except (ValueError, IndexError, UnicodeDecodeError):
        return False
    return operations[-1:] == ["STOP"]


def holds_pickle(path: Path) -> bool:
    """True for a file that is a pickle, or an archive with one in it (torch's data.pkl, joblib's, NumPy's objects)."""
    data = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(is_pickle(archive.read(name)) or name.endswith(".pkl") for name in archive.namelist())
    return (
        is_pickle(data)
        or path.suffix in {".pkl", ".pickle", ".pt", ".pth", ".joblib"}
        or b"'descr': '|O'" in data[:200]
    )


def test_no_file_that_a_run_leaves_is_a_pickle(ran: Ran) -> None:
    files = [path for path in ran.store.rglob("*") if path.is_file()]
    assert {"model.safetensors", "mlflow.db", "report.html", "MLmodel"} <= {path.name for path in files}
    assert [path for path in files if holds_pickle(path)] == []


def test_what_tells_pickles_finds_them(tmp_path: Path) -> None:
    import pickle  # noqa: TID251 - to make what must be found

    for protocol in range(6):
        path = tmp_path / f"{protocol}.bin"
        path.write_bytes(pickle.dumps({"a": [1, 2]}, protocol))
        assert holds_pickle(path)
    with zipfile.ZipFile(tmp_path / "model.bin", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps([1]))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert holds_pickle(tmp_path / "model.bin")
    assert holds_pickle(tmp_path / "objects.npy")
