"""What a translation came to: the report's figures, kept as an artifact, and a table of the rows with what was generated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from data_contracts.modalities import modality_of
from data_contracts.refs import IN_CELLS, Ref, ValidatedRef
from data_contracts.translation import (
    GENERATED,
    REPORT,
    ArmFigures,
    ArmPairing,
    PairRef,
    ShownRow,
    TranslationRef,
    TranslationReport,
)
from tasks.config import RunConfig
from tasks.fingerprint import code_fingerprint
from tasks.media.media_store import MediaReader, media_fingerprint
from tasks.samples import Samples
from tasks.store import Store, canonical_json, digest_json, write_text
from tasks.translate.tables import Outputs

KIND = "translations"
MOST_FREQUENT = 12


@dataclass(frozen=True)
class Generation:
    """What was generated for a table of samples."""

    outputs: Outputs
    """Digest of a source medium to that of what was made from it."""
    fingerprint: str
    """Of the generator."""
    computed: int
    """Distinct media that this run generated."""
    pair: PairRef | None = None


def rows_table(valid: ValidatedRef, made: Generation, config: RunConfig, store: Store) -> pa.Table:
    """One line per row that has the source: what was generated for it, marked as generated, beside what is real."""
    asked = config.translate
    every = Samples.read(store.path(valid.uri))
    samples = every.where(every.has(asked.source))
    sources = samples.digests(asked.source)
    real = samples.digests(asked.target) if asked.target in samples.names else [None] * len(samples)
    adds = asked.mode == "add"
    cells = [
        made.outputs.get(str(source)) if adds or own is None else None
        for source, own in zip(sources, real, strict=True)
    ]
    columns = {name: samples.column(name) for name in ("id", "label", "split", "group")}
    return pa.table(
        {
            **columns,
            f"{asked.source}_digest": pa.array(sources, pa.string()),
            f"{asked.target}_digest": pa.array(cells, pa.string()),
            asked.target: pa.array(_texts(cells, config, store), pa.string()),
            f"{asked.target}_{GENERATED}": pa.array([cell is not None for cell in cells], pa.bool_()),
            "generator": pa.array(
                [None if cell is None else asked.generator.partition(":")[0] for cell in cells], pa.string()
            ),
            f"real_{asked.target}_digest": pa.array(real, pa.string()),
        }
    )


def _texts(cells: Sequence[str | None], config: RunConfig, store: Store) -> list[str | None]:
    """The texts themselves; None where something else was generated."""
    target = modality_of(config.translate.target)
    if target not in IN_CELLS:
        return [None] * len(cells)
    reader = MediaReader(store, target, media_fingerprint(target, config.media))
    held = dict(reader.read({cell for cell in cells if cell is not None}))
    return [None if cell is None else str(held[cell]) for cell in cells]


def make_report(
    valid: ValidatedRef,
    made: Generation,
    rows: pa.Table,
    arms: Sequence[ArmFigures],
    pairings: Sequence[ArmPairing],
    answers: Mapping[str, Mapping[str, str]],
    metric: str,
    config: RunConfig,
) -> TranslationReport:
    """All figures of the report. `answers`: model to id to what it answers; `rows`: of `rows_table`."""
    asked = config.translate
    marked = rows[f"{asked.target}_{GENERATED}"].to_pylist()
    splits = Counter(split for split, is_made in zip(rows["split"].to_pylist(), marked, strict=True) if is_made)
    texts = Counter(text for text in rows[asked.target].to_pylist() if text is not None)
    outputs = [cell for cell in made.outputs.values() if cell is not None]
    notes = []
    missing = len(made.outputs) - len(outputs)
    if missing:
        notes.append(
            f"nothing came out for {missing:,} of {len(made.outputs):,} media; their rows lack the generated input"
        )
    if asked.epochs is not None and asked.epochs != config.train.epochs:
        notes.append(
            f"Every model here was trained with translate.epochs = {asked.epochs}; a retrain trains with train.epochs = "
            f"{config.train.epochs}."
        )
    return TranslationReport(
        source=asked.source,
        target=asked.target,
        generator=_named(asked.generator),
        fingerprint=made.fingerprint,
        media=media_fingerprint(modality_of(asked.target), config.media),
        mode=asked.mode,
        rows=rows.num_rows,
        without_source=valid.rows - rows.num_rows,
        generated={"train": splits["train"], "val": splits["val"], "test": splits["test"]},
        nothing=missing,
        computed=made.computed,
        reused=len(made.outputs) - made.computed,
        distinct=len(set(outputs)),
        most_frequent=tuple(texts.most_common(MOST_FREQUENT)),
        metric=metric,
        arms=tuple(arms),
        pairings=tuple(pairings),
        pair=made.pair,
        shown=_choose_shown(rows, answers, config),
        notes=tuple(notes),
    )


def _named(generator: str) -> str:
    """The id without the folder that its files lie in: a report says nothing of this machine."""
    family, colon, rest = generator.partition(":")
    name, at, version = rest.partition("@")
    name = name.rstrip("/").rpartition("/")[2] if name.startswith(("/", ".", "~")) else name
    return f"{family}{colon}{name}{at}{version.rpartition('/')[2]}"


def _choose_shown(rows: pa.Table, answers: Mapping[str, Mapping[str, str]], config: RunConfig) -> tuple[ShownRow, ...]:
    """Test rows with a generated cell, every label in turn, by the digest of their id: neither the best nor the worst."""
    asked = config.translate
    lines = [line for line in rows.to_pylist() if line["split"] == "test" and line[f"{asked.target}_{GENERATED}"]]
    lines.sort(key=lambda line: digest_json(line["id"]))
    turn: Counter[str] = Counter()
    ranked = []
    for line in lines:
        ranked.append((turn[line["label"]], line["label"], line))
        turn[line["label"]] += 1
    ranked.sort(key=lambda each: each[:2])
    return tuple(
        ShownRow(
            id=line["id"],
            label=line["label"],
            split=line["split"],
            source=line[f"{asked.source}_digest"],
            generated=line[f"{asked.target}_digest"],
            answers={name: found[line["id"]] for name, found in answers.items() if line["id"] in found},
        )
        for _, _, line in ranked[: asked.max_listed]
    )


def keep_translation(report: TranslationReport, reason: str, made_from: Sequence[Ref], store: Store) -> TranslationRef:
    """translation.json is an artifact of the store."""
    content = report.model_dump(mode="json")
    key = digest_json([content, [ref.sha256 for ref in made_from], code_fingerprint("translate")])
    if (found := store.find(KIND, key)) is not None:
        return TranslationRef.model_validate(found.ref)
    ref = TranslationRef(
        uri=f"{KIND}/{key}",
        sha256=digest_json(content),
        rows=report.rows,
        parents=tuple(ref.sha256 for ref in made_from),
        reason=reason,
        counts={"generated": report.computed, "reused": report.reused, "nothing": report.nothing},
    )
    with store.create(KIND, key, [ref.uri for ref in made_from], code_fingerprint("translate")) as draft:
        write_text(draft.path / REPORT, canonical_json(content))
        draft.ref = ref.model_dump(mode="json")
    return ref
