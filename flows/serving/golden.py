"""Golden rows: synthetic inputs that go with a release, and what the model answered to them where it was exported.

They show on another machine that the same model reads and answers the same. No row of the data is among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, ValidationError

from data_contracts.refs import Frozen, InputName
from flows.serving.prediction import Prediction
from flows.serving.predictor import Predictor
from flows.serving.row_media import Row
from tasks.errors import DataError, EnvironmentFailed
from tasks.escaping import one_line
from tasks.modalities import spec_of
from tasks.modeling.card import ModelCard
from tasks.modeling.release import GOLDEN_FILE, GOLDEN_FOLDER, RELEASE, Release, list_hidden, require_release
from tasks.store import write_text

FILE, FOLDER = GOLDEN_FILE, GOLDEN_FOLDER
TOLERANCE = 1e-3
"""Of a probability; of a number beyond 1 relative. Equal models differ by some 1e-6 from one processor to another, which deep
networks and other versions of a library multiply; another weight or another way to read a picture moves far more."""


class GoldenRow(Frozen):
    """A row, and the answer to it."""

    files: dict[InputName, str] = Field(default_factory=dict)
    """Input to the file of the release that it is."""
    values: dict[str, str | float] = Field(default_factory=dict)
    """Input or column to what stands there."""
    expected: Prediction

    def row(self, folder: Path) -> Row:
        """As `Predictor.predict` takes it."""
        return {**self.values, **{name: folder / file for name, file in self.files.items()}}


class GoldenRows(Frozen):
    """The content of golden_rows.json."""

    synthetic: bool = True
    """Made from numbers: no row of the data."""
    rows: tuple[GoldenRow, ...] = Field(min_length=1)


class Verified(Frozen):
    """What was verified of a release."""

    model: str
    version: str
    files: int
    """Whose sha256 is that of its list."""
    golden_rows: int
    hidden: tuple[str, ...]
    """Hidden files and folders that are not on its list, as git and the hub leave them; not verified."""
    difference: float | None
    """The largest one from an expected probability or number; None without golden rows."""
    signature: str = "unsigned"
    """unsigned, or with which key it is signed, and whether that was verified."""


def write_golden_rows(predictor: Predictor, folder: Path) -> None:
    """golden_rows.json and its media lie in the folder: one row with all inputs, one with each alone."""
    rows = []
    for number, names in enumerate(_subsets(predictor.card)):
        files, values = _make_row(predictor.card, names, number, folder)
        inputs = {**values, **{name: folder / file for name, file in files.items()}}
        if inputs:
            rows.append(GoldenRow(files=files, values=values, expected=predictor.predict([inputs])[0]))
    if rows:
        write_text(folder / FILE, GoldenRows(rows=tuple(rows)).model_dump_json(indent=1) + "\n")


def _subsets(card: ModelCard) -> Iterator[tuple[InputName, ...]]:
    yield card.modalities
    if len(card.modalities) > 1:
        yield from ((name,) for name in card.modalities)


def _make_row(
    card: ModelCard, names: tuple[InputName, ...], number: int, folder: Path
) -> tuple[dict[InputName, str], dict[str, str | float]]:
    """Input to the file that is written for it, and input or column to its value."""
    files: dict[InputName, str] = {}
    values: dict[str, str | float] = {}
    for place, name in enumerate(names):
        sample = spec_of(name).sample(10 * number + place)
        columns = spec_of(name).joined_columns()
        if columns is not None:
            entries = map(columns.split_entry, columns.columns_read(card.encoders[name]))
            values |= {column: float(number) if of == "numeric" else f"example {number}" for column, of in entries}
        elif isinstance(sample, str):
            values[name] = sample
        elif sample is not None:
            ending, data = sample
            (folder / FOLDER).mkdir(exist_ok=True)
            files[name] = f"{FOLDER}/{number}-{name}{ending}"
            (folder / files[name]).write_bytes(data)
    return files, values


def read_golden_rows(folder: Path) -> tuple[GoldenRow, ...]:
    """Those of a release; none where it was exported without. DataError where they cannot be read."""
    try:
        return GoldenRows.model_validate_json((folder / FILE).read_bytes()).rows
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        detail = one_line(error.errors()[0]["msg"], 200)
        raise DataError(f"release {folder / FILE}: damaged ({detail}); export it again") from None


def verify_release(folder: Path, predictor: Predictor) -> Verified:
    """Every file of a release is as it was exported, and `predictor`, loaded from it, answers its golden rows as expected.

    Raises UsageError where the folder is no release, EnvironmentFailed where a file or an answer is another.
    """
    release = require_release(folder)
    golden = read_golden_rows(folder)
    if foreign := {file for row in golden for file in row.files.values()} - release.files.keys():
        raise DataError(
            f"release {folder / FILE}: names {one_line(min(foreign), 80)}, which the release does not hold; "
            "export it again"
        )
    differences = [_difference(row, predictor.predict([row.row(folder)])[0]) for row in golden]
    for number, difference in enumerate(differences):
        if not difference <= TOLERANCE:
            raise EnvironmentFailed(
                f"release {folder}: golden row {number} is answered otherwise than where it was exported (differs by "
                f"{difference:.3g}, at most {TOLERANCE:g}); compare the libraries' versions with those in {RELEASE}"
                f"{_other_versions(release)}"
            )
    return Verified(
        model=release.name,
        version=release.version,
        files=len(release.files),
        golden_rows=len(golden),
        hidden=tuple(one_line(name, 80) for name in list_hidden(folder, release)),
        difference=max(differences, default=None),
    )


def _difference(row: GoldenRow, found: Prediction) -> float:
    """The largest one of an output, of the answer's probability or of its interval; infinite where anything else differs."""
    expected = row.expected
    numbers, others = _numbers_of(expected), _numbers_of(found)
    same = expected.label == found.label or expected.probability is None
    if not same or numbers.keys() != others.keys() or _settled(expected) != _settled(found):
        return math.inf
    gaps = [abs(value - others[key]) / max(1.0, abs(value)) for key, value in numbers.items()]
    return max((math.inf if math.isnan(gap) else gap for gap in gaps), default=0.0)


def _numbers_of(answer: Prediction) -> dict[tuple[str, str | int], float]:
    """All numbers of an answer, by field and by name or place."""
    found: dict[tuple[str, str | int], float] = {("probabilities", key): v for key, v in answer.probabilities.items()}
    found |= {("prediction_interval", place): value for place, value in enumerate(answer.prediction_interval or ())}
    return found if answer.probability is None else {**found, ("probability", ""): answer.probability}


def _settled(answer: Prediction) -> tuple[object, ...]:
    """What of an answer is equal or not: the inputs used, which labels may be true, and what is said of the row."""
    labels = None if answer.prediction_set is None else sorted(answer.prediction_set)
    return answer.modalities, labels, answer.abstained, answer.out_of_distribution


def _other_versions(release: Release) -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name, published in release.lineage.environment.items():
        try:
            here = version(name) if name != "python" else published
        except (PackageNotFoundError, ValueError):
            continue
        if here != published:
            found.append(one_line(f"{name} {here} here, {published} there", 100))
    return f": {', '.join(found[:5])}" if found else ""
