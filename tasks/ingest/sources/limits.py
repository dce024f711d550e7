"""How a manifest is read, and how far that may go: sizes, memory, time, and where links may lead."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.config import RunConfig
from tasks.config_sections import ColumnsConfig, CsvConfig, Layout


@dataclass(frozen=True)
class ReadLimits:
    """What a manifest may cost before it is refused. The defaults are those of RunConfig."""

    manifest_mb: float = 2048.0
    """Size of a manifest file, and of what a file declares to hold once unpacked."""
    file_mb: float = 64.0
    """Size of one medium in it."""
    memory_mb: int = 2048
    """Address space of the process that reads Parquet and the like."""
    timeout_s: float = 10.0
    """Time in which that process must answer with the next rows."""
    allowed_roots: tuple[str, ...] = ()
    """Where links in a data folder may lead, besides that folder."""
    config: str | None = None
    """Of several folders with tables of splits, the one of this name."""
    layout: Layout = "auto"
    """What a folder is taken for."""
    table: str | None = None
    """The one table of a folder that is read, as a path from there."""
    labelled: bool = True
    """Whether folders may be classes though files lie beside them; of a prediction, all of those files are rows."""
    csv: CsvConfig = field(default_factory=CsvConfig)
    """The dialect of CSV and TSV files."""
    list_fold: int = 1
    """Of several lists of files that give the splits, the ones of this number."""
    cell_separator: str | None = None
    """What stands between several media in one cell."""
    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    """The columns that the config names: for cells that hold several media."""


def read_limits(config: RunConfig) -> ReadLimits:
    """The limits that a run's config sets."""
    media = config.media
    data = config.data
    return ReadLimits(
        manifest_mb=data.max_manifest_mb,
        file_mb=media.max_file_mb,
        memory_mb=media.memory_mb,
        timeout_s=media.timeout_s,
        allowed_roots=data.allowed_roots,
        config=data.config,
        layout=data.layout,
        table=data.table,
        csv=data.csv,
        list_fold=config.split.list_fold,
        cell_separator=data.cell_separator,
        columns=data.columns,
    )
