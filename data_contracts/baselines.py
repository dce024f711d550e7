"""Linear models on fixed features, which a trained model is held against."""

from __future__ import annotations

from pydantic import BaseModel


class LinearBaseline(BaseModel, frozen=True, extra="forbid"):
    """scikit-learn's logistic regression on the same frozen features: what a trained head must not stay below."""

    metrics: dict[str, float | None]
    """On the same test rows."""
    c: float
    """Inverse strength of the regularisation, chosen on the validation rows."""
    rows: int
    """Training rows that were fitted."""
    width: int
    """Features of a row."""
    differences: dict[str, tuple[float, float, float]] = {}
    """Metric to the model minus the baseline: value, low, high (paired bootstrap, 95 %)."""
    notes: tuple[str, ...] = ()
    """Rows left out to keep it short; that it did not converge."""


class CurvePoint(BaseModel, frozen=True, extra="forbid"):
    """A model fitted to a part of the training rows."""

    share: float
    """Of the training rows."""
    rows: int
    accuracy: float
    interval: tuple[float, float] | None
    """95 %; None: too few test rows for it."""


class ClassicalBaselines(BaseModel, frozen=True, extra="forbid"):
    """Logistic regression on classical features (HOG and colours, MFCC, hashed words), which no network should stay below."""

    by_inputs: dict[str, LinearBaseline] = {}
    """ "image" and the like, and all of them where there are several; differences are those of the model given these only."""
    curve: tuple[CurvePoint, ...] = ()
    """Of the last of them, on more and more of the training rows; none where they are few."""
    gain: tuple[float, float, float] | None = None
    """Accuracy with all training rows minus that with half of them: value, low, high (paired bootstrap, 95 %)."""
    skipped: str | None = None
    """Why there are none."""
