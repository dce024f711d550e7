"""Hostile labels, ids and paths: every escaper by value, and every sink that can be called on its own.

test_run.py (slow) puts the same names through a whole run.
"""

from __future__ import annotations

import ast
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data_contracts.refs import RuleResult
from data_contracts.run_summary import RunSummary
from tasks import escaping
from tasks.errors import UsageError
from tasks.publish.model_names import check_alias, check_model_name
from tests.support.data import write_manifest
from tests.support.hostile import HOSTILE_NAMES, LABELS, bare
from tests.support.paths import ROOT


def test_a_refused_manifest_is_told_in_one_inert_line(tmp_path: Path) -> None:
    rows = [{"\x1b[31mid\u202e": "a", "label": "x"}]
    manifest = write_manifest(tmp_path / "a\x1b]0;t\x07[bold].csv", rows)
    command = [sys.executable, "-m", "flows", "check", str(manifest), "--json", "--store", str(tmp_path / "store")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 3
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "⟨U+001B⟩[31mid⟨U+202E⟩" in errors[0]
    assert "[bold].csv" in errors[0]
    assert bare(done.stdout + done.stderr) == set()
    assert "\x1b[31mid\u202e" in json.loads(done.stdout.splitlines()[-1])["error"]


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "", ".", "..", "-x", "a/b", "a\\b", "x" * 101, "a\n"])
def test_a_model_or_alias_of_that_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_alias(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    if name != "latest":  # a model may be called so: it is no version
        with pytest.raises(UsageError) as caught:
            check_model_name(name)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_each_escaper(name: str) -> None:
    for escape in (
        escaping.visible,
        escaping.one_line,
        escaping.html_text,
        escaping.markdown_text,
        escaping.spreadsheet_cell,
    ):
        assert bare(escape(name)) == set()
    assert "\n" not in escaping.one_line(name) + escaping.markdown_text(name) + escaping.json_text(name)
    assert len(escaping.one_line(name)) <= escaping.LONGEST
    assert "<" not in escaping.html_text(name) + escaping.markdown_text(name)
    assert json.loads(escaping.json_text({name: [name]})) == {name: [name]}
    assert bare(escaping.json_text(name)) == set()


@pytest.mark.parametrize(
    "name",
    [
        *HOSTILE_NAMES,
        *(
            "*a* __b__ `c` ~~d~~ $e$",
            "# h",
            "- l",
            "1. l",
            "> q",
            "==",
            "&lt;b&gt; &#60;",
            "\\<b>",
            "\\`x`",
            "[a][b]",
            "[a]: http://x",
        ),
        *("<http://x>", "www.x.y", "mailto:a@b.c", "![i](x)", "a_b_c __init__ _x_", "a|b"),
    ],
)
def test_markdown_renders_as_the_text_itself(name: str) -> None:
    from markdown_it import MarkdownIt

    rendered = MarkdownIt("gfm-like", {"linkify": False}).render(escaping.markdown_text(name))
    text = html.unescape(rendered.removeprefix("<p>").removesuffix("</p>\n"))
    assert text == escaping.one_line(name).strip()
    table = MarkdownIt("commonmark").enable("table").render(f"|a|b|\n|-|-|\n|{escaping.markdown_text(name)}|end|\n")
    assert re.sub(r"\s", "", table).endswith("<td>end</td></tr></tbody></table>")
    assert not re.search(r"(?i)\b(https?|ftp|file)://|\bwww\.", escaping.markdown_text(name))


def test_what_reads_well_stays_as_it_is() -> None:
    for text in ("Zażółć gęślą jaźń", "猫と犬", "café", "a, b; c: d", "naïve (2)"):
        for escape in (
            escaping.visible,
            escaping.one_line,
            escaping.html_text,
            escaping.spreadsheet_cell,
            escaping.markdown_text,
        ):
            assert escape(text) == text
    output = "promoted: accuracy 0.900 [0.800, 1.000] > majority share 0.500; macro_f1 0.900 >= 0.8 - no champion"
    assert escaping.markdown_text(output) == output


def test_prefect_artifacts_show_names_as_themselves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from flows import artifacts

    left: list[Any] = []
    for kind in ("create_markdown_artifact", "create_table_artifact"):
        monkeypatch.setattr(artifacts, kind, lambda content, **more: left.append((content, more)))

    rule = RuleResult(
        rule=LABELS[2],
        metric="accuracy",
        value=0.5,
        threshold=None,
        baseline=LABELS[1],
        n=1,
        outcome="fail",
        detail=LABELS[0],
    )

    class Verdict:
        rules = (rule,)
        reason = LABELS[0] + LABELS[2]

    class SoFar:
        clean = None
        report = None
        verdict = Verdict()
        test_uses = None

    class Request:
        name = "latest"
        store = type("Store", (), {"root": tmp_path})

    summary = RunSummary(verdict="reject", reason=LABELS[0] + LABELS[2], report="runs/x/report.html")
    artifacts.leave_artifacts(Request(), SoFar(), summary)  # type: ignore[arg-type]
    text = json.dumps(left, ensure_ascii=False)
    assert bare(text) == set()
    markdown = left[0][0] + left[-1][1]["description"]
    assert "<script" not in markdown
    assert "](http" not in markdown


FORBIDDEN = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {("torch", "load"), ("torch", "save"), ("pd", "read_pickle"), ("yaml", "load")}


def test_nothing_of_ours_imports_pickle_or_loads_one() -> None:
    sources = [
        path for folder in ("tasks", "flows", "data_contracts", "deployments") for path in (ROOT / folder).rglob("*.py")
    ]
    assert len(sources) > 50
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not FORBIDDEN & {name.split(".")[0] for name in imported}, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in FORBIDDEN_CALLS, path
            if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "trust_remote_code"):
                assert isinstance(node.value, ast.Constant), path
                assert node.value.value is False, path
