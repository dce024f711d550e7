"""Every command in README and docs/ is one that this program takes; the rest is named here with where it is tried."""

from __future__ import annotations

import importlib.util
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from flows.cli import make_app
from tasks.config import RunConfig, known_keys, load_config
from tests.support.docs_pages import PAGES, Block, all_blocks, blocks_of
from tests.support.paths import ROOT

SHELL = all_blocks("shell", "shell-fence")
ELSEWHERE = {
    r"make (demo|test|test-slow|lint|bench|docs|mutants)\b": "the Makefile: CI calls it",
    r"python3 -m venv ": "what make does",
    r"\.venv/bin/python -m pip install ": "what make does",
    r"python deployments/docker/requirements\.py ": "tests/deployments/test_hosting_files.py",
    r"pip install ": "an installation; what it needs is tried in tests/stages/publish/test_release.py",
    r"\.venv/bin/mutmut ": "the Makefile: docs/mutations.md",
    r"source \.venv/bin/activate": "of the shell",
    r"export \w+=": "of the shell",
    r"(prefect|mlflow) ": "needs servers: tests/deployments",
    r"ray start ": "tests/support/ray_nodes.py starts the nodes of tests/e2e/test_on_ray.py by it",
    r"curl ": "needs a server: tests/flows/test_pretrained.py loads the same model",
    r"\(?(umask|echo|cd|openssl) ": "of the shell",
    r"(sudo|sudoedit|docker|kubectl|kustomize|pg_dump|pg_restore|createdb) ": "of the host: tests/deployments",
    r"[A-Z_]+=\S+ (prefect|docker) ": "needs a server: tests/deployments",
}
"""Commands that are not ours: pattern to why they are not tried here."""
OURS = re.compile(r"(?:\.venv/bin/)?crossmodal\s+(.*)|python -m (?:pdb .*?-m )?(flows) (.*)")


def ours_of(command: str) -> list[str] | None:
    """The arguments of a call of crossmodal; None for another program."""
    found = OURS.match(re.sub(r"\s+(#|[<>] ?\S).*", "", command))  # without a comment or a redirection
    if found is None:
        return None
    return shlex.split((found[1] or found[3]).removeprefix("flows "))


def check_arguments(arguments: list[str]) -> None:
    """Raises what typer raises where the program would not take them."""
    command: Any = get_command(make_app())
    context = command.make_context("crossmodal", list(arguments))
    while getattr(command, "commands", None) and (rest := [*context._protected_args, *context.args]):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_every_command_is_one_that_there_is(block: Block) -> None:
    for command in block.commands:
        arguments = ours_of(command)
        if arguments is not None or command.startswith("--set "):
            words = shlex.split(re.sub(r"\s+#.*", "", command))
            load_config({}, [value for flag, value in pairwise(words) if flag == "--set"])
        if command.startswith("--set "):
            continue  # to be added to a command
        if arguments is None:
            module = re.match(r"python -m ([\w.]+)", command)
            if module is not None and module[1] != "pdb":
                assert importlib.util.find_spec(module[1]) is not None, command
                continue
            assert command.startswith(("#", "(Pdb)")) or any(re.match(known, command) for known in ELSEWHERE), (
                f"{block}: {command!r} is neither ours nor named in ELSEWHERE with where it is tried"
            )
            continue
        if "|" in arguments:  # `models list | show | history`: each of them is a command
            group: Any = get_command(make_app()).commands[arguments[0]]  # type: ignore[attr-defined]
            assert {part for part in arguments[1:] if part != "|"} <= set(group.commands), command
            continue
        if arguments and arguments[0].startswith("--"):
            assert arguments[0] in {name for parameter in get_command(make_app()).params for name in parameter.opts}, (
                command
            )
            continue
        check_arguments(arguments)


def test_there_are_commands_and_a_wrong_one_is_noticed() -> None:
    assert sum(ours_of(command) is not None for block in SHELL for command in block.commands) >= 20
    for wrong in (
        ["retrain", "--profil", "digits"],
        ["run-stage"],
        ["runs", "shw", "x"],
        ["retrain", "--json", "true"],
    ):
        with pytest.raises(Exception, match=r".") as caught:
            check_arguments(wrong)
        assert type(caught.value).__module__.startswith("typer")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_within_sentences_are_ones_that_there_are(page: Path) -> None:
    commands: Any = get_command(make_app()).commands  # type: ignore[attr-defined]
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for name, rest in re.findall(r"`crossmodal ([a-z][a-z-]*)([^`\n]*)`", text):
        assert name in commands, f"{page.name}: crossmodal {name}"
        flags = re.findall(r"(?<=\s)--[a-z][a-z-]*", rest)
        inner = commands[name]
        word = re.match(r"\s+([a-z][a-z-]*)", rest)
        if hasattr(inner, "commands") and word:
            assert word[1] in inner.commands, f"{page.name}: crossmodal {name} {word[1]}"
            inner = inner.commands[word[1]]
        taken = [inner, *getattr(inner, "commands", {}).values()]  # `schedule PROFILE` goes without a word for it
        known = {opt for one in taken for parameter in one.params for opt in parameter.opts} | {"--help"}
        assert set(flags) <= known, f"{page.name}: crossmodal {name}{rest}"


KEYS = set(known_keys(RunConfig))
SHOWN_WRONG = {"train.epoch"}
"""Examples of what is refused."""
SECTIONS = {key.split(".")[0] for key in KEYS if "." in key}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "decisions.md"], ids=lambda page: page.name)
def test_the_settings_that_are_named_exist(page: Path) -> None:
    """`train.epochs`, also inside --set. decisions.md tells of what was, too."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?:`|--set '?)((?:" + "|".join(SECTIONS) + r")(?:\.[a-z_]+)+)", text)
    wrong = [key for key in named if key not in KEYS and not any(known.startswith(f"{key}.") for known in KEYS)]
    wrong = [key for key in wrong if key not in SHOWN_WRONG]
    assert [key for key in wrong if not (ROOT / key.replace(".", "/")).exists() and not _is_code(key)] == []


def _is_code(dotted: str) -> bool:
    """`train.py`, or a file that a run leaves: not a key."""
    return dotted.rpartition(".")[2] in ("py", "json", "csv", "parquet", "toml", "jsonl", "zip", "tsv")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{page.name}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_the_blocks_are_found_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n\n    one \\\n      more\n    two\n\n```python\nx = 1\n```\n```\nout\n```\n```bash\nls\n```\n")
    found = [(block.language, block.line, block.text) for block in blocks_of(page)]
    assert found == [
        ("shell", 3, "    one \\\n      more\n    two"),
        ("python", 7, "x = 1"),
        ("output", 10, "out"),
        ("shell-fence", 13, "ls"),
    ]
