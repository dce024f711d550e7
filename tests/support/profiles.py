"""A profile of data, as drift is measured by."""

from __future__ import annotations

import numpy as np

from tasks.modeling.profile import Profile


def make_profile(rows: int = 400, seed: int = 0, brightness: float = 0.5, missing: int = 0) -> Profile:
    rng = np.random.default_rng(seed)
    return Profile(
        categories={
            "image missing": {"missing": missing, "present": rows - missing},
            "label": {"cat": rows // 2, "dog": rows // 2},
        },
        numbers={"image brightness": rng.normal(brightness, 0.1, rows).astype(np.float32)},
        embeddings={"image embedding": rng.normal(size=(rows, 8)).astype(np.float16)},
    )
