"""What every section of the config is, and the sections on reading and dividing the data, on publishing and on the machine."""

from __future__ import annotations

import codecs
import posixpath
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator

from data_contracts.modalities import ALL_MODALITIES, MAX_INPUTS
from data_contracts.refs import Modality, Split
from tasks.modalities import MODALITIES

REMOTE_SCHEMES = ("abfs", "abfss", "adl", "az", "gcs", "gs", "hf", "http", "https", "memory", "oci", "oss", "s3", "s3a")
"""Of stores that data.allowed_schemes may name; those of fsspec that lead to local files are not among them."""
Layout = Literal["auto", "tables", "folders", "lists"]
Share = Annotated[float, Field(ge=0, le=1)]
YEAR_S = 365 * 86_400
"""The longest time that may be set: clocks take no endless one."""


class Section(BaseModel):
    """Frozen; an unknown key, NaN and infinity are errors; a column or model may be named by a number."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True, defer_build=True
    )


MediaColumns = str | tuple[str, ...] | None


if TYPE_CHECKING:
    _ColumnsOfMedia = Section
else:  # so that a further modality needs no line here
    _ColumnsOfMedia = create_model(
        "_ColumnsOfMedia",
        __base__=Section,
        **{
            name: (MediaColumns, Field(None, description=" ".join(spec.column_help.split()) or None))
            for name, spec in MODALITIES.items()
        },
    )


class ColumnsConfig(_ColumnsOfMedia):
    """Columns of the manifest; None: found by name."""

    id: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    """Several label columns instead of one, each COLUMN or COLUMN:problem ("age:regression"). The first is the one that
    the headline figures and the gate are about; its cell must be filled, those of the others may be empty."""
    split: str | None = None
    group: str | None = None
    """Speaker, patient, product: a group never straddles splits."""
    weight: str | None = None
    time: str | None = None
    """When a row was recorded: a number, or an ISO 8601 date; read under split.by = time."""

    def of(self, modality: Modality) -> tuple[str, ...]:
        """The columns that are named for the inputs of a kind, in order; () where they are found by name."""
        columns: MediaColumns = getattr(self, modality)
        return () if columns is None else (columns,) if isinstance(columns, str) else columns

    @model_validator(mode="after")
    def _names_media_once(self) -> ColumnsConfig:
        for modality in ALL_MODALITIES:
            columns = getattr(self, modality)
            if isinstance(columns, str) or columns is None:
                continue
            listed = ", ".join(map(repr, columns))
            if not columns:
                raise ValueError(f"{modality} names no column; leave it out, or set encoders.{modality}=off")
            if len(columns) > MAX_INPUTS and MODALITIES[modality].joined_columns() is None:
                raise ValueError(f"{modality} names {len(columns)} columns, at most {MAX_INPUTS} are read: {listed}")
            if len(set(columns)) < len(columns) or any(not name.strip() for name in columns):
                raise ValueError(f"{modality} names a column twice, or holds an empty name: {listed}")
        return self

    @model_validator(mode="after")
    def _names_labels_once(self) -> ColumnsConfig:
        if self.label is not None and self.labels:
            raise ValueError("label and labels are both given; name all label columns in labels")
        if len(set(self.labels)) < len(self.labels) or any(not name.strip() for name in self.labels):
            raise ValueError(f"labels holds a column twice, or an empty name: {', '.join(map(repr, self.labels))}")
        return self


class CsvConfig(Section):
    """How a CSV or TSV file is written. auto: found on a sample, checked over the whole file, and said in a note."""

    delimiter: str = "auto"
    """One character between cells (`\\t` or tab for a tab)."""
    skiprows: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Lines at its start that are left out: titles and comments above the header."""
    header: tuple[str, ...] = ()
    """Names of the columns, where no line of the file names them: its first line is then a row."""
    quoting: Literal["auto", "minimal", "none"] = "auto"
    """minimal: cells in quotation marks may hold delimiters and line breaks (RFC 4180). none: a quotation mark is a
    character like any other. auto: minimal where that gives each row its cells; a tab-separated file keeps to its lines."""
    quotechar: Literal["auto", '"', "'"] = "auto"
    """The quotation mark. auto: a double one, or ' where no cell of a sample has those and nearly every row has one in '."""
    escape: Literal["auto", "backslash", "none"] = "auto"
    """backslash: \\" in a quoted cell is a quotation mark."""
    skipinitialspace: Literal["auto"] | bool = "auto"
    """Whether spaces after a delimiter are left out; auto: where every name of the header stands behind one."""
    encoding: str = "auto"
    """A codec that Python knows, such as cp1252."""
    decimal: Literal["auto", ".", ","] = "auto"
    """Of numbers in label columns under regression, in any table; auto: as the whole column reads."""
    thousands: Literal["auto", "none", ",", ".", " ", "'"] = "auto"
    """What stands between the thousands of such numbers."""
    unit: Annotated[str, Field(min_length=1)] = "auto"
    """What stands behind, or as a currency sign before, every such number and is left out (kg, %, $); none: nothing."""

    @field_validator("delimiter")
    @classmethod
    def _is_one_character(cls, delimiter: str) -> str:
        if delimiter == "auto":
            return delimiter
        mark = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
        if len(mark) != 1 or mark in '"\r\n':
            raise ValueError("write auto, or one character that is neither a quotation mark nor a line break")
        return mark

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        try:
            if encoding != "auto":
                "".encode(encoding)
                codecs.getincrementaldecoder(encoding)
        except LookupError:
            raise ValueError("write auto, or an encoding that Python knows, such as utf-8, utf-16 or cp1252") from None
        return encoding


