"""The README's "Your own data" and "Studies", typed as it stands, in a clean folder with data of that name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.data import write_learnable
from tests.support.docs_pages import blocks_of
from tests.support.paths import ROOT
from tests.support.readers import Reader

ELSEWHERE = tuple(f"crossmodal {name}" for name in ("fetch", "serve", "tune", "compare", "compress", "translate"))
"""The first goes to the network, the second runs until it is ended, the others train or evaluate many models:
tests/stages/modeling/pretrained/test_fetch.py, tests/e2e/test_serve.py and tests/flows/test_NAME.py try them."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_for_own_data_work_in_their_order(tmp_path: Path) -> None:
    write_learnable(tmp_path / "photos", 80)
    shutil.copytree(tmp_path / "photos", tmp_path, dirs_exist_ok=True)
    (tmp_path / "manifest.csv").rename(tmp_path / "new.csv")
    ours = ("PREFECT_", "MLFLOW_", "CROSSMODAL_")
    reader = Reader(tmp_path, {name: value for name, value in os.environ.items() if not name.startswith(ours)})
    blocks = [
        block
        for block in blocks_of(ROOT / "README.md")
        if re.search(r"photos/manifest\.csv|explain +photos", block.text)
    ]
    tried = []
    for command in (command for block in blocks for command in block.commands):
        if re.sub(r"\s+", " ", command).startswith(ELSEWHERE):
            continue
        typed = command.partition(" | ")[0]  # `models list | show | …` are several
        reader.type(typed)
        tried.append(typed.split()[1])
    assert (
        " ".join(tried) == "check check audit profile plan retrain predict monitor score gate runs models audit explain"
    )
    assert (tmp_path / "predictions.csv").is_file()
    (spoken,) = re.findall(r"`(crossmodal\.load\([^`]+)`", (ROOT / "README.md").read_text())
    code = f"import crossmodal; assert len({spoken}) == 80"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=reader.environment, check=True)
