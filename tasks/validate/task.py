"""The validate stage as Prefect tasks. A broken contract is never retried."""

from __future__ import annotations

from prefect import task

from tasks.task_options import CACHED, RETRIED, TAGGED, keyed, shielded
from tasks.validate.manifest_and_predictions import (
    manifest_key,
    predictions_key,
    validate_manifest,
    validate_predictions,
)
from tasks.validate.validate import features_key, samples_key, validate_features, validate_samples

validate_samples_task = task(
    name="validate-samples",
    cache_key_fn=keyed(samples_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(validate_samples))
validate_features_task = task(
    name="validate-features",
    cache_key_fn=keyed(features_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(validate_features))
validate_manifest_task = task(
    name="validate-manifest",
    cache_key_fn=keyed(manifest_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(validate_manifest))
validate_predictions_task = task(
    name="validate-predictions",
    cache_key_fn=keyed(predictions_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(validate_predictions))
