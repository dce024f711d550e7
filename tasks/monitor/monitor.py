"""The monitor stage: new samples against the profile that the champion was published with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from data_contracts.refs import ChampionRef, CleanRef, DriftTest, FeatureRef, InputName, MonitorReport
from tasks.config import RunConfig
from tasks.fingerprint import code_fingerprint
from tasks.modalities import spec_of
from tasks.modeling.profile import profile_rows, read_profile_file
from tasks.modeling.training_rows import are_known, read_rows
from tasks.monitor.compare import MIN_ROWS, compare_profiles
from tasks.number_format import p_text
from tasks.samples import Samples
from tasks.store import Store, canonical_json, digest_json, write_text

KIND = "monitors"


def monitor_key(
    clean: CleanRef, features: Mapping[InputName, FeatureRef], champion: ChampionRef, config: RunConfig
) -> str:
    """The digest of everything that a report depends on."""
    modules = sorted({module for name in features for module in spec_of(name).statistics_modules})
    return digest_json(
        {
            "clean": clean.sha256,
            "features": {name: ref.sha256 for name, ref in features.items()},
            "champion": champion.sha256,
            "config": config.subset("monitor", "seed"),
            "code": code_fingerprint("monitor", modules=tuple(modules)),
        }
    )


def monitor(
    clean: CleanRef, features: Mapping[InputName, FeatureRef], champion: ChampionRef, config: RunConfig, store: Store
) -> MonitorReport:
    """The report on new samples is stored: every test with its p-value and effect, and whether the data have drifted.

    Rows that the model was trained or evaluated with are left out.
    """
    key = monitor_key(clean, features, champion, config)
    found = store.find(KIND, key)
    if found is None:
        report = _compare(clean, features, champion, config, store, key)
        with store.create(KIND, key) as draft:
            write_text(draft.path / "report.json", canonical_json(report.model_dump(mode="json")))
            draft.ref = report.model_dump(mode="json")
        return report
    # An equal model may have been published again under another name or number since.
    named = {"name": champion.name, "version": champion.version}
    return MonitorReport.model_validate(found.ref).model_copy(update=named)


def _compare(
    clean: CleanRef,
    features: Mapping[InputName, FeatureRef],
    champion: ChampionRef,
    config: RunConfig,
    store: Store,
    key: str,
) -> MonitorReport:
    folder = store.path(champion.uri)
    reference = read_profile_file(folder)
    samples = Samples.read(store.path(clean.uri))
    new = _unknown(samples, champion, store)
    tests: tuple[DriftTest, ...] = ()
    if len(new) >= MIN_ROWS:
        profile = profile_rows(new, new, clean.media, features, folder, store)
        tests = compare_profiles(reference, profile, config.monitor, config.seed)
    content = {
        "rows": len(new),
        "parents": [clean.sha256, champion.sha256],
        "name": champion.name,
        "version": champion.version,
        "model_sha256": champion.model_sha256,
        "counts": clean.counts.model_dump(),
        "known": len(samples) - len(new),
        "alpha": config.monitor.alpha,
        "tests": [test.model_dump(mode="json") for test in tests],
        "drift": any(test.drifted for test in tests),
        "reason": explain(tests, len(new), len(samples) - len(new)),
    }
    return MonitorReport.model_validate({**content, "uri": f"{KIND}/{key}", "sha256": digest_json(content)})


def _unknown(samples: Samples, champion: ChampionRef, store: Store) -> Samples:
    """The samples that the model has not seen: of what it was trained on, it is surer."""
    held = read_rows(store.path(champion.uri))
    if not len(samples):
        return samples
    return samples.where(~are_known(samples.ids, np.concatenate(list(held.values()))))


def explain(tests: Sequence[DriftTest], rows: int, known: int) -> str:
    """What was found, as one readable line."""
    seen = f" ({known} rows that the model was made with left out)" if known else ""
    if not tests:
        return f"{rows} new rows, at least {MIN_ROWS} are needed to compare{seen}"
    drifted = [test for test in tests if test.drifted]
    if not drifted:
        return f"no drift in {len(tests)} tests on {rows} new rows{seen}"
    listed = "; ".join(_sentence(test) for test in drifted[:3])
    more = f"; and {len(drifted) - 3} more" if len(drifted) > 3 else ""
    return f"drift in {len(drifted)} of {len(tests)} tests on {rows} new rows{seen}: {listed}{more}"


def _sentence(test: DriftTest) -> str:
    change = f" {test.before} → {test.after}" if test.before else ""
    return f"{test.name}{change} (effect {test.effect:.2f}, p {p_text(test.p_holm)})"
