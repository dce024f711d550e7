"""Labels that rows to be predicted give, in the spelling of the model; and how many it does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from data_contracts.refs import Target
from tasks.ingest.manifest.label_spelling import same_class
from tasks.problems.registry import problem_of

_SHOWN = 3


@dataclass(frozen=True)
class KnownLabels:
    """What the rows give."""

    labels: list[str | None]
    """As the model spells them: 1 for 1.0, true for True. What it does not know stays as it is."""
    unknown: Counter[str]
    """Labels that the model does not know, with the number of rows that give them."""
    rows: list[bool]
    """Whether a row gives labels, all of which the model knows."""

    def describe(self) -> str | None:
        """A note on labels that the model does not know; None where there are none."""
        if not self.unknown:
            return None
        shown = ", ".join(repr(label) for label, _ in self.unknown.most_common(_SHOWN))
        more = ", …" if len(self.unknown) > _SHOWN else ""
        count = sum(text is not None and not known for text, known in zip(self.labels, self.rows, strict=True))
        return f"{count} rows give labels that the model does not know ({shown}{more}); no figure counts these rows"


def match_labels(cells: Sequence[str | None], target: Target) -> KnownLabels:
    """The given texts of a label column as the model's target spells its labels."""
    if not target.labels:  # numbers
        return KnownLabels(list(cells), Counter(), [label is not None for label in cells])
    problem = problem_of(target)
    spelt = {same_class(label): label for label in reversed(target.labels)} | {label: label for label in target.labels}
    unknown: Counter[str] = Counter()
    labels: list[str | None] = []
    rows = []
    for text in cells:
        names = () if text is None else problem.labels_of(text)
        found = [spelt.get(name) or spelt.get(same_class(name)) for name in names]
        unknown.update(name for name, label in zip(names, found, strict=True) if label is None)
        spellings = [label or name for name, label in zip(names, found, strict=True)]
        labels.append(None if text is None else problem.text_of(spellings))
        rows.append(text is not None and None not in found)
    return KnownLabels(labels, unknown, rows)
