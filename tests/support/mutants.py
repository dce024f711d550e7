"""make mutants: small bugs planted in a module by mutmut, each evaluated by that module's fast tests; docs/mutations.md.

mutmut reads its settings from pyproject.toml alone, and its first step runs every test that it lists. So each module is
run in a copy of the tree below build/mutants/, whose settings name this module and its tests.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEED = 10
_TRAIN, _PUBLISH, _EVALUATE, _INGEST = (f"tests/stages/{stage}" for stage in ("train", "publish", "evaluate", "ingest"))
_ESTIMATES = [
    f"{_EVALUATE}/test_{name}.py"
    for name in (
        "interval_methods",
        "intervals",
        "metrics",
        "multilabel_regression",
        "table_estimates",
        "label_estimates",
    )
]
MODULES = {
    "tasks/store.py": ["tests/foundations/test_store.py"],
    "tasks/gate_rules.py": ["tests/stages/gate"],
    "tasks/gate/rules.py": ["tests/stages/gate"],
    "tasks/gate/comparison.py": ["tests/stages/gate"],
    "flows/pipeline.py": ["tests/flows/test_pipeline.py", "tests/flows/test_conclusion.py"],
    "tasks/ingest/splits.py": [
        f"{_INGEST}/test_time_splits.py",
        f"{_INGEST}/test_splits_and_repeats.py",
        f"{_INGEST}/test_near_duplicates.py",
    ],
    "tasks/train/losses.py": [f"{_TRAIN}/test_losses.py", f"{_TRAIN}/test_loss_values.py"],
    "tasks/train/heads.py": [f"{_TRAIN}/test_heads.py"],
    "tasks/train/head_search.py": [f"{_TRAIN}/test_heads.py"],
    "tasks/train/standardization.py": [f"{_TRAIN}/test_standardization.py"],
    "tasks/train/trainer.py": [
        f"{_TRAIN}/test_trainer.py",
        f"{_TRAIN}/test_stages.py",
        f"{_TRAIN}/test_train.py::test_the_average_is_judged_and_kept",
        f"{_TRAIN}/test_resume.py::test_killed_within_an_epoch_it_goes_on_to_the_same_bytes",
    ],
    "tasks/publish/publish.py": [f"{_PUBLISH}/test_publication.py", f"{_PUBLISH}/test_encoders.py"],
    "tasks/problems/scoring.py": [f"{_EVALUATE}/test_intervals.py"],
    "tasks/problems/intervals.py": [
        f"{_EVALUATE}/test_interval_formulas.py",
        f"{_EVALUATE}/test_interval_methods.py",
        f"{_EVALUATE}/test_intervals.py",
    ],
    "tasks/problems/class_estimates.py": _ESTIMATES,
    "tasks/problems/label_estimates.py": _ESTIMATES,
    "tasks/problems/table_estimates.py": _ESTIMATES,
    "tasks/problems/multiclass_metrics.py": [f"{_EVALUATE}/test_metrics.py", f"{_EVALUATE}/test_intervals.py"],
    "tasks/evaluate/overlap.py": [f"{_EVALUATE}/test_overlap.py"],
    "tasks/modeling/row_clusters.py": [f"{_EVALUATE}/test_overlap.py"],
    "tasks/evaluate/slice_regressions.py": [f"{_EVALUATE}/test_slice_regressions.py"],
    "tasks/evaluate/paired.py": [f"{_EVALUATE}/test_paired.py"],
    "tasks/evaluate/comparison.py": [f"{_EVALUATE}/test_comparison.py", f"{_EVALUATE}/test_evaluate.py"],
    "tasks/evaluate/classical_baseline.py": [f"{_EVALUATE}/test_classical_baseline.py"],
    "tasks/evaluate/linear_baseline.py": [f"{_EVALUATE}/test_linear_baseline.py", f"{_EVALUATE}/test_evaluate.py"],
}
"""Module to the tests that judge its mutants."""


def copy_tree(module: str) -> Path:
    """A fresh copy of what git knows, or would, with mutmut's settings narrowed to the module."""
    folder = ROOT / "build" / "mutants" / module.removesuffix(".py").replace("/", ".")
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    settings = folder / "pyproject.toml"
    narrowed = {"only_mutate": [module], "pytest_add_cli_args_test_selection": MODULES[module]}
    lines = "".join(f"\n{key} = {json.dumps(value)}" for key, value in narrowed.items())
    section = re.compile(r"^\[tool\.mutmut\].*$", re.MULTILINE)
    settings.write_text(
        section.sub(lambda found: found[0] + lines, settings.read_text(encoding="utf-8")), encoding="utf-8"
    )
    return folder


def run(module: str, sample: int | None) -> None:
    """Prints which mutants survive, all of them or of a seeded sample."""
    folder, mutmut = copy_tree(module), str(Path(sys.executable).with_name("mutmut"))
    names = []
    if sample is not None:
        listing = [sys.executable, str(Path(__file__).resolve()), "--list", module]
        every = subprocess.run(listing, cwd=folder, capture_output=True, text=True, check=True).stdout.split()
        names = sorted(random.Random(SEED).sample(every, min(sample, len(every))))
    subprocess.run([mutmut, "run", "--max-children", "1", *names], cwd=folder, check=True)
    if not names:  # of those that are named, it has said so itself
        subprocess.run([mutmut, "results"], cwd=folder, check=True)
    print(f"{module}: see a survivor by (cd {folder.relative_to(ROOT)} && {mutmut} show NAME)")


def names_of(module: str) -> list[str]:
    """All mutants of a module, by name."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    mutated = mutate_file_contents(module, Path(module).read_text(encoding="utf-8"))
    return [f"{module.removesuffix('.py').replace('/', '.')}.{name}" for name in mutated.mutant_names]


def main() -> None:
    """One module, or all of the table one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help=", ".join(MODULES))
    parser.add_argument("--sample", type=int, help="of a module's mutants, so many")
    parser.add_argument("--list", metavar="MODULE")
    options = parser.parse_args()
    if options.list:
        print("\n".join(names_of(options.list)))
        return
    if unknown := set(options.modules) - set(MODULES):
        parser.error(f"no tests are named for {', '.join(sorted(unknown))}; they are in {Path(__file__).name}")
    for module in options.modules or MODULES:
        run(module, options.sample)


if __name__ == "__main__":
    main()
