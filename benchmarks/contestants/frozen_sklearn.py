"""scikit-learn on frozen features: embed once, standardise, logistic regression with C from the validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import joblib  # type: ignore[import-untyped]
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.contestants.backbones import Backbones
from benchmarks.contestants.exchange import Answers, Request, Row, main, measure_answers, read_rows

GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
MODEL = "model.joblib"


def fit(request: Request) -> None:
    """The model with the best validation accuracy is saved; of equals the most regularised."""
    torch.set_num_threads(request["threads"])
    backbones = Backbones(request)
    rows = {split: read_rows(request, split) for split in ("train", "val")}
    features = {split: backbones.embed(part).numpy() for split, part in rows.items()}
    labels = {split: [row["label"] for row in part] for split, part in rows.items()}
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(features["train"], labels["train"])
        for c in GRID
    ]
    best = max(models, key=lambda model: float(model.score(features["val"], labels["val"])))
    joblib.dump(best, Path(request["work"]) / MODEL)


def answer(request: Request) -> Answers:
    """Backbones and model loaded anew."""
    torch.set_num_threads(request["threads"])
    place = Path(request["work"]) / MODEL
    backbones, model = Backbones(request), joblib.load(place)

    def labels(rows: Sequence[Row]) -> list[str]:
        """The answers of the regression."""
        return [str(each) for each in model.predict(backbones.embed(rows).numpy())]

    return measure_answers(request, labels, [place, *map(Path, request["inputs"].values())])


if __name__ == "__main__":
    main(fit, answer)
