"""Loading the flows and the command line is cheap, and the house's size rules hold."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.tables import media_schema

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "torchvision", "transformers", "great_expectations", "mlflow", "accelerate", "sklearn", "matplotlib"}
OWN = {"crossmodal", "data_contracts", "tasks", "flows", "deployments"}
BESIDE_PREFECT = {
    "flows.retrain": {"numpy", "pyarrow"},
    "flows.cli": {"typer", "shellingham", "annotated_doc"},
    "crossmodal": {"numpy", "pyarrow"},
}
PRODUCT = [
    path
    for name in ("data_contracts", "tasks", "flows", "deployments", "benchmarks")
    for path in (ROOT / name).rglob("*.py")
]


def modules_after(statement: str) -> set[str]:
    code = f"import json, sys; {statement}; print(json.dumps(sorted(m for m in sys.modules if '.' not in m)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["flows.retrain", "flows.cli", "crossmodal"])
def test_loading_imports_nothing_heavy(module: str) -> None:
    assert modules_after(f"import {module}") & HEAVY == set()


def test_planning_and_the_command_line_load_no_prefect() -> None:
    assert "prefect" not in modules_after("import flows.cli, flows.plan")


def test_rows_are_looked_for_among_stored_parts_without_pandas(tmp_path: Path) -> None:
    """pyarrow imports it where an array is made of anything but buffers: a third of what a plan takes."""
    path, digests = tmp_path / "part.parquet", ["0" * 64, "1" * 64, None]
    rows = [{"source": "2" * 64, "digest": digest} for digest in digests]
    pq.write_table(pa.Table.from_pylist(rows, schema=media_schema()), path)
    looked = (
        "from pathlib import Path; from tasks.part_index import digest_array, read_tables_among; "
        f"found = list(read_tables_among([Path({str(path)!r})], ['digest'], digest_array(['1' * 64, '2' * 64]))); "
        "assert [table['digest'].to_pylist() for table in found] == [['1' * 64]]"
    )
    assert "pandas" not in modules_after(looked)


def test_where_there_can_be_no_gpu_a_run_in_prefect_does_not_ask_torch() -> None:
    """Importing it takes seconds, in the process that only orchestrates."""
    asked = (
        "from flows.prefect_stages import uses_gpu; from tasks.config import load_config; uses_gpu(load_config({}, []))"
    )
    assert "torch" not in modules_after(f"from tasks import devices; devices.NODES = (); {asked}")


@pytest.mark.parametrize("module", BESIDE_PREFECT)
def test_loading_imports_these_libraries_beside_prefects_and_no_other(module: str) -> None:
    """What that takes is measured by benchmarks/loading.py."""
    added = (
        modules_after(f"import {module}") - modules_after("from prefect import flow, task") - sys.stdlib_module_names
    )
    assert {name for name in added if not name.startswith("_")} - OWN == BESIDE_PREFECT[module]


def test_no_file_is_longer_than_400_lines() -> None:
    assert [path.name for path in PRODUCT if len(path.read_text().splitlines()) > 400] == []


def test_no_test_imports_from_another_or_from_a_conftest() -> None:
    """What several tests need is in tests/support; a conftest has fixtures, and may take them from another file."""
    inside = re.compile(r"^from tests\.[\w.]*(?:conftest|\.test_\w+) import", re.MULTILINE)
    assert [path.name for path in (ROOT / "tests").rglob("*.py") if inside.search(path.read_text())] == []


def test_every_function_and_class_without_an_underscore_has_a_docstring() -> None:
    """Those inside others as well, which ruff's D1 leaves out."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.name}"
        for path in (*PRODUCT, ROOT / "crossmodal/__init__.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_the_readme_holds_figures_and_no_placeholders() -> None:
    assert "@@" not in (ROOT / "README.md").read_text()
