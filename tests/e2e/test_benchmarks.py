"""Benchmarks for machines that others have: that they run, and say when they cannot."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _run(name, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_fine_tuning_on_a_gpu_runs_in_small_on_a_cpu():
    done = _run("gpu_finetune", "--smoke")
    assert done.returncode == 0, done.stderr
    assert "no figure here means anything" in done.stdout
    for name in ("ViT-B/16", "BERT-base"):
        assert re.search(rf"{name} +ours +[\d.,]+ rows/s.*\n +HF +[\d.,]+ rows/s", done.stdout)


@pytest.mark.slow
def test_extraction_on_a_gpu_runs_in_small_on_a_cpu():
    done = _run("gpu_extract", "--smoke")
    assert done.returncode == 0, done.stderr
    assert "no figure here means anything" in done.stdout
    assert len(re.findall(r"extract, \d at a time +[\d.,]+ pictures/s, \d+% of forward alone; with", done.stdout)) == 2


@pytest.mark.parametrize("name", ["gpu_finetune", "gpu_extract"])
def test_without_a_gpu_it_says_so(name):
    done = _run(name)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"{name}: torch sees no CUDA device here, so nothing was measured; --smoke runs it on a CPU"
    )


@pytest.mark.slow
def test_what_ray_costs_is_measured_in_small():
    done = _run("on_ray", "--smoke")
    assert done.returncode == 0, done.stderr
    assert re.search(r"ray / local: wall [\d.]+, CPU [\d.]+", done.stdout)
