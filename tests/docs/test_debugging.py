"""docs/debugging.md, line by line, in a clean folder; and what it says of functions."""

from __future__ import annotations

import csv
import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.data import SMALL, write_learnable, write_picture
from tests.support.docs_pages import blocks_of
from tests.support.paths import ROOT
from tests.support.readers import Reader

PAGE = ROOT / "docs" / "debugging.md"
BREAK = re.compile(r"\| `([\w.]+)` \| (\S+) \|")


def test_a_breakpoint_is_told_for_each_stage_and_its_function_exists() -> None:
    named = BREAK.findall(PAGE.read_text())
    assert len(named) == 9
    for dotted, file in named:
        module, _, function = dotted.rpartition(".")
        found = getattr(importlib.import_module(module), function)
        assert callable(found)
        assert Path(found.__code__.co_filename) == ROOT / file


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_line_of_it_works(tmp_path: Path) -> None:
    write_picture(tmp_path / "picture.png", 1)
    shell = Reader(tmp_path).type
    run, row = _prepared(tmp_path, shell)
    tried = []
    for block in blocks_of(PAGE):
        if block.language == "python":
            (tmp_path / "block.py").write_text(block.text)
            shell("python block.py")
        for command in block.commands if block.language == "shell" else ():
            filled = re.sub(r"\b(RUN|OTHER)\b", run, command)
            if " --row " in command:
                filled = re.sub(r"--row \d+", f"--row {row}", filled)
            if command.startswith("python -m pdb"):
                assert re.search(r"> .*\(\d+\)(run_training|evaluate)\(\)", shell(filled, "where\nquit\n")), command
            elif "--install-completion" in command:
                shell(f"SHELL=/bin/bash _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 {filled} bash")
            else:
                shell(filled)
            tried.append(command)
    assert len(tried) >= 14


@pytest.mark.slow
def test_a_run_stops_at_each_breakpoint_of_the_table(tmp_path: Path) -> None:
    write_learnable(tmp_path / "photos", 60)
    named = [dotted for dotted, _ in BREAK.findall(PAGE.read_text()) if not dotted.startswith("tasks.monitor")]
    stops = " ".join(f'-c "import {dotted.rpartition(".")[0]}" -c "break {dotted}"' for dotted in named)
    settings = " ".join(f"--set {setting}" for setting in SMALL)
    command = (
        f"python -m pdb {stops} -c continue -m flows retrain --data photos/manifest.csv --plain --debug {settings}"
    )
    # Shards and tables are many; pdb begins anew at the end of a run, and is left there.
    output = Reader(tmp_path).type(command, "continue\n" * 40 + "quit\n")
    reached = set(re.findall(r"> \S*/((?:tasks|flows)/\S+)\.py\(\d+\)(\w+)\(\)", output))
    expected = {(dotted.rpartition(".")[0].replace(".", "/"), dotted.rpartition(".")[2]) for dotted in named}
    assert expected <= reached, f"{expected - reached}\n{output[-2000:]}"


def _prepared(folder: Path, shell: Callable[[str], str]) -> tuple[str, int]:
    """The id of a run, and the number of a row that it refused."""
    manifest = write_learnable(folder / "data", 60)
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[45]["image"] = "img/nowhere.png"
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    refused = """--set 'gate.rules=[{"metric": "accuracy", "min": 2}]'"""  # nothing to publish
    shell(f"crossmodal retrain --data data/manifest.csv --plain --set train.epochs=2 {refused}")
    (found,) = json.loads(shell("crossmodal runs list --json"))
    return found["run"], 47
