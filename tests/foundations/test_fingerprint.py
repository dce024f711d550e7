"""Code fingerprints: what changes them, what does not, and that taking one imports nothing."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import fingerprint
from tasks.fingerprint import code_fingerprint
from tasks.stage_code import STAGES, StageCode
from tests.support.imports import ROOT

DEMO = """
'''What it is.'''
from tasks import progress
from tasks.errors import DataError
from tasks.media.canonical import Undecodable
from tasks.progress import note

WIDTH = 3
"""
CHECK = """
def check(rows: list[int]) -> int:
    '''What is true.'''
    progress.report("check", 1, 2, "half done")
    if len(rows) > WIDTH:
        raise DataError(f"{len(rows)} rows; the limit is {WIDTH}")
    if not rows:
        raise ValueError("no rows", note("none at all"))
    if min(rows) < 0:
        raise Undecodable("negative", "below zero")
    return int(len(rows)), note(f"{len(rows)} rows were read")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tasks" / "demo"
    (folder / "inner").mkdir(parents=True)
    (folder / "first.py").write_text(DEMO + CHECK)
    (folder / "second.py").write_text("from tasks.demo.first import WIDTH\n")
    (folder / "inner/third.py").write_text("THREE = 3\n")
    (folder / "inner/task.py").write_text("NAME = 'third'\n")
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path)
    demo = StageCode(version=1, root="tasks.demo.first", modules=("tasks.demo.first", "tasks.demo.inner.*"))
    monkeypatch.setitem(STAGES, "demo", demo)
    return folder


def _print(*stages: str) -> str:
    code_fingerprint.cache_clear()
    try:
        return code_fingerprint(*(stages or ("demo",)))
    finally:
        code_fingerprint.cache_clear()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("WIDTH = 3", "# why\n\nWIDTH = 3"),
        ("What it is.", "What it was."),
        ("What is true.", "In other words."),
        ("rows; the limit is {WIDTH}", "rows are too many: {WIDTH} is the limit, see {rows}"),
        ('"no rows", ', '"there are none", 7, '),
        ("{len(rows)} rows were read", "read {len(rows)} rows"),
        ('    progress.report("check", 1, 2, "half done")\n', ""),
        ('"half done"', '"half of it is done"'),
        ("rows: list[int]) -> int", "rows: Sequence[int]) -> float"),
    ],
)
def test_other_words_leave_it_the_same(package: Path, old: str, new: str) -> None:
    before = _print()
    text = (package / "first.py").read_text()
    assert old in text
    (package / "first.py").write_text(text.replace(old, new))
    assert _print() == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("first.py", "WIDTH = 3", "WIDTH = 4"),
        ("first.py", "> WIDTH", ">= WIDTH"),
        ("first.py", "int(len(rows))", "int(len(rows) + 1)"),
        ("first.py", "raise ValueError", "raise TypeError"),
        ("first.py", '"negative"', '"minus"'),  # a reason code is a result
        ("first.py", "if not rows:\n        raise", "if rows is None:\n        raise"),
        ("inner/third.py", "THREE = 3", "THREE = 33"),
    ],
)
def test_a_changed_constant_or_condition_in_a_listed_module_changes_it(
    package: Path, file: str, old: str, new: str
) -> None:
    before = _print()
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    assert _print() != before


def test_what_is_on_no_list_and_what_only_wraps_do_not_count(package: Path) -> None:
    before = _print()
    (package / "second.py").write_text("WIDTH = 11\n")
    (package / "inner/task.py").write_text("NAME = 'other'\n")
    assert _print() == before
    (package / "inner/fourth.py").write_text("FOUR = 4\n")
    assert _print() != before


def test_a_listed_module_that_is_gone_is_an_error(package: Path) -> None:
    (package / "first.py").unlink()
    with pytest.raises(FileNotFoundError, match="first"):
        _print()


def test_the_version_counts(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _print()
    monkeypatch.setitem(STAGES, "demo", StageCode(version=2, root="", modules=STAGES["demo"].modules))
    assert _print() != before


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("tasks/train/trainer.py", "passed through in halves", "cut in halves", []),
        ("tasks/modeling/pretrained/locate.py", "encoder {encoder}", "the encoder {encoder}", []),
        ("tasks/train/dataset.py", "there are no rows in the {split} split", "{split} is empty", []),
        ("tasks/train/stage.py", 'progress.report("train",', 'progress.report("training",', []),
        ("tasks/train/worker.py", "the GPU's memory does not suffice", "out of the GPU's memory", []),
        (
            "tasks/modeling/encoders.py",
            "DROPOUT = 0.1",
            "DROPOUT = 0.2",
            ["blend", "compare", "compress", "evaluate", "explain", "monitor", "paired_losses", "train"],
        ),
        ("tasks/gate/comparison.py", "    if low > 0:", "    if low >= 0:", ["gate"]),
        ("tasks/ingest/splits.py", "def assign_splits(", "def assign_splits(_, ", ["ingest"]),
    ],
)
def test_in_the_product_other_words_retrain_nothing_and_a_constant_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, changed: list[str]
) -> None:
    for folder in ("tasks", "data_contracts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path)
    before = {stage: _print(stage) for stage in STAGES}
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    assert [stage for stage in sorted(STAGES) if _print(stage) != before[stage]] == changed


def test_a_library_version_counts() -> None:
    assert code_fingerprint("media") != code_fingerprint("media", libraries=("numpy",))


def test_taking_a_fingerprint_imports_nothing() -> None:
    code = (
        "import sys\nfrom tasks.fingerprint import code_fingerprint\n"
        "code_fingerprint('media', 'digits', 'train', modules=('tasks.media.worker',))\n"
        "print(sorted({'PIL', 'soundfile', 'torch', 'sklearn', 'prefect', 'tasks.media.worker'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("harm", [b"", b"[1]", b"{"], ids=["intact", "another form", "cut"])
def test_what_a_store_keeps_of_source_texts_spares_parsing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: bytes
) -> None:
    def fingerprint_by(parse: Callable[..., ast.AST]) -> str:
        monkeypatch.setattr(fingerprint, "_kept", fingerprint._Kept())
        monkeypatch.setattr(ast, "parse", parse)
        fingerprint.keep_digests(tmp_path)
        return fingerprint.code_fingerprint.__wrapped__("gate")

    texts: list[str] = []
    parse = ast.parse

    def noted(text: str) -> ast.AST:
        texts.append(text)
        return parse(text)

    first = fingerprint_by(parse)
    (kept,) = tmp_path.glob("work/code-*.json")
    kept.write_bytes(harm or kept.read_bytes())
    assert fingerprint_by(noted) == first
    assert bool(texts) == bool(harm)
