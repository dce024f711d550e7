"""What computes each stage's results: the modules whose code enters its keys, and the version of all that they do not hold.

Raise a stage's `version` when its results change and no module of its list does: another default of a library, another order
of what is computed elsewhere. `package.*` are all modules of a package but those that compute nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StageCode:
    """What a stage's results depend on besides its inputs and its config."""

    version: int
    """Raised by hand."""
    root: str
    """The module that the stage runs: all that it imports is on a list here, or on one of those below."""
    modules: tuple[str, ...]
    """They compute."""
    libraries: tuple[str, ...] = ()
    """Distributions whose version may change the numbers."""
    unused: tuple[str, ...] = ()
    """Imported by way of others, and without effect on this stage's results; one that is named outweighs a `package.*`."""


def _of_train(names: str) -> tuple[str, ...]:
    return tuple(f"tasks.train.{name}" for name in names.split())


_MODEL = (
    "tasks.modeling.batches",
    "tasks.modeling.conformal",
    "tasks.modeling.decision",
    "tasks.modeling.encoder_base",
    "tasks.modeling.encoders",
    "tasks.modeling.features",
    "tasks.modeling.fusion.*",
    "tasks.modeling.inference",
    "tasks.modeling.packed_weights",
    "tasks.modeling.targets",
    "tasks.problems.*",
)
"""From features to probabilities."""
_PRETRAINED = ("tasks.modeling.pretrained.*",)
_PROBLEMS = ("data_contracts.expectations.*", "tasks.gate_rules", "tasks.problems.*")
"""The config's keys are checked by what problems and rules say of themselves, so every stage imports them."""
_METRICS = (
    "tasks.problems.class_estimates",
    "tasks.problems.intervals",
    "tasks.problems.label_estimates",
    "tasks.problems.metric",
    "tasks.problems.multiclass_metrics",
    "tasks.problems.multilabel_metrics",
    "tasks.problems.scoring",
    "tasks.problems.table_estimates",
)
_VALIDATED = (
    *_PRETRAINED,
    "data_contracts.expectations.*",
    "tasks.gate_rules",
    "tasks.mirrored_labels",
    *_of_train("batch_plan dataset distillation divided fsdp losses processes request sampling"),
)
"""Imported by what answers the validation rows of a trained model, and without effect on it."""

