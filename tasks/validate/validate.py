"""Samples and features against their contracts. What is broken beyond use is refused; the rest is said.

A validation artifact holds samples.parquet (the rows that every later stage reads), profile.json (figures on them),
leaked.json (some rows that leak, beside their counterparts, where there are any),
result.json (every expectation's outcome) and docs/ (Data Docs). Great Expectations is imported only where there is
something to check: a stored validation costs no import.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq

from data_contracts.data_profile import PROFILE
from data_contracts.expectations.features import FeatureSpec, columns_expectations, features_expectations
from data_contracts.expectations.samples import samples_expectations, samples_frame
from data_contracts.modalities import modality_of
from data_contracts.refs import CleanRef, FeatureRef, InputName, Split, ValidatedRef
from data_contracts.row_examples import LEAKED
from data_contracts.tables import CONTRACT_VERSION
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.fingerprint import code_fingerprint
from tasks.isolation.own_process import run_apart
from tasks.modalities import MODALITIES, spec_of
from tasks.modeling.pretrained.describe import describe_encoder
from tasks.problems.registry import problem_of
from tasks.progress import report
from tasks.samples import SAMPLES, Samples, read_near_duplicates
from tasks.store import Store, canonical_json, digest_file, digest_json, write_text
from tasks.validate.columns import summarise_columns
from tasks.validate.custom_expectations import as_numbers, as_text, build_expectations, own_frame, read_expectations
from tasks.validate.leakage import apply_policy, describe_pairs, find_leakage
from tasks.validate.outcome import KIND, TableCheck, conclude, warnings_of
from tasks.validate.profile import profile_samples
from tasks.validate.results import SuiteResult
from tasks.validate.trainable import untested_classes

EXTREME = 1e4
"""A larger value in an embedding is implausible: the known encoders stay below a few hundred."""
NORMS = (1e-3, 1e5)
"""Euclidean, of an embedding: from all but nothing to what EXTREME values in a hundred columns give."""


class FeaturesCheck(TableCheck):
    """What `validate_features` hands back; JSON-able."""

    rows: dict[InputName, int]
    """Media whose features were checked."""


# -- samples -----------------------------------------------------------------------------------------------------------


def samples_key(clean: CleanRef, config: RunConfig) -> str:
    """The key under which the validation of these samples is stored."""
    return digest_json(
        {
            "clean": clean.sha256,
            "labels": clean.labels,
            "modalities": clean.modalities,
            "column_types": clean.column_types,
            "leakage": config.split.leakage,
            "own": _own_key(clean, config),
            "contract": CONTRACT_VERSION,
            "code": code_fingerprint("validate", modules=_modules(clean.modalities)),
        }
    )


def _modules(names: Iterable[InputName]) -> tuple[str, ...]:
    """What says how the features of these inputs look, and what their media are like."""
    specs = [spec_of(name) for name in names]
    return tuple(sorted({module for spec in specs for module in (spec.module, *spec.statistics_modules)}))


def _own_key(clean: CleanRef, config: RunConfig) -> list[Any] | None:
    """What the user's own expectations are, and where the columns lie that they check: clean.sha256 does not cover those."""
    path = config.data.expectations
    return None if path is None else [[entry.model_dump() for entry in read_expectations(path)], clean.uri]


def validate_samples(clean: CleanRef, config: RunConfig, store: Store) -> ValidatedRef:
    """Samples that met their contract, without those that `split.leakage = "drop"` leaves out.

    `<uri>/samples.parquet` is what later stages read; `rows` counts it. Raises DataError for a broken critical
    expectation, with its name, the number of rows and up to five ids, and for leakage under `split.leakage = "fail"`.
    UsageError for a file of expectations (`data.expectations`) that is wrong.
    """
    key = samples_key(clean, config)
    found = store.find(KIND, key)
    if found is not None:
        return ValidatedRef.model_validate({**found.ref, "clean": clean})  # its counts and notes are this run's
    source = store.path(clean.uri) / SAMPLES
    samples = read_table(source)
    clusters = read_near_duplicates(source.parent)
    leakage = find_leakage(samples, clean.modalities, clusters)
    kept, notes = apply_policy(samples, leakage, config.split.leakage)
    columns, doubts = summarise_columns(Samples(kept), clean, store)
    notes += [*untested_classes(Samples(kept), clean.label_targets[0]), *doubts]
    with store.create(KIND, key, [clean.uri], code_fingerprint("validate")) as draft:
        stored = draft.path / SAMPLES
        if kept is samples:
            shutil.copyfile(source, stored)
        else:
            pq.write_table(kept, stored, compression="zstd")
        results = [
            _check_samples(stored, kept.num_rows, clean),
            *_check_own(stored, source.parent, config.data.expectations),
        ]
        conclude(draft, "Samples", results, notes, store, key)
        write_text(draft.path / PROFILE, canonical_json(profile_samples(Samples(kept), clean, store, columns)))
        if leakage is not None:
            leaked = describe_pairs(samples, leakage, clean.modalities, config.split.leakage)
            write_text(draft.path / LEAKED, canonical_json(leaked))
        valid = ValidatedRef(
            uri=f"{KIND}/{key}",
            sha256=digest_json({"samples": digest_file(stored), "clean": clean.sha256}),
            rows=kept.num_rows,
            parents=(clean.sha256,),
            clean=clean,
            docs=f"{KIND}/{key}/docs",
            warnings=(*notes, *warnings_of(results)),
        )
        draft.ref = valid.model_dump(mode="json")
    return valid


