"""Pure rules that decide what becomes of each row: used, quarantined with a reason, or dropped as a duplicate."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.refs import InputName
from data_contracts.row_examples import row_name
from tasks.config_sections import SplitConfig
from tasks.errors import DataError
from tasks.ingest.sample_rows import Columns, Rows, SampleRow, codes_of, contents_of, recurring
from tasks.ingest.times import find_form
from tasks.modalities import spec_of


def apply_outcomes(columns: Columns, modalities: tuple[InputName, ...], outcomes: dict[InputName, pa.Table]) -> None:
    """Adds the digest of each source's canonical form, and warnings; a medium that failed gives its row a reason.

    `outcomes` is emptied, and the digests of the sources are dropped: the rows are known by what was decoded from here on.
    """
    for modality in modalities:
        known, sources = outcomes.pop(modality), columns.array(f"{modality}_sha256")
        places = pc.index_in(sources, value_set=known["source"].combine_chunks())
        columns.put(f"{modality}_digest", known["digest"].take(places))
        columns.put(f"{modality}_warning", known["warning"].take(places))
        reasons = known["reason"].take(places)
        details = known["detail"].take(places)
        lender = spec_of(modality).borrowed_from
        for place in np.flatnonzero(pc.is_valid(reasons)):
            row, reason = SampleRow(columns, int(place)), reasons[int(place)].as_py()
            if row["reason"] is not None:
                continue
            if reason == "no-sound" and lender and row[f"{modality}_sha256"] == row.get(f"{lender[0]}_sha256"):
                continue  # a silent clip under media.audio_from_video: no audio is missing, not broken
            row |= {"reason": reason, "detail": details[int(place)].as_py(), "bad_modality": modality}
    for modality in modalities:
        columns.drop(f"{modality}_sha256")


def mark_repeats(rows: Rows, columns: Columns, modalities: tuple[InputName, ...]) -> None:
    """Marks duplicates, contradictions and repeated ids among the rows that are still usable.

    Rows whose present modalities are all equal are the same sample. With one label the first stays and the others of the
    same given split are duplicates (on two sides of a given split both stay: that is leakage, for validate to report).
    With several labels all are quarantined. A second row under the same id is quarantined, too. `duplicate_of` is the row that
    such a one repeats or contradicts.
    """
    usable = rows.usable()
    by_content: dict[tuple[str | None, ...], list[SampleRow]] = defaultdict(list)
    for at in np.flatnonzero(recurring(contents_of(columns, usable.places, modalities))):
        row = usable[int(at)]
        if is_identified(row, modalities):
            by_content[content_of(row, modalities)].append(row)
    for repeats in by_content.values():
        labels = sorted({_said(row) for row in repeats})
        if len(labels) > 1:
            detail = f"the same content is labelled {', '.join(labels[:5])}"
            one, other = (next(row for row in repeats if _said(row) == label) for label in labels[:2])
            for row in repeats:
                duplicate_of = other if _said(row) == _said(one) else one
                row |= {"reason": "conflicting-label", "detail": detail, "duplicate_of": duplicate_of}
            continue
        first: dict[str | None, SampleRow] = {}
        for row in repeats:
            kept = first.setdefault(row["split"], row)
            if kept is not row:
                row |= {
                    "reason": "duplicate",
                    "detail": f"same content as {kept['id']} ({row_name(kept['row'], kept['table'])})",
                    "duplicate_of": kept,
                }
    _mark_repeated_ids(rows, columns)


def _said(row: SampleRow) -> str:
    """What a row's label columns say, as one text."""
    return " ".join(filter(None, (row["label"], row["targets"])))


def _mark_repeated_ids(rows: Rows, columns: Columns) -> None:
    """Quarantines every usable row whose id an earlier usable row already has."""
    seen: dict[str, SampleRow] = {}
    for place in np.flatnonzero(recurring(codes_of(columns.array("id"), rows.places))):
        row = rows[int(place)]
        if row["reason"] is None and (kept := seen.setdefault(row["id"], row)) is not row:
            row |= {
                "reason": "duplicate-id",
                "detail": f"{row_name(kept['row'], kept['table'])} has this id, too",
                "duplicate_of": kept,
            }


def mark_rare(rows: Rows, least: int) -> None:
    """Refuses usable rows whose class has fewer rows than `least`, where two classes with as many remain."""
    usable = rows.usable()
    labels = usable.streamed("label")
    sizes = Counter(labels)
    if sum(size >= least for size in sizes.values()) < 2:
        return
    for at in np.flatnonzero([sizes[label] < least for label in labels]):
        label = labels[int(at)]
        count = sizes[label]
        detail = f"class {label!r} has {count} row{'s' if count > 1 else ''}; data.min_class_rows = {least}"
        row = usable[int(at)]
        row |= {"reason": "rare-class", "detail": detail}


