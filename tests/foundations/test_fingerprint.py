"""Code fingerprints: what changes them, what does not, and that taking one imports nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasks import fingerprint
from tasks.fingerprint import code_fingerprint


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tasks" / "demo"
    folder.mkdir(parents=True)
    (tmp_path / "tasks/__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "first.py").write_text("from tasks.demo.second import two\nONE = 1\n")
    (folder / "second.py").write_text('def two():\n    """Two."""\n    return 2\n')
    (folder / "third.py").write_text("THREE = 3\n")
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path)
    return folder


def _print() -> str:
    code_fingerprint.cache_clear()
    try:
        return code_fingerprint("tasks.demo.first")
    finally:
        code_fingerprint.cache_clear()


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("first.py", "from tasks.demo.second import two\n# why\n\nONE = 1\n", False),
        ("second.py", 'def two():\n    """Other words."""\n    return 2\n', False),
        ("third.py", "THREE = 4\n", False),
        ("first.py", "from tasks.demo.second import two\nONE = 11\n", True),
        ("second.py", "def two():\n    return 3\n", True),
        ("first.py", "def f():\n    import tasks.demo.third\n", True),
    ],
)
def test_only_code_that_is_used_counts(package: Path, file: str, text: str, changes: bool) -> None:
    before = _print()
    (package / file).write_text(text)
    assert (_print() != before) is changes


def test_what_an_import_imports_counts(package: Path) -> None:
    (package / "second.py").write_text("from tasks.demo.third import THREE as two\n")
    (package / "third.py").write_text("from tasks.demo import fourth\nTHREE = fourth.FOUR\n")
    (package / "fourth.py").write_text("FOUR = 4\n")
    before = _print()
    (package / "fourth.py").write_text("FOUR = 5\n")
    assert _print() != before


def test_a_library_version_counts() -> None:
    assert code_fingerprint("tasks.media.text") != code_fingerprint("tasks.media.text", libraries=("numpy",))


def test_taking_a_fingerprint_imports_nothing() -> None:
    code = (
        "import sys\nfrom tasks.fingerprint import code_fingerprint\n"
        "code_fingerprint('tasks.media.worker', 'tasks.ingest.sources.digits', 'tasks.modeling.encoders')\n"
        "print(sorted({'PIL', 'soundfile', 'torch', 'sklearn', 'prefect', 'tasks.media.worker'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