def _check_own(stored: Path, folder: Path, path: str | None) -> list[SuiteResult]:
    """The user's expectations: those on how values are written see text, the others numbers where a column holds only such."""
    if path is None:
        return []
    entries = read_expectations(path)
    frame = own_frame(read_table(stored), read_table(folder / "metadata.parquet"))
    suites = {"own": [e for e in entries if not e.is_of_text], "own_as_text": [e for e in entries if e.is_of_text]}
    built = {name: build_expectations(tuple(those), frame, path) for name, those in suites.items() if those}
    from tasks.validate.suite import run_suite

    frames = {"own": as_numbers, "own_as_text": as_text}
    return [run_suite(name, frames[name](frame), expectations) for name, expectations in built.items()]


def _check_samples(stored: Path, rows: int, clean: CleanRef) -> SuiteResult:
    report("validate", 0, 1, "samples")
    result = run_apart(rows, f"validated {rows:,} rows", check_samples, stored, clean)
    report("validate", 1, 1, "samples")
    return result


def check_samples(stored: Path, clean: CleanRef) -> SuiteResult:
    """What the expectations on samples found."""
    from tasks.validate.suite import run_suite

    labels = problem_of(clean.label_targets[0]).label_expectations(clean.labels)
    frame = samples_frame(read_table(stored), clean.modalities)
    return run_suite("samples", frame, samples_expectations(labels, clean.modalities))


# -- features ----------------------------------------------------------------------------------------------------------


def features_key(
    valid: ValidatedRef, features: dict[InputName, FeatureRef], config: RunConfig, splits: tuple[Split, ...] = ()
) -> str:
    """The key under which the validation of these features is stored."""
    return digest_json(
        {
            "valid": valid.sha256,
            "features": {name: ref.sha256 for name, ref in features.items()},
            "params": {
                "extract": config.subset("extract")["extract"],
                "encoders": config.encoders.model_dump(mode="json", exclude={"shared"}),  # which shapes no feature
            },
            "regime": config.train.regime,
            **({"splits": list(splits)} if splits else {}),
            "code": code_fingerprint("validate", modules=_modules(features)),
        }
    )


def validate_features(
    valid: ValidatedRef,
    features: dict[InputName, FeatureRef],
    config: RunConfig,
    store: Store,
    *,
    splits: tuple[Split, ...] = (),
) -> FeaturesCheck:
    """The features of every modality met their contract: all there, of the expected shape and type, finite.

    Read from the stored parts; of the rows of these splits, () of all. Raises DataError for a broken critical expectation, as
    `validate_samples` does.
    """
    key = features_key(valid, features, config, splits)
    found = store.find(KIND, key)
    if found is not None:
        return cast(FeaturesCheck, found.ref)
    samples = Samples.read(store.path(valid.uri))
    samples = samples.of_split(*splits) if splits else samples
    with store.create(KIND, key) as draft:
        results: list[SuiteResult] = []
        for done, (name, ref) in enumerate(features.items()):
            report("validate", done, len(features), f"{name} features")
            parts = [store.path(part) for part in ref.parts]
            spec, done_so = feature_spec(name, config), f"validated {len(samples):,} features"
            results += run_apart(len(samples), done_so, check_features, store.path(valid.uri), splits, spec, parts)
        report("validate", len(features), len(features), "features")
        conclude(draft, "Features", results, (), store, key)
        check = FeaturesCheck(
            uri=f"{KIND}/{key}",
            docs=f"{KIND}/{key}/docs",
            rows={name: len(samples.column(name).drop_null().unique()) for name in features},
            warnings=warnings_of(results),
        )
        draft.ref = dict(check)
    return check


def feature_spec(name: InputName, config: RunConfig) -> FeatureSpec:
    """What the features of a modality look like: a frozen encoder's vectors, or what an encoder reads."""
    modality, encoder = modality_of(name), config.encoders.of(name)
    if encoder == "tiny":
        return MODALITIES[modality].tiny_features(name, config)
    spec = describe_encoder(modality, encoder, config.train.regime, config.encoders)
    if spec.reads == "embedding":
        return FeatureSpec(
            name,
            "float32",
            f"^{spec.width}$",
            None,
            -EXTREME,
            EXTREME,
            exact=False,
            norms=NORMS,
            columns_vary=encoder != "classical",
        )
    return MODALITIES[modality].pretrained_features(name, spec, config)


def check_features(folder: Path, splits: tuple[Split, ...], spec: FeatureSpec, parts: list[Path]) -> list[SuiteResult]:
    """What the expectations on the features of an input found, of the rows of these splits of the samples in a folder."""
    from tasks.validate.feature_statistics import columns_frame, features_frame
    from tasks.validate.suite import run_suite

    samples, name = Samples.read(folder), spec.modality
    samples = samples.of_split(*splits) if splits else samples
    frame = features_frame(samples, name, parts)
    results = [run_suite(f"{name}_features", frame, features_expectations(spec))]
    if spec.columns_vary and samples.has(name).any():
        columns = columns_frame(samples, name, parts)
        results.append(run_suite(f"{name}_columns", columns, columns_expectations(name)))
    return results
