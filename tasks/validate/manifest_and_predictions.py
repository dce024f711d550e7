"""The two ends of a run against their contracts: the manifest as read, and the predictions as stored.

Great Expectations takes seconds to import, so each is keyed by the content of its table: where nothing of it has changed,
the earlier outcome stands.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from data_contracts.expectations.manifest import is_long, manifest_expectations, manifest_frame
from data_contracts.expectations.predictions import predictions_expectations, predictions_frame
from data_contracts.refs import CheckpointRef, EvalReport, InputName, RawRef
from data_contracts.tables import CONTRACT_VERSION, PREDICTIONS
from tasks.contract import read_table
from tasks.fingerprint import code_fingerprint
from tasks.isolation.own_process import run_apart
from tasks.modeling.card import read_card
from tasks.problems.registry import problem_of
from tasks.progress import report as tell
from tasks.store import Store, digest_json, verified_digest
from tasks.validate.outcome import TableCheck, check_table
from tasks.validate.results import SuiteResult


def manifest_key(raw: RawRef) -> str:
    """The key under which the check of this manifest is stored."""
    code = code_fingerprint("check_tables")
    return digest_json({"raw": raw.sha256, "modalities": raw.modalities, "contract": CONTRACT_VERSION, "code": code})


def validate_manifest(raw: RawRef, store: Store) -> TableCheck:
    """The raw table met its contract: every row named and digested, or with its reason. DataError where it did not.

    What is wrong with single rows is ingest's to report; this checks what scan read.
    """

    def run() -> SuiteResult:
        """What the expectations on the raw table found."""
        tell("validate", 0, 1, "manifest")
        done, table = f"validated {raw.rows:,} rows", store.path(raw.uri) / "rows.parquet"
        result = run_apart(raw.rows, done, check_manifest, table, raw.modalities)
        tell("validate", 1, 1, "manifest")
        return result

    return check_table(manifest_key(raw), "Manifest", run, store)


def check_manifest(path: Path, modalities: tuple[InputName, ...]) -> SuiteResult:
    """What the expectations on a raw table found."""
    from tasks.validate.suite import run_suite

    table = read_table(path, [name for name in pq.read_schema(path).names if name == "detail" or not is_long(name)])
    return run_suite("manifest", manifest_frame(table, modalities), manifest_expectations(modalities))


def predictions_key(report: EvalReport, checkpoint: CheckpointRef, store: Store) -> str:
    """The key under which the check of these predictions is stored: of the table, whatever else the evaluation says."""
    return digest_json(
        {
            "predictions": verified_digest(store.path(report.uri) / PREDICTIONS),
            "targets": [
                target.model_dump(mode="json") for target in read_card(store.path(checkpoint.uri)).label_targets
            ],
            "rows": report.rows,
            "contract": CONTRACT_VERSION,
            "code": code_fingerprint("check_tables"),
        }
    )


def validate_predictions(report: EvalReport, checkpoint: CheckpointRef, store: Store) -> TableCheck:
    """The stored predictions met their contract. DataError names the expectation, the number of rows and five ids."""

    def run() -> SuiteResult:
        """What the expectations on the stored predictions found."""
        from tasks.validate.suite import run_suite

        tell("validate", 0, 1, "predictions")
        table = read_table(store.path(report.uri) / PREDICTIONS)
        targets = read_card(store.path(checkpoint.uri)).label_targets
        columns = [problem_of(target).output_contract(target) for target in targets]
        frame = predictions_frame(table, columns)
        result = run_suite("predictions", frame, predictions_expectations(columns, report.rows))
        tell("validate", 1, 1, "predictions")
        return result

    return check_table(predictions_key(report, checkpoint, store), "Predictions", run, store)
