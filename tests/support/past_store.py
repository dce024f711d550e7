"""Writes tests/fixtures/past_store.tar.xz: a backup of the small store that another commit's code leaves.

    python tests/support/past_store.py COMMIT      # the commit of main before the one whose store must still be readable

It runs that commit's own program on 60 rows of a table: one model is published, and another, on which the gate cannot decide on
so few rows, is promoted by a person. Renew the fixture when the form of the store, of the registry or of a contract has changed
and a store of the form of before is no longer to be read.
No path, name or host of this machine is in it: all lies below a fixed folder, and what names the host is overwritten. What only
people read of a run is left out.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "tests/fixtures/past_store.tar.xz"
PLACE = Path("/tmp/crossmodal-past")
NAME = "past"
SETTINGS = (
    *("encoders.image=tiny", "encoders.text=tiny", "encoders.audio=tiny", "encoders.video=tiny"),
    *("name=past", "train.epochs=2", "train.batch_size=16", "train.threads=1", "fusion.embed_dim=8", "fusion.hidden=8"),
    *(
        'data.columns.tabular=["size"]',
        "runtime.workers=1",
        "media.timeout_s=600",
        "gate.margin=1",
        "gate.slice_alpha=0",
        "gate.min_rows=1",
    ),
    *("publish.challenger=inconclusive", 'gate.rules=[{"metric": "accuracy", "min": 0}]'),
)
PAGES = (
    *(
        "runs/*/*.html",
        "runs/*/*.svg",
        "runs/*/docs",
        "mlartifacts/*/*/artifacts/*.html",
        "mlartifacts/*/*/artifacts/*.svg",
    ),
    *("mlartifacts/*/*/artifacts/docs", "mlartifacts/*/*/artifacts/*.md"),
)
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 1, "lp": 2, "pb": 2}]
"""For weights, which are words of four bytes."""
RATES = (2e-12, 1e-12)
"""The learning rate of each of the two models: so low that few weights differ, and the archive holds the others once."""


def write_manifest(path: Path) -> Path:
    """60 rows of two classes with a number and a word each: a table, whose network is the smallest there is."""
    rows = [
        f"s{row},{('low', 'high')[row % 2]},{row * 7 % 61},{('red', 'blue', 'green')[row % 3]}" for row in range(60)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["id,label,size,shade", *rows]) + "\n", encoding="utf-8")
    return path


def retrain_arguments(manifest: Path, store: Path, rate: float) -> list[str]:
    """What the program is called with."""
    settings = [word for text in (*SETTINGS, f"train.learning_rate={rate}") for word in ("--set", text)]
    return ["retrain", "--data", str(manifest), "--plain", "--json", "--store", str(store), *settings]


def main() -> None:
    """Makes the fixture."""
    code, store, backup = PLACE / "code", PLACE / "store", PLACE / "backup"
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    subprocess.run(["git", "worktree", "add", "--detach", str(code), sys.argv[1]], cwd=ROOT, check=True)
    environment = {**os.environ, "LOGNAME": "somebody", "USER": "somebody", "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "flows", *arguments], cwd=code, env=environment, check=True)

    try:
        manifest = write_manifest(PLACE / "data/manifest.csv")
        for rate in RATES:
            run(*retrain_arguments(manifest, store, rate))
        run("models", "promote", NAME, "2", "--reason", "for the test", "--store", str(store))
        for path in store.glob("runs/*/run.json"):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "somewhere", "pid": 1}))
        for path in (path for pattern in PAGES for path in store.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run("backup", "--store", str(store), "--out", str(backup))
        FIXTURE.parent.mkdir(exist_ok=True)
        with lzma.open(FIXTURE, "wb", filters=FILTERS) as file, tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(backup, "backup", filter=_anonymous)
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(code)], cwd=ROOT, check=False)
        shutil.rmtree(PLACE, ignore_errors=True)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size / 1e3:.0f} kB")


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main()