class MediaPathsConfig(Section):
    """What a cell that names a file leaves out; one text for all modalities, or one for each (base.image)."""

    base: str | dict[Modality, str] = ""
    """The folder in which cells begin, from the manifest's on."""
    prefix: str | dict[Modality, str] = ""
    suffix: str | dict[Modality, str] = ""
    """Such as .jpg, where cells are names without ending."""
    text_files: tuple[str, ...] = ()
    """Columns of texts whose cells name files, besides those whose names end in _path."""
    search: bool = True
    """Look beneath the manifest's folders for files that are not where their cells say."""

    def complete(self, cell: str, modality: Modality) -> str:
        """The path that a cell stands for; an address stays as it is."""
        base, prefix, suffix = (
            each if isinstance(each, str) else each.get(modality, "") for each in (self.base, self.prefix, self.suffix)
        )
        if not (base or prefix or suffix) or "://" in cell:
            return cell
        return posixpath.join(base, f"{prefix}{cell}{suffix}")


class SplitConfig(Section):
    """How rows without a given split are divided."""

    by: Literal["hash", "time", "stratified-group"] = "hash"
    """hash: by a stable hash of the group, else of the id. time: the newest rows are test, those before them val.
    stratified-group: groups are placed so that rows and labels come near the shares; those that the published model was made
    with keep their split."""
    val: Share = 0.15
    test: Share = 0.15
    sealed: Share = 0.0
    """Share of the rows, or groups, that no run trains, validates or tests on until split.refresh opens them; of given splits
    it is taken from train."""
    refresh: bool = False
    """The rows that split.sealed has kept are the test rows; those that were test are validation rows."""
    folds: dict[Split, tuple[str, ...]] = {}
    """Values of the split column that are val or test (test = [5], val = [4]); all others are then train, or, where train is
    named, too, no split."""
    list_fold: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Of lists of files that give the splits, trainlist01.txt and testlist01.txt to 03, the number of those that are read."""
    strict: bool = False
    """A label of val or test that train never has: true forbids training, false sets these rows aside (unseen-label)."""
    leakage: Literal["report", "drop", "fail"] = "report"
    """The same or nearly the same sample, or one group, on two sides: say so, drop it from train, or fail the run."""
    near_duplicates: bool = True
    """Look for samples that nearly repeat another in every modality; splits that we make keep them on one side."""
    min_test_per_class: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Fewer test rows of a class than this are an error of retrain; 0: a class without any is a warning."""

    @model_validator(mode="after")
    def _leaves_a_train_split(self) -> SplitConfig:
        if self.val + self.test + self.sealed >= 1:
            parts = "split.val + split.test" + (" + split.sealed" if self.sealed else "")
            raise ValueError(f"{parts} is {self.val + self.test + self.sealed:g}; it must stay below 1")
        if self.refresh and not self.sealed:
            raise ValueError(
                "split.refresh opens the rows that split.sealed keeps, and split.sealed is 0; set it as before"
            )
        return self


