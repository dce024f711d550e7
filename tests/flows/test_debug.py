"""`--debug` shows where an error came from, and nothing that a terminal would act on."""

from __future__ import annotations

import bdb
import sys

import pytest

from flows.cli import run
from tasks.errors import DataError
from tests.support.hostile import bare

HOSTILE = "label \x1b[31mred\x1b]0;title\x07 \u202egnp\x9b2J"


def _fail() -> None:
    raise DataError(f"the data broke: {HOSTILE}")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_traceback_is_inert_and_the_exit_status_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    assert run(_fail, as_json, debug=True) == 3
    captured = capsys.readouterr()
    assert "Traceback (most recent call last)" in captured.err
    assert "in _fail" in captured.err
    assert "⟨U+001B⟩[31mred" in captured.err
    assert bare(captured.err) == bare(captured.out) == set()
    assert bool(captured.out) == as_json


def test_under_a_debugger_it_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "gettrace", lambda: print)
    with pytest.raises(DataError):
        run(_fail, False, debug=True)


def test_quitting_the_debugger_is_no_error_of_the_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise bdb.BdbQuit

    monkeypatch.setattr(sys, "gettrace", lambda: None)  # pdb has taken it off by then
    with pytest.raises(bdb.BdbQuit):
        run(stop, False, debug=True)
    assert capsys.readouterr().err == ""
