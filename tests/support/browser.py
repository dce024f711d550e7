"""A real browser for tests: the system's Chromium, headless. What has none is skipped with a reason, but not in CI."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

WAIT_MS = 600_000
"""Beyond any machine's slowness."""


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A started browser of playwright's; it ends with the block."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        reason = "no Chromium on the PATH (Debian: apt-get install chromium)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without a GPU, pages that draw by WebGL (the graph of a run) need the one made of software.
        flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        started = playwright.chromium.launch(executable_path=program, args=flags)
        try:
            yield started
        finally:
            started.close()