STAGES: dict[str, StageCode] = {
    "digits": StageCode(
        version=1,
        root="tasks.ingest.sources.digits",
        modules=(
            "tasks.ingest.sources.digits",
            "tasks.ingest.sources.digits_audio",
            "tasks.ingest.sources.digits_images",
            "tasks.ingest.sources.digits_text",
        ),
        libraries=("numpy", "scikit-learn"),
    ),
    "media": StageCode(  # with the decoder of the modality, which tasks/media/media_store.py names
        version=1,
        root="tasks.media.container",
        modules=("tasks.media.canonical", "tasks.media.container"),
    ),
    "near_duplicates": StageCode(
        version=2,
        root="tasks.media.near_duplicates.clips",
        modules=("tasks.media.near_duplicates.*",),
        libraries=("numpy", "pillow", "soxr"),
    ),
    "ingest": StageCode(
        version=1,
        root="tasks.ingest.ingest",
        modules=(
            "tasks.ingest.clean",
            "tasks.ingest.decode",
            "tasks.ingest.ingest",
            "tasks.ingest.near_duplicates.*",
            "tasks.ingest.quarantine_examples",
            "tasks.ingest.sample_rows",
            "tasks.ingest.splits",
            "tasks.ingest.stratified_groups",
            "tasks.ingest.table_digest",
            "tasks.ingest.times",
            "tasks.labels",
            "tasks.media.near_duplicates.*",
            "tasks.problems.*",
        ),
        libraries=("numpy", "pillow", "soxr"),
        unused=(
            *_METRICS,
            "data_contracts.expectations.*",
            "tasks.gate_rules",
            "tasks.ingest.manifest.*",  # read before: what they found is an input
            "tasks.ingest.sources.*",
        ),
    ),
    "validate": StageCode(
        version=1,
        root="tasks.validate.validate",
        modules=(
            "data_contracts.expectations.features",
            "data_contracts.expectations.samples",
            "tasks.problems.*",
            "tasks.validate.columns",
            "tasks.validate.custom_expectations",
            "tasks.validate.feature_statistics",
            "tasks.validate.leakage",
            "tasks.validate.profile",
            "tasks.validate.suite",
            "tasks.validate.trainable",
            "tasks.validate.validate",
        ),
        libraries=("great-expectations",),
        unused=(
            *_METRICS,
            "data_contracts.expectations.predictions",
            "tasks.gate_rules",
            "tasks.modeling.*",  # what an encoder is stands in the features' own key
        ),
    ),
    "check_tables": StageCode(
        version=1,
        root="tasks.validate.manifest_and_predictions",
        modules=(
            "data_contracts.expectations.manifest",
            "data_contracts.expectations.predictions",
            "data_contracts.expectations.samples",
            "tasks.problems.*",
            "tasks.validate.manifest_and_predictions",
            "tasks.validate.suite",
        ),
        libraries=("great-expectations",),
        unused=_METRICS,
    ),
    "tiny_inputs": StageCode(  # with what the modality names
        version=1,
        root="tasks.media.encoder_inputs",
        modules=("tasks.media.encoder_inputs",),
        libraries=("numpy", "pillow", "soxr"),
    ),
    "pretrained_inputs": StageCode(
        version=1,
        root="tasks.modeling.pretrained.tokenization",
        modules=_PRETRAINED,
        libraries=("numpy", "pillow", "soxr"),
        unused=("data_contracts.expectations.*", "tasks.problems.*"),
    ),
    "embeddings": StageCode(
        version=1,
        root="tasks.modeling.embed",
        modules=(
            "tasks.modeling.batches",
            "tasks.modeling.embed",
            "tasks.modeling.encoder_base",
            "tasks.modeling.features",
            "tasks.modeling.packed_weights",
            *_PRETRAINED,
        ),
        unused=(
            *_PROBLEMS,
            "tasks.modeling.decision",
            "tasks.modeling.encoders",
            "tasks.modeling.fusion.*",
            "tasks.modeling.targets",
        ),
    ),
    "pretrained": StageCode(
        version=1,
        root="tasks.modeling.pretrained.families",
        modules=("tasks.modeling.encoder_base", *_PRETRAINED),
        libraries=("peft", "torchvision", "transformers"),
        unused=("data_contracts.expectations.*", "tasks.problems.*"),
    ),
    "train": StageCode(  # and `pretrained`, where an encoder is; with what the modalities name
        version=1,
        root="tasks.train.stage",
        modules=(
            *_MODEL,
            "tasks.mirrored_labels",
            "tasks.modeling.augment",
            "tasks.modeling.calibration",
            "tasks.modeling.contrastive",
            "tasks.modeling.row_clusters",
            "tasks.modeling.selective",
            "tasks.train.batch_plan",
            "tasks.train.dataloader",
            "tasks.train.dataset",
            "tasks.train.distillation",
            "tasks.train.divided",
            "tasks.train.ema",
            "tasks.train.finetuning",
            "tasks.train.fitting",
            "tasks.train.head_search",
            "tasks.train.heads",
            "tasks.train.lora",
            "tasks.train.losses",
            "tasks.train.mixup",
            "tasks.train.optim",
            "tasks.train.processes",
            "tasks.train.sampling",
            "tasks.train.stage",
            "tasks.train.standardization",
            "tasks.train.start_choice",
            "tasks.train.step",
            "tasks.train.test_time_flip",
            "tasks.train.thresholds",
            "tasks.train.trainer",
            "tasks.train.uncertainty",
            "tasks.train.validation",
            "tasks.train.warm_start",
        ),
        libraries=("numpy", "scipy", "torch", "torchvision"),
        unused=(  # how the same numbers are computed, kept, or counted
            *_PRETRAINED,
            *_METRICS,
            "data_contracts.expectations.*",
            "tasks.gate_rules",
            *_of_train("activation_checkpointing checkpointing compiling fsdp prefetch request state throughput"),
        ),
    ),
    "paired_losses": StageCode(  # of models whose keys have all that trained them
        version=1,
        root="tasks.train.paired_losses",
        modules=(
            *_MODEL,
            "tasks.modeling.calibration",
            "tasks.modeling.row_clusters",
            "tasks.train.paired_losses",
            "tasks.train.test_time_flip",
            "tasks.train.uncertainty",
        ),
        libraries=("numpy", "scipy", "torch"),
        unused=(*_VALIDATED, "tasks.modeling.selective", *_of_train("thresholds validation")),
    ),
    "blend": StageCode(  # of models whose keys have all that trained them
        version=1,
        root="tasks.train.blending",
        modules=(
            *_MODEL,
            "tasks.modeling.calibration",
            "tasks.modeling.selective",
            "tasks.train.blending",
            *_of_train("thresholds uncertainty validation"),  # the last for what it reaches on the validation rows
        ),
        libraries=("numpy", "scipy", "torch"),
        unused=(*_VALIDATED, "tasks.modeling.row_clusters", *_of_train("checkpoint paired_losses test_time_flip")),
    ),
    "evaluate": StageCode(
        version=2,
        root="tasks.evaluate.evaluate",
        modules=(
            *_MODEL,
            *_PRETRAINED,
            "tasks.evaluate.*",
            "tasks.media.corruptions",
            "tasks.modeling.assessment",
            "tasks.modeling.embed",
            "tasks.modeling.encoder_reading",
            "tasks.modeling.profile",
            "tasks.modeling.row_clusters",
            "tasks.modeling.selective",
        ),
        libraries=("numpy", "scikit-learn", "scipy", "torch"),
        unused=("data_contracts.expectations.*", "tasks.gate_rules", "tasks.modeling.embedding"),
    ),
    "gate": StageCode(
        version=1,
        root="tasks.gate.gate",
        modules=("tasks.gate.*", "tasks.gate_rules", "tasks.problems.*"),
        unused=("data_contracts.expectations.*",),
    ),
    "monitor": StageCode(
        version=1,
        root="tasks.monitor.monitor",
        modules=(
            *_MODEL,
            *_PRETRAINED,
            "tasks.modeling.embedding",
            "tasks.modeling.profile",
            "tasks.monitor.compare",
            "tasks.monitor.monitor",
            "tasks.monitor.two_sample",
        ),
        libraries=("numpy", "scipy", "torch"),
        unused=("data_contracts.expectations.*", "tasks.gate_rules"),
    ),
    "compare": StageCode(
        version=1,
        root="tasks.compare.fitting",
        modules=(
            "tasks.compare.classical",
            "tasks.compare.fits",
            "tasks.compare.fitting",
            "tasks.compare.raw_inputs",
            "tasks.compare.recurrent",
            "tasks.media.encoder_inputs",
            "tasks.modeling.classical",
            "tasks.modeling.encoder_reading",
            *_MODEL,
            *_PRETRAINED,
        ),
        libraries=("numpy", "pillow", "scikit-learn", "scipy", "torch"),
        unused=("data_contracts.expectations.*", "tasks.gate_rules"),
    ),
    "compress": StageCode(  # the figures of what it makes are the evaluation's
        version=1,
        root="tasks.compress.compress",
        modules=(
            *_MODEL,
            *_PRETRAINED,
            "tasks.compress.*",
            "tasks.modeling.encoder_reading",
            "tasks.modeling.profile",
        ),
        libraries=("torch",),
        unused=("data_contracts.expectations.*", "tasks.gate_rules", "tasks.modeling.embedding"),
    ),
    "audit": StageCode(
        version=1,
        root="tasks.audit.audit",
        modules=(
            "tasks.audit.*",
            "tasks.modeling.descriptors",
            "tasks.modeling.features",
            "tasks.problems.*",
        ),
        libraries=("numpy", "scikit-learn", "scipy"),
        unused=("data_contracts.expectations.*", "tasks.gate_rules"),
    ),
    "explain": StageCode(
        version=1,
        root="tasks.explain.explain",
        modules=(
            *_MODEL,
            *_PRETRAINED,
            "tasks.explain.*",
            "tasks.modality_specs.tabular.cells",
            "tasks.modality_specs.tabular.fitting",
            "tasks.modality_specs.tabular.network",
            "tasks.modeling.encoder_reading",
            "tasks.modeling.profile",
        ),
        libraries=("numpy", "torch"),
        unused=("data_contracts.expectations.*", "tasks.gate_rules", "tasks.modeling.embedding"),
    ),
    "pair": StageCode(
        version=1,
        root="tasks.translate.pair",
        modules=(
            "tasks.modeling.contrastive",
            "tasks.modeling.descriptors",
            "tasks.modeling.features",
            "tasks.translate.pair",
        ),
        libraries=("numpy", "scikit-learn", "scipy", "torch"),
        unused=("data_contracts.expectations.*", "tasks.gate_rules", "tasks.problems.*"),
    ),
    "translate": StageCode(
        version=1,
        root="tasks.translate.outcome",
        modules=("tasks.translate.outcome", "tasks.translate.tables"),
        unused=("data_contracts.expectations.*", "tasks.gate_rules", "tasks.problems.*"),
    ),
    "generate": StageCode(
        version=1,
        root="tasks.translate.generators.choose",
        modules=("tasks.media.encoder_inputs", *_PRETRAINED, "tasks.translate.generators.*"),
        libraries=("numpy", "pillow", "soxr"),
        unused=("data_contracts.expectations.*", "tasks.modeling.encoder_base", "tasks.problems.*"),
    ),
}
