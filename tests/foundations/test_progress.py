"""Progress: listeners hear what is reported while they listen."""

from __future__ import annotations

import contextlib

from tasks import progress


def test_a_listener_hears_reports_only_inside_its_block() -> None:
    heard: list[tuple[str, int, int, str]] = []
    progress.report("before", 1, 2)
    with contextlib.suppress(ValueError), progress.listening(lambda *event: heard.append(event)):
        progress.report("scan", 1, 2, "half")
        raise ValueError
    progress.report("after", 2, 2)
    assert heard == [("scan", 1, 2, "half")]