class MediaConfig(Section):
    """Canonical form of the media, and the limits on decoding them."""

    image_px: Annotated[int, Field(ge=8, le=4096)] = 256
    """Longest side of a stored picture, in pixels; larger ones are scaled down."""
    sample_rate_hz: Annotated[int, Field(ge=4000, le=192_000)] = 16_000
    max_audio_s: Annotated[float, Field(ge=0.1, le=86_400)] = 30.0
    """Longer sound is cut, with a warning."""
    max_text_chars: Annotated[int, Field(ge=1, le=10**9)] = 20_000
    """Longer text is cut, with a warning."""
    video_frames: Annotated[int, Field(ge=1, le=64)] = 8
    """Frames kept of a clip, spaced evenly over its duration."""
    video_px: Annotated[int, Field(ge=8, le=1024)] = 128
    """Longest side of a kept frame, in pixels."""
    max_video_s: Annotated[float, Field(ge=0.1, le=86_400)] = 30.0
    """A longer clip is cut, with a warning."""
    max_video_frames: Annotated[int, Field(ge=1, le=10**7)] = 2000
    """A clip of more frames is cut, with a warning."""
    audio_from_video: bool = False
    """Where a row has a video and an empty audio cell, the video's sound becomes its audio."""
    image_from_video: bool = False
    """Where a row has a video and an empty image cell, the frame in the middle of the video becomes its picture."""
    max_file_mb: Annotated[float, Field(gt=0, le=10**6)] = 64.0
    max_pixels: Annotated[int, Field(ge=1, le=10**9)] = 50_000_000
    """Of a picture, or of one frame of a clip."""
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    """Time that one file may take to decode."""
    memory_mb: Annotated[int, Field(ge=256, le=10**7)] = 2048
    """Address space of one decoding process."""


class EvaluateConfig(Section):
    """Which parts of the test rows are looked at apart."""

    slices: tuple[str, ...] = ()
    """Columns of the manifest, or combinations of them (device+lighting), by whose values the test rows are divided: figures
    for each, and a candidate must be worse than the champion on none. Numbers are cut into quartiles of the train rows. Rows
    by the modalities present and by the size of each input are there without being named."""
    max_slice_values: Annotated[int, Field(ge=2, le=10**6)] = 20
    """Of a slice with more values the most frequent so many are shown, and all with gate.min_slice_rows test rows; the others
    together."""
    robustness: Literal["auto", "on", "off"] = "auto"
    """Figures on test rows whose media are noisy, blurred, compressed, over the telephone or mistyped, in five severities each.
    auto: of the corruptions that rules of the gate name. on: of all. Frozen encoders read each corrupted medium again."""
    robustness_rows: Annotated[int, Field(ge=20, le=1_000_000)] = 500
    """Test rows that are corrupted for it, at most, of each modality."""
    classical_rows: Annotated[int, Field(ge=0, le=10**7)] = 20_000
    """The report shows what logistic regression on classical features reaches, and how that grows with the training rows,
    where there are at most so many rows; computed once for the same rows. 0: never."""

    @field_validator("slices")
    @classmethod
    def _names_columns_once(cls, slices: tuple[str, ...]) -> tuple[str, ...]:
        tidy = tuple(tidy_slice(name) for name in slices)
        if len(set(tidy)) < len(tidy) or any(not part for name in tidy for part in name.split("+")):
            raise ValueError(f"names a slice twice, or holds an empty name: {', '.join(map(repr, slices))}")
        for name in tidy:
            if "=" in name or name == "modalities" or name.endswith(".size"):
                raise ValueError(
                    f"{name!r} cannot be a slice: modalities and NAME.size are there without being named, and no rule could "
                    "name a column with = in it; rename the column"
                )
        return tidy


