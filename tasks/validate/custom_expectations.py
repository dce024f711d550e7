"""Expectations of the user's own, on the manifest's columns: read from a JSON file, run beside ours.

The file is a list of `{"type": "expect_column_values_to_be_between", "kwargs": {"column": "age", "min_value": 0}, "severity":
"critical"}`. A type is the name of one of Great Expectations' core expectations, and nothing in the file is ever run as
code: no query, no row condition, and arguments are plain values or lists of them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from data_contracts.expectations import Severity, about, gallery
from tasks.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations.expectation import Expectation

MAX_EXPECTATIONS = 500
_FILE_BYTES = 1 << 20
_COLUMNS = ("column", "column_A", "column_B", "column_list", "column_set")
_RESERVED = frozenset(
    {
        "row_condition",
        "condition_parser",
        "batch_id",
        "windows",
        "meta",
        "notes",
        "id",
        "description",
        "severity",
        "query",
    }
    | {"result_format", "catch_exceptions", "rendered_content", "template_dict", "comparison_query"}
)
_OF_TEXT = ("regex", "length", "pattern", "strftime", "dateutil", "json")
Plain = str | int | float | bool | None


class OwnExpectation(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: Annotated[str, Field(pattern=r"^expect_[a-z_]{1,100}$")]
    kwargs: dict[str, Plain | list[Plain]]
    severity: Severity = "critical"

    @property
    def columns(self) -> list[str]:
        """The columns it is about."""
        named = [self.kwargs.get(key) for key in _COLUMNS]
        return [str(name) for entry in named for name in (entry if isinstance(entry, list) else [entry]) if name]

    @property
    def is_of_text(self) -> bool:
        """Whether it looks at how a value is written: 7 is then "7", and 007 is not 7."""
        return any(word in self.type for word in _OF_TEXT)


def read_expectations(path: str) -> tuple[OwnExpectation, ...]:
    """The entries of the file. UsageError, in one line, for a file that cannot be read or an entry that is not one."""
    where = f"data.expectations={path!r}"
    try:
        with Path(path).open("rb") as file:
            data = file.read(_FILE_BYTES + 1)
        if len(data) > _FILE_BYTES:
            raise UsageError(f"{where}: larger than 1 MB; give a list of at most {MAX_EXPECTATIONS} expectations")
        entries = TypeAdapter(list[OwnExpectation]).validate_python(json.loads(data))
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{where}: not readable as JSON ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][:3])
        raise UsageError(f"{where}: entry {place or 'list'}: {first['msg']}; give {{type, kwargs, severity}}") from None
    if len(entries) > MAX_EXPECTATIONS:
        raise UsageError(f"{where}: {len(entries)} expectations; at most {MAX_EXPECTATIONS}")
    for number, entry in enumerate(entries):
        refused = sorted(_RESERVED & entry.kwargs.keys())
        if refused:
            raise UsageError(f"{where}: entry {number} ({entry.type}): {refused[0]!r} is not accepted; leave it out")
    return tuple(entries)


def own_frame(samples: pa.Table, metadata: pa.Table) -> pd.DataFrame:
    """The samples' columns and the user's own, whose cells are as the manifest gives them (in CSV: strings)."""
    import pandas as pd

    cells = dict(zip(metadata["id"].to_pylist(), metadata["metadata"].to_pylist(), strict=True))
    kept = [json.loads(cells.get(name) or "{}") for name in samples["id"].to_pylist()]
    frame: pd.DataFrame = samples.to_pandas()
    names = dict.fromkeys(name for row in kept for name in row if name != "id")
    own = pd.DataFrame({name: pd.Series([row.get(name) for row in kept], dtype=object) for name in names})
    return pd.concat([frame.drop(columns=[name for name in names if name in frame]), own], axis=1)


def as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with every column of objects that holds numbers only, written as such or as text, as numbers."""
    import pandas as pd

    converted = frame.copy()
    for name in converted.columns:
        if converted[name].dtype.kind in "OU" or isinstance(converted[name].dtype, pd.StringDtype):
            numbers = pd.to_numeric(converted[name], errors="coerce")
            if name != "id" and numbers.notna().any() and (numbers.notna() == converted[name].notna()).all():
                converted[name] = numbers
    return converted


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with every cell as text."""
    return frame.astype(object).where(frame.isna(), frame.map(str)).where(frame.notna(), None)


def build_expectations(entries: tuple[OwnExpectation, ...], frame: pd.DataFrame, path: str) -> list[Expectation]:
    """Great Expectations' objects. UsageError for a type it does not have, a column that is not there, wrong arguments."""
    from great_expectations.compatibility.pydantic import ValidationError as Refused

    core = _core_types()
    built = []
    for place, entry in enumerate(entries):
        where = f"data.expectations={path!r}: entry {place} ({entry.type})"
        if entry.type not in core:
            raise UsageError(f"{where}: not one of Great Expectations' core expectations")
        absent = [name for name in entry.columns if name not in frame]
        if absent and "column_set" not in entry.kwargs and "column_list" not in entry.kwargs:
            known = ", ".join(map(str, frame.columns))
            raise UsageError(f"{where}: no column {absent[0]!r} in the manifest; there are {known}")
        about_it = about(f"{entry.type}[{place}]", _states(entry), f"correct these rows, or {path}", entry.severity)
        try:
            built.append(core[entry.type](**entry.kwargs, **about_it))
        except (Refused, TypeError, ValueError) as error:
            message = " ".join(str(error).split())[:200]
            raise UsageError(f"{where}: its kwargs are not accepted ({message})") from None
    return built


def _core_types() -> dict[str, type[Any]]:
    """The name of each core expectation to its class; those that take a query are left out."""
    classes = {
        name: kind for name, kind in vars(gallery()).items() if name.startswith("Expect") and name != "Expectation"
    }
    named = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): kind for name, kind in classes.items()}
    return {name: kind for name, kind in named.items() if name.startswith("expect_") and "query" not in name}


def _states(entry: OwnExpectation) -> str:
    """Its arguments in one line."""
    return json.dumps(entry.kwargs, ensure_ascii=False, sort_keys=True)[:200]
