"""Rows that their annotator did not accept, as Prodigy marks them: they have no label that holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tasks.ingest.manifest.label_columns import UNLABELLED
from tasks.ingest.manifest.rows import Manifest, Row

ANSWER = "answer"
_REJECTED = frozenset({"reject", "ignore"})
"""What Prodigy writes besides accept: https://prodi.gy/docs/api-interfaces."""
_OF_PRODIGY = frozenset({"_input_hash", "_task_hash"})


def set_rejected_aside(manifest: Manifest, first: Sequence[Row]) -> tuple[Manifest, list[str]]:
    """The manifest, not yet read, whose rejected rows are unlabelled, with a note; as it was where it is none of Prodigy's.

    That it is one say Prodigy's own columns, or the answers in its `first` rows.
    """
    answers = {str(row.values.get(ANSWER)) for row in first}
    by_answers = bool(answers & _REJECTED) and answers <= _REJECTED | {"accept", "None"}
    if ANSWER not in manifest.columns or not (_OF_PRODIGY & set(manifest.columns) or by_answers):
        return manifest, []
    note = (
        f"{manifest.path.name}: rows whose answer is reject or ignore are set aside as unlabelled, as Prodigy's annotators "
        "did not accept them; without the column answer they are used"
    )
    return replace(manifest, rows=_marked(manifest.rows)), [note]


def _marked(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        answer = row.values.get(ANSWER)
        is_rejected = row.reason is None and isinstance(answer, str) and answer in _REJECTED
        yield replace(row, reason=UNLABELLED, detail=f"its annotator answered {answer!r}") if is_rejected else row
