"""A run's inputs as a small folder in a zip file that ends as the run did, elsewhere: `crossmodal runs pack`."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import JsonValue

from data_contracts.modalities import ALL_MODALITIES
from data_contracts.refs import RawRef
from data_contracts.run_record import RunRecord
from flows.as_read import ReadRow, cell_text, medium_bytes, rows_as_read
from flows.history import RUNS, run_config, run_refs
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.encoder_ids import parse_encoder
from tasks.errors import UsageError
from tasks.ingest.manifest.rows import Inline
from tasks.modalities import spec_of
from tasks.redaction import redact, redact_cell, redact_json
from tasks.store import Store, replacing

MAX_ROWS = 200
MAX_MB = 100.0
README = """Packed from run {run} of crossmodal ({commit}), which ended with

    {end}

    crossmodal retrain --profile profile.toml --store store --plain

in this folder ends so again, as far as {rows} of the run's {total} rows tell. Install crossmodal from a clone at that commit:
pip install --constraint constraints.txt --editable CLONE. {left_out}
{encoders}Python {python}; the libraries' versions are in constraints.txt. Credentials in addresses were cut out.
"""


class Packed(NamedTuple):
    """What a pack holds."""

    path: Path
    rows: int
    total: int
    media: int
    bytes: int
    left_out: list[str]
    """What could not be taken along, a line each."""


def pack_run(store: Store, record: RunRecord, out: Path, most_rows: int = MAX_ROWS, most_mb: float = MAX_MB) -> Packed:
    """`out` is a zip file with the run's settings, its refused rows and others up to `most_rows`, and their media.

    Raises UsageError where the run came to no rows or its manifest has changed since.
    """
    if out.suffix != ".zip" or not out.absolute().parent.is_dir():
        raise UsageError(f"--out {str(out)!r}: name a .zip file in a folder that exists")
    config, refs = run_config(store, record.run), run_refs(store, record.run)
    if refs.raw is None:
        raise UsageError(
            f"run {record.run}: ended before its data were read ({record.reason}); there is nothing to pack"
        )
    chosen = _choose(refs.raw, config, store, record.run, most_rows)
    with replacing(out) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        packer = _Packer(archive, config, refs.raw, int(most_mb * 1e6))
        packed = packer.pack(chosen, store, record)
    return packed._replace(path=out, bytes=out.stat().st_size)


def _choose(raw: RawRef, config: RunConfig, store: Store, run: str, most: int) -> list[ReadRow]:
    """All rows where they are few; else the refused ones, at most half, and the first of the others, in their order."""
    if raw.rows <= most:
        return list(rows_as_read(raw, config, store))
    bad = _refused(store, run)
    refused: list[tuple[int, ReadRow]] = []
    others: list[tuple[int, ReadRow]] = []
    for place, row in enumerate(rows_as_read(raw, config, store)):
        group, limit = (refused, most // 2) if (row.raw["table"], row.raw["row"]) in bad else (others, most)
        if len(group) < limit:
            group.append((place, row))
    return [row for _, row in sorted([*refused, *others[: most - len(refused)]], key=lambda item: item[0])]


def _refused(store: Store, run: str) -> set[tuple[str | None, int]]:
    """Table and number of every row that was not used."""
    path = store.root / RUNS / run / "quarantine.parquet"
    rows = read_table(path, ["table", "row"]).to_pylist() if path.is_file() else []
    return {(row["table"], row["row"]) for row in rows}


class _Packer:
    """Writes into an archive, no more than so many bytes of media."""

    def __init__(self, archive: zipfile.ZipFile, config: RunConfig, raw: RawRef, most_bytes: int) -> None:
        self._archive, self._config, self._raw, self._left = archive, config, raw, most_bytes
        self._held: dict[str, str] = {}
        self._left_out: list[str] = []
        self._rows = 0

    def pack(self, chosen: list[ReadRow], store: Store, record: RunRecord) -> Packed:
        """Everything is in the archive."""
        tables: dict[str, list[str]] = {}
        names = {str(row.manifest.path) for row in chosen}
        for row in chosen:
            line = self._line(row)
            if line is not None:
                name = "manifest" if len(names) == 1 else row.manifest.path.stem
                tables.setdefault(f"data/{name}.jsonl", []).append(line)
                self._rows += 1
        for name, lines in tables.items():
            self._archive.writestr(name, "\n".join(lines) + "\n")
        path = next(iter(tables)) if len(tables) == 1 else "data"
        self._archive.writestr("profile.toml", profile_text(self._portable(path)))
        self._archive.writestr("constraints.txt", "\n".join(constraints()) + "\n")
        for name in ("summary.json", "run.json"):
            file = store.root / RUNS / record.run / name
            if file.is_file():
                self._archive.writestr(
                    name, json.dumps(redact_json(json.loads(file.read_text(encoding="utf-8"))), indent=1)
                )
        self._archive.writestr("README.txt", self._readme(record))
        return Packed(Path(), self._rows, self._raw.rows, len(self._held), 0, self._left_out)

    def _line(self, row: ReadRow) -> str | None:
        """The row as a line of JSON whose media lie in the archive; None where there is no room, or it has no cells."""
        if row.row.reason is not None:
            self._left_out.append(f"{row.name}: could not be read ({row.row.reason}: {row.row.detail})")
            return None
        cells = dict(row.row.values)
        for modality, column in self._raw.columns.items():
            if spec_of(modality).joined_columns() is not None:
                continue  # several columns, whose cells go along as they are
            where = row.raw.get(modality)
            if row.raw.get(f"{modality}_sha256") is None or not where or column not in cells:
                cells[column] = None if isinstance(cells.get(column), Inline) else cells.get(column)
                self._take_refused(row, cells.get(column))
                continue
            content = medium_bytes(where, self._config, self._left)
            if content is None:
                self._left_out.append(f"{row.name}: {modality} is gone, an address, or more than fits")
                continue
            suffix = (
                PurePosixPath(where.partition(":")[2] or where).suffix
                if where.startswith("inline:")
                else Path(where).suffix
            )
            cells[column] = self._keep(str(row.raw[f"{modality}_sha256"]), suffix, content)
        return json.dumps({name: _cell(cell_text(value)) for name, value in cells.items()}, ensure_ascii=False)

    def _keep(self, digest: str, suffix: str, content: bytes) -> str:
        """The place of a medium, seen from the manifest."""
        if digest not in self._held:
            safe = suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix) else ""
            self._held[digest] = f"media/{digest[:20]}{safe}"
            self._archive.writestr(f"data/{self._held[digest]}", content)
            self._left -= len(content)
        return self._held[digest]

    def _take_refused(self, row: ReadRow, cell: Any) -> None:
        """A file that was refused before it was digested (empty, say) goes along under its own relative name."""
        if not isinstance(cell, str) or "://" in cell or len(cell) > 400 or "\0" in cell:
            return
        root = row.manifest.root.resolve()
        path = (root / cell).resolve()
        name = f"data/{cell}"
        if PurePosixPath(cell).is_absolute() or ".." in PurePosixPath(cell).parts or not path.is_relative_to(root):
            return
        if (
            path.is_file()
            and path.stat().st_size <= min(self._left, 1_000_000)
            and name not in self._archive.namelist()
        ):
            self._archive.writestr(name, path.read_bytes())
            self._left -= path.stat().st_size

    def _portable(self, path: str) -> dict[str, JsonValue]:
        """The settings that differ from the defaults, with the data where they lie in the archive."""
        config = self._config.model_dump(mode="json", exclude_defaults=True)
        data = {key: value for key, value in config.get("data", {}).items() if key not in ("sample", "allowed_roots")}
        data["path"] = path
        own = self._config.data.expectations
        if own is not None:
            self._archive.writestr("expectations.json", redact(Path(own).read_text(encoding="utf-8")))
            data["expectations"] = "expectations.json"
        return dict(redact_json(config | {"data": data}))

    def _readme(self, record: RunRecord) -> str:
        encoders = self._config.encoders
        named = [(modality, encoders.of(modality)) for modality in ALL_MODALITIES]
        needed = [
            f"encoders.{modality} = {name}" for modality, name in named if parse_encoder(name, modality).is_pretrained
        ]
        return README.format(
            run=record.run,
            commit=record.git_commit or "commit unknown",
            end=f"{record.verdict or record.status}: {record.reason}",
            rows=self._rows,
            total=self._raw.rows,
            left_out=f"Left out: {'; '.join(self._left_out[:20])}." if self._left_out else "",
            encoders=f"Not in here, but needed: the files of {', '.join(needed)}.\n" if needed else "",
            python=platform.python_version(),
        )


def _cell(value: Any) -> Any:
    """Words stay as they are, which distinguish rows and from which models learn."""
    return redact_cell(value) if isinstance(value, str) else redact_json(value)


def constraints() -> Iterator[str]:
    """`name==version` of what crossmodal depends on."""
    for requirement in importlib.metadata.requires("crossmodal") or ():
        name = re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]
        if "extra ==" in requirement:
            continue
        try:
            yield f"{name}=={importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue


def profile_text(values: Mapping[str, object]) -> str:
    """The values of a config as TOML: plain keys first, then a table for each section."""
    lines = [
        f"{key} = {_toml(value)}" for key, value in values.items() if not isinstance(value, dict) and value is not None
    ]
    for section, inner in values.items():
        if isinstance(inner, dict):
            lines += ["", *_table(section, inner)]
    return "\n".join(lines) + "\n"


def _table(name: str, values: Mapping[str, object]) -> Iterator[str]:
    yield f"[{name}]"
    yield from (
        f"{key} = {_toml(value)}" for key, value in values.items() if value is not None and not isinstance(value, dict)
    )
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _table(f"{name}.{key}", value)


def _toml(value: Any) -> str:
    """JSON's strings, numbers, truth values and lists are TOML's; an object becomes an inline table."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items() if item is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