def tidy_slice(name: str) -> str:
    """`device + lighting` becomes `device+lighting`."""
    return "+".join(part.strip() for part in name.split("+"))


def split_slice(name: str, columns: Collection[str]) -> tuple[str, ...]:
    """The columns of `device+lighting`; the name itself where a column is called so."""
    return (name,) if name in columns else tuple(name.split("+"))


class PublishConfig(Section):
    """Where a promoted model goes."""

    alias: str = "champion"
    challenger: Literal["needs-approval", "inconclusive"] = "needs-approval"
    """Which candidates are published as `challenger` though they are not promoted. needs-approval: those that wait for a
    person. inconclusive: those on which the gate could not decide, too: live rows may (crossmodal feedback)."""
    verify_rows: Annotated[int, Field(ge=1, le=10**9)] = 64
    """Test rows on which the published bytes must reproduce the evaluation."""
    license: Annotated[str, Field(min_length=1)] = "unknown"
    """In the model card: the hub's id of a license, as apache-2.0 or cc-by-4.0."""
    include_encoders: bool = True
    """Whether frozen encoders are published with the model, so that it answers on machines without their files."""
    sign_key: Annotated[str, Field(min_length=1)] | None = None
    """The private ed25519 key that published files are signed with: a file (PEM, readable by its owner only), or
    prefect-block:NAME for a Secret block of Prefect. None: they are not signed."""
    verify_key: Annotated[str, Field(min_length=1)] | None = None
    """The file of the public key (PEM) that models must be signed with to be loaded, compared with or promoted; else
    CROSSMODAL_VERIFY_KEY. None: signatures are not verified."""


class MonitorConfig(Section):
    """When new data differ from those that a model was published with."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Chance of any false alarm over all tests together (Holm)."""
    min_effect: Share = 0.1
    """Differences smaller than this are no drift: of shares of rows, for categories and numbers alike."""
    min_embedding_effect: Share = 0.01
    """The same for embeddings, whose effect is on another scale: the share of the distance between old and new rows that the
    distances within each do not explain."""


class RuntimeConfig(Section):
    """How the work is spread; none of it changes a result."""

    workers: Annotated[int, Field(ge=1, le=512)] | None = None
    """Decoding processes; None: the number of cores. Extraction tasks run one per core."""
    train_timeout_s: Annotated[float, Field(gt=0, le=YEAR_S)] = 6 * 3600.0
    """Training is killed after this time; its state is kept and a new run resumes from there."""
    gc_keep_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    """After a retrain, at most once a day, results are deleted that nothing needs and no run has used for so many days
    (crossmodal store gc); None: nothing is deleted unless it is asked for."""
    lock_timeout_s: Annotated[float, Field(ge=0, le=YEAR_S)] = 7 * 3600.0
    """How long a run waits for what another run or command holds: the same training, the publication of the same model. It
    says who holds it; after this time the run fails."""
    verify_files: bool = False
    """Every file is read again; false: not one whose size, times of modification and of change, and inode are as they were."""


class AuditConfig(Section):
    """What `crossmodal audit` looks for."""

    folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Each row is scored by a model of the rows of the other folds; a group, and near duplicates, are never in two."""
    max_listed: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Rows of the table that a person looks at."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Chance of any false alarm over all tests of spurious correlations, and over all of groups (Holm)."""
    min_effect: Annotated[float, Field(ge=0, le=1)] = 0.1
    """How far brightness, folder and the like must lead from chance to the label to be reported, 1 being all the way."""
