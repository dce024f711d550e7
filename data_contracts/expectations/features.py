"""What stored features must meet before a model may read them: all there, of the expected shape, finite, not constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_contracts.expectations import about, gallery
from data_contracts.modalities import modality_of
from data_contracts.refs import InputName

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

MOSTLY = 0.99
"""Share of the features that may not be suspicious (constant, or equal to another's) without a warning."""
COLUMNS_MOSTLY = 0.9
"""Share of an embedding's columns that must tell some media apart; a few units that never fire are normal."""


@dataclass(frozen=True)
class FeatureSpec:
    """What one modality's features look like."""

    modality: InputName
    dtype: str
    shape: str
    """A regular expression on the shape written as `32x32x3`."""
    longest: int | None
    """The largest first axis, where that varies."""
    low: float
    high: float
    """The range outside which a value is implausible."""
    may_be_constant: bool = False
    """A text of one letter is; a picture or a sound of one value carries nothing."""
    exact: bool = True
    """Whether equal media have equal features to the bit; sums of a network depend on what it computes them beside."""
    norms: tuple[float, float] | None = None
    """Embeddings: the Euclidean norms outside which one is implausible (all zeros, or an overflow)."""
    columns_vary: bool = False
    """Embeddings: every column must tell some media apart. Of pictures the border may well be black in all."""


COLUMNS = (
    "id",  # of the first sample that needs the feature
    "digest",
    "copies",  # rows stored under this digest
    "variants",  # different values among them
    "dtype",
    "shape",  # "32x32x3"
    "length",  # first axis
    "excess",  # values stored minus values that the shape asks for
    "not_finite",  # values that are NaN or infinite
    "lowest",  # among the finite values
    "highest",
    "spread",  # highest - lowest
    "norm",  # Euclidean, of the finite values
    "same_features",  # other media whose features are the same
)
"""The columns of the frame that is checked: one row per medium that the samples need, null where it is not stored."""


def features_expectations(spec: FeatureSpec) -> list[Expectation]:
    """The expectations on a frame of `COLUMNS`, the gravest first."""
    return [*_presence(spec), *_form(spec), *_values(spec), *_suspicions(spec)]


def columns_expectations(modality: InputName) -> list[Expectation]:
    """The expectations on a frame with one row per column of an embedding: `id` (its number) and `spread` over the media."""
    return [
        gallery().ExpectColumnValuesToBeBetween(
            column="spread",
            min_value=0,
            strict_min=True,
            mostly=COLUMNS_MOSTLY,
            **about(
                "column_varied",
                f"at least {COLUMNS_MOSTLY:.0%} of the columns differ between media",
                f"look at encoders.{modality_of(modality)}: dead columns carry nothing",
                "warning",
            ),
        )
    ]


def _presence(spec: FeatureSpec) -> list[Expectation]:
    gxe = gallery()
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column="copies",
            min_value=1,
            **about("feature_present", "every medium that the samples need has a feature", "run extract again"),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="variants",
            max_value=1,
            **about(
                "feature_unambiguous",
                "what is stored twice is stored alike",
                "remove these features from the store and run extract again",
                "critical" if spec.exact else "warning",
            ),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="copies",
            max_value=1,
            **about(
                "feature_unique",
                "no medium's feature is stored twice",
                "harmless while the copies are alike: two runs extracted at the same time",
                "warning",
            ),
        ),
    ]


def _form(spec: FeatureSpec) -> list[Expectation]:
    gxe = gallery()
    advice = f"run extract again, or change encoders.{modality_of(spec.modality)}"
    expectations: list[Expectation] = [
        gxe.ExpectColumnValuesToBeInSet(
            column="dtype", value_set=[spec.dtype], **about("feature_dtype", f"values are {spec.dtype}", advice)
        ),
        gxe.ExpectColumnValuesToMatchRegex(
            column="shape", regex=spec.shape, **about("feature_shape", f"shapes match {spec.shape}", advice)
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="excess",
            min_value=0,
            max_value=0,
            **about("feature_complete", "there are as many values as the shape asks for", advice),
        ),
    ]
    if spec.longest is not None:
        expectations.append(
            gxe.ExpectColumnValuesToBeBetween(
                column="length",
                min_value=1,
                max_value=spec.longest,
                **about("feature_length", f"the first axis has 1 to {spec.longest} entries", advice),
            )
        )
    return expectations


def _values(spec: FeatureSpec) -> list[Expectation]:
    gxe = gallery()
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column="not_finite",
            min_value=0,
            max_value=0,
            **about("feature_finite", "no value is NaN or infinite", f"look at the {spec.modality} of these samples"),
        ),
        *(
            gxe.ExpectColumnValuesToBeBetween(
                column=column,
                min_value=spec.low,
                max_value=spec.high,
                **about(
                    f"feature_{column}",
                    f"the {column} value lies within {spec.low:g} and {spec.high:g}",
                    f"look at the {spec.modality} of these samples",
                    "warning",
                ),
            )
            for column in ("lowest", "highest")
        ),
        *(
            [
                gxe.ExpectColumnValuesToBeBetween(
                    column="norm",
                    min_value=spec.norms[0],
                    max_value=spec.norms[1],
                    **about(
                        "feature_norm",
                        f"the norm lies within {spec.norms[0]:g} and {spec.norms[1]:g}",
                        f"look at the {spec.modality} of these samples, and at encoders.{modality_of(spec.modality)}",
                        "warning",
                    ),
                )
            ]
            if spec.norms is not None
            else []
        ),
    ]


def _suspicions(spec: FeatureSpec) -> list[Expectation]:
    gxe = gallery()
    same_features = gxe.ExpectColumnValuesToBeBetween(
        column="same_features",
        min_value=0,
        max_value=0,
        mostly=MOSTLY,
        **about(
            "feature_distinct",
            f"at least {MOSTLY:.0%} of the media differ from each other as features too",
            f"look at the {spec.modality} of these samples: scaling or cutting made them equal",
            "warning",
        ),
    )
    if spec.may_be_constant:
        return [same_features]
    constant = gxe.ExpectColumnValuesToBeBetween(
        column="spread",
        min_value=0,
        strict_min=True,
        mostly=MOSTLY,
        **about(
            "feature_varied",
            f"at least {MOSTLY:.0%} of the features hold more than one value",
            f"look at the {spec.modality} of these samples: blank pictures or silence",
            "warning",
        ),
    )
    return [same_features, constant]
