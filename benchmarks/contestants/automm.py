"""AutoGluon-MultiModal as its user would call it. Runs in an environment of its own and imports nothing of crossmodal.

    python automm.py fit REQUEST.json       train on the train rows with the val rows as tuning_data, save
    python automm.py answer REQUEST.json    load what was saved, answer the test rows, take times

REQUEST.json holds what benchmarks/contestants/exchange.py:Request has. The last line printed is JSON. Preset `high_quality`,
which is what AutoMM takes by default; changed are only the two backbones and the side of the pictures, and `fusion_mlp` joins
the two (its own way to join networks). Its defaults say the rest: all of it is fine-tuned, 20 epochs at most, early stopping,
TrivialAugment, a greedy soup of the best three.
"""

from __future__ import annotations

import importlib.metadata
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

COLUMN_TYPES = {"image": "image_path", "text": "text"}


def main() -> None:
    """Fits or answers."""
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    print(json.dumps({"fit": fit, "answer": answer}[sys.argv[1]](request)))


def fit(request: dict[str, Any]) -> dict[str, Any]:
    """A predictor is saved in the work folder."""
    from autogluon.multimodal import MultiModalPredictor  # type: ignore[import-not-found, unused-ignore]

    work = Path(request["work"])
    predictor = MultiModalPredictor(label="label", path=str(work / "model"), verbosity=1)
    predictor.fit(
        read(request, "train"),
        tuning_data=read(request, "val"),
        time_limit=request["time_limit_s"],
        hyperparameters=hyperparameters(request, work),
        column_types={name: COLUMN_TYPES[name] for name in request["inputs"]},
        seed=request["seed"],
    )
    versions = {
        name: importlib.metadata.version(name) for name in ("autogluon.multimodal", "torch", "timm", "transformers")
    }
    return {"versions": versions}


def hyperparameters(request: dict[str, Any], work: Path) -> dict[str, Any]:
    """The same backbones, from local folders."""
    found: dict[str, Any] = {}
    names = []
    if "image" in request["inputs"]:
        names.append("timm_image")
        found["model.timm_image.checkpoint_name"] = str(timm_folder(Path(request["inputs"]["image"]), work / "timm"))
        found["model.timm_image.image_size"] = request["px"]
    if "text" in request["inputs"]:
        names.append("hf_text")
        found["model.hf_text.checkpoint_name"] = request["inputs"]["text"]
    return {"model.names": [*names, *(["fusion_mlp"] if len(names) > 1 else [])], **found}


def timm_folder(source: Path, target: Path) -> Path:
    """The folder of a `timm_wrapper` of transformers as AutoMM reads one: pytorch_model.bin without the old classifier."""
    import torch
    from safetensors.torch import load_file

    target.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    last = config["pretrained_cfg"]["classifier"]
    weights = {name.removeprefix("timm_model."): each for name, each in load_file(source / "model.safetensors").items()}
    torch.save(  # noqa: TID251 - AutoMM reads no other form
        {name: each for name, each in weights.items() if not name.startswith(f"{last}.")}, target / "pytorch_model.bin"
    )
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return target


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answers and times, each call with `predict` as it stands."""
    from autogluon.multimodal import MultiModalPredictor  # type: ignore[import-not-found, unused-ignore]

    folder = Path(request["work"]) / "model"
    predictor = MultiModalPredictor.load(str(folder))
    test = read(request, "test").drop(columns="label")
    one = []
    for place in range(request["one_row_calls"] + 1):  # the first warms up
        began = time.perf_counter()
        predictor.predict(test.iloc[place : place + 1])
        one.append(time.perf_counter() - began)
    began = time.perf_counter()
    found = predictor.predict(test)
    took = time.perf_counter() - began
    return {
        "predicted": [str(each) for each in found],
        "row_ms": 1000 * statistics.median(one[1:]),
        "batch_rows_per_s": len(test) / took,
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }


def read(request: dict[str, Any], split: str) -> Any:
    """The rows of a split: their inputs and labels, all of them texts."""
    import pandas as pd

    return pd.read_csv(request["tables"][split], dtype=str)[[*request["inputs"], "label"]]


if __name__ == "__main__":
    main()