def mark_unseen(rows: Rows) -> list[str]:
    """Refuses usable rows of val and test whose class no train row has, with a note; where train has two classes."""
    usable = rows.usable()
    labels, splits = usable.streamed("label"), usable.cells("split")
    learned = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    others = [split != "train" and label not in learned for label, split in zip(labels, splits, strict=True)]
    unseen = usable.take(np.flatnonzero(others))
    if len(learned) < 2 or not len(unseen):
        return []
    for row in unseen:
        detail = f"class {row['label']!r} of {row['split']} is never seen in train (split.strict)"
        row |= {"reason": "unseen-label", "detail": detail}
    named = sorted(set(unseen.cells("label")))
    shown = ", ".join(map(repr, named[:3])) + (", …" if len(named) > 3 else "")
    return [
        f"{len(unseen)} rows of val and test have labels that train never has ({shown}); they are set aside (split.strict)"
    ]


def mark_sealed(rows: Rows, config: SplitConfig) -> list[str]:
    """Sets the rows aside that split.sealed keeps for later, with a note; a note, too, where split.refresh has opened them."""
    if not config.sealed:
        return []
    if config.refresh:
        return [
            "test: the rows that split.sealed kept (split.refresh); those that were test before are validation rows"
        ]
    sealed = rows.take(np.flatnonzero([split == "sealed" for split in rows.cells("split")]))
    for row in sealed:
        row |= {"reason": "sealed", "detail": "kept for later by split.sealed; split.refresh=true makes it a test row"}
    return [f"sealed: {len(sealed):,} rows are kept for later (split.sealed = {config.sealed:g}), in no split"]


def count_straddling(rows: Rows) -> list[str]:
    """A line on the ids that stand on two sides of a given split: the sample is known to be one, whatever its content.

    It is no leakage of the rows that are used, as only the first row of an id is; but the split was not made by sample.
    """
    apart = [
        row["id"]
        for row in rows.refused()
        if row["reason"] == "duplicate-id" and row["split"] and row["duplicate_of"]["split"] not in (None, row["split"])
    ]
    if not apart:
        return []
    return [
        f"{len(apart)} ids stand on two sides of the given split, for example {', '.join(sorted(set(apart))[:5])}; only the "
        "first row of each is used: split by sample, or give different samples different ids"
    ]


def is_identified(row: SampleRow, modalities: tuple[InputName, ...]) -> bool:
    """Whether equal media make equal samples: not where a few columns are all that is known of a row."""
    return any(row.get(f"{name}_digest") and spec_of(name).identifies for name in modalities)


def content_of(row: SampleRow, modalities: tuple[InputName, ...]) -> tuple[str | None, ...]:
    """The digests of a row's present modalities, None for a missing one."""
    return tuple(row.get(f"{modality}_digest") for modality in modalities)


def count_repeats(rows: Rows, columns: Columns, modalities: tuple[InputName, ...]) -> list[str]:
    """One line per modality in which samples that differ elsewhere share a medium: normal, and said for the record."""
    notes = []
    contents = contents_of(columns, rows.places, modalities)
    for modality in modalities:
        media = codes_of(columns.array(f"{modality}_digest"), rows.places)
        pairs = np.unique((media << 32 | contents)[media >= 0])
        sizes = np.unique(pairs >> 32, return_counts=True)[1]
        shared = sizes[sizes > 1]
        if shared.size:
            notes.append(
                f"{modality}: {shared.size} of {sizes.size} occur in several samples that differ elsewhere "
                f"({shared.sum()} samples); they are kept"
            )
    return notes


def parse_times(rows: Rows, by_time: bool, time_format: str = "auto") -> list[str]:
    """Replaces each row's time by a number, with a note on its form; a row that is to be divided by time and has none gets
    a reason.

    Raises DataError where none of those rows has one: the column is missing.
    """
    splits, times = rows.cells("split"), rows.cells("time")
    named = set(splits)
    divided = {None, "train"} if "train" in named and len({"val", "test"} & named) == 1 else {None}
    needed = rows.usable() if by_time else rows.take(np.empty(0, np.int64))
    needed = needed.take(np.flatnonzero([split in divided for split in needed.cells("split")]))
    texts = needed.cells("time")
    if texts and all(text is None for text in texts):
        raise DataError(
            "split.by=time: no row has a time; add a column 'time', map one with --set data.columns.time=COLUMN, "
            "or choose split.by=hash"
        )
    form = find_form([text for text in texts if text is not None], time_format)
    rows.put("time", [None if time is None else form.read(time) for time in times])
    for row, text in zip(needed, texts, strict=True):
        if text is None:
            row |= {"reason": "missing-time", "detail": "the time column is empty, and split.by is time"}
        elif row["time"] is None:
            doubt = (
                form.doubt
                or f"{text[:50]!r} is no number, no ISO 8601 date, and not as the others: see data.time_format"
            )
            row |= {"reason": "bad-time", "detail": doubt}
    return [form.note] if form.note else []
