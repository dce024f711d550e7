"""What a table lacks to be trained on. `check` prints it as notes, `retrain` stops at the first."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

SPLITS = ("train", "val", "test")
NAMED = 5


def trainable_problems(samples: pa.Table) -> list[str]:
    """One line per reason why these samples (data_contracts.tables.samples_schema) cannot be trained on; [] for none."""
    splits = samples["split"].to_pylist()
    labels = samples["label"].to_pylist()
    present = Counter(splits)
    problems = [
        f"{split}: no rows; add rows with split={split}, or leave the split column out (data.columns.split)"
        " to let crossmodal divide them"
        for split in SPLITS
        if not present[split]
    ]
    sizes = Counter(labels)
    if len(sizes) == 1:
        problems.append(f"label: one class only ({labels[0]!r}); a classifier needs samples of at least two")
    single = sorted(label for label, size in sizes.items() if size == 1)
    if single:
        problems.append(f"label: a single sample of {_listed(single)}; add samples, or remove the class")
    learned = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    for split in SPLITS[1:]:
        unseen = sorted({label for label, side in zip(labels, splits, strict=True) if side == split} - learned)
        if unseen and learned:
            problems.append(f"label: {split} holds {_listed(unseen)}, never seen in train; move some samples to train")
    return problems


def _listed(labels: list[str]) -> str:
    named = ", ".join(repr(label) for label in labels[:NAMED])
    more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
    return f"class{'es' if len(labels) > 1 else ''} {named}{more}"
