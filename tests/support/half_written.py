"""A SQLite database whose writer was killed in a transaction: its journal has yet to take back what was written."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

_WRITE = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # pages go to the file before the transaction ends
connection.execute("BEGIN IMMEDIATE")
connection.execute(sys.argv[2])
connection.execute("CREATE TABLE much (cell BLOB)")
connection.executemany("INSERT INTO much VALUES (?)", [(bytes(4000),)] * 100)
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_in_transaction(database: Path, statement: str) -> None:
    """Of the statement, which must be taken back, pages are in the file, and in the journal what was there before."""
    done = subprocess.run([sys.executable, "-c", _WRITE, str(database), statement], check=False)
    assert done.returncode == -signal.SIGKILL
    assert database.with_name(f"{database.name}-journal").stat().st_size > 0
