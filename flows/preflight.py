"""What can be known before any data are read: checked first, all of it, and listed. Loads neither torch nor Prefect.

MLflow is loaded only where there is a registry that may hold a champion.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from data_contracts.modalities import ALL_MODALITIES
from data_contracts.refs import Modality
from data_contracts.run_summary import PreflightCheck
from flows.champion import champion_config
from flows.plan_line import PlanLine
from flows.records import shown_path
from flows.request import Request
from tasks.config_sections import REMOTE_SCHEMES
from tasks.devices import describe_device
from tasks.encoder_ids import AUTO, BUILT_IN, encoder_reads, parse_encoder
from tasks.errors import CrossmodalError, EnvironmentFailed, UsageError
from tasks.extract.on_ray.address import check_engine
from tasks.ingest.manifest.corrections import read_corrections
from tasks.ingest.sources.remote import how_to_allow, is_remote
from tasks.ingest.sources.resolve import BUILTIN
from tasks.modalities import MODALITIES
from tasks.modeling.card import read_card
from tasks.modeling.pretrained.describe import asked_layers
from tasks.modeling.pretrained.file_checks import require_intact, require_network, require_package
from tasks.modeling.pretrained.locate import Place, locate_encoder
from tasks.publish.connection import is_absent, probe_registry
from tasks.publish.registry import fetch_champion
from tasks.redaction import redact
from tasks.validate.custom_expectations import read_expectations

IMPORTED_AS = {"pillow": "PIL", "charset-normalizer": "charset_normalizer"}
MIN_FREE_BYTES = 200e6
"""What even a small run writes: the registry's database, a model, a report."""
MAX_FILES = 100_000
"""So many files beside a manifest are counted."""
SAMPLED_FILES = 5_000
"""Of them about so many have their sizes asked for, of more files every second, third and so on."""
COPIES = 4
"""Of an encoder that is trained: the state of training, the checkpoint, the logged model, the champion read back."""


def preflight(request: Request, training: bool = True) -> list[PreflightCheck]:
    """Every check in order, failed ones among them. `training`: also what reading and validating data does not need."""
    config = request.config
    checks = [_run("data", lambda: _data(request))]
    if config.data.expectations is not None:
        checks.append(_run("data.expectations", lambda: _expectations(str(config.data.expectations))))
    if config.data.corrections is not None:
        checks.append(_run("data.corrections", lambda: _corrections(str(config.data.corrections))))
    checks += [_run("decoders", lambda: _decoders(request))]
    if training:
        checks += [
            _run(f"encoders.{modality}", lambda modality=modality: _encoder(modality, request))  # type: ignore[misc]
            for modality in ALL_MODALITIES
            if (encoder := config.encoders.of(modality)) != "off"
            and (encoder not in ("tiny", AUTO) or config.encoders.layers.of(modality) not in ("last", "auto"))
        ]
        checks.append(_run("device", lambda: describe_device(config.train)))
    if config.extract.engine == "ray":
        checks.append(_run("extract.engine", lambda: _engine(request)))
    checks.append(_run("disk", lambda: _disk(request, training)))
    if training:
        registry = _run("registry", lambda: _registry(request))
        checks.append(registry)
        if registry.outcome != "fail":
            checks.append(_run("champion", lambda: _champion(request)))
    return checks


def failure(checks: list[PreflightCheck]) -> CrossmodalError | None:
    """All failed checks as one error, or None. UsageError where any of them is a matter of what the user wrote."""
    failed = [check for check in checks if check.outcome == "fail"]
    if not failed:
        return None
    error = UsageError if any(check.exit_code == UsageError.exit_code for check in failed) else EnvironmentFailed
    if len(failed) == 1:
        return error(failed[0].detail)
    listed = "; ".join(f"({number}) {_labelled(check)}" for number, check in enumerate(failed, start=1))
    return error(f"{len(failed)} of {len(checks)} checks failed before the data were read: {listed}")


def _run(name: str, check: Callable[[], tuple[bool, str]]) -> PreflightCheck:
    """What a look at something found: (whether it is fine, what to know of it), or the error that it would end with."""
    try:
        fine, detail = check()
    except CrossmodalError as error:
        return PreflightCheck(name=name, outcome="fail", detail=str(error), exit_code=error.exit_code)
    except OSError as error:
        text = f"{type(error).__name__}: {error}"
        return PreflightCheck(name=name, outcome="fail", detail=text, exit_code=EnvironmentFailed.exit_code)
    return PreflightCheck(name=name, outcome="ok" if fine else "warn", detail=detail)


def _data(request: Request) -> tuple[bool, str]:
    data = request.config.data
    missing = [root for root in data.allowed_roots if not Path(root).is_dir()]
    if missing:
        raise UsageError(f"data.allowed_roots: {missing[0]!r} is not a folder")
    if data.path.startswith(BUILTIN):
        if data.path != f"{BUILTIN}digits":
            raise UsageError(f"data.path {data.path!r}: the only built-in data set is builtin:digits")
        return True, "built in, made in the store when it is needed"
    if is_remote(data.path):
        scheme = data.path.partition("://")[0].lower()
        if scheme not in data.allowed_schemes:
            setting = f"--set data.allowed_schemes='[\"{scheme}\"]'"
            way = setting if scheme in REMOTE_SCHEMES else how_to_allow(scheme)
            raise UsageError(f"data.path {shown_path(data.path)!r}: its scheme is not allowed; {way}")
        if scheme not in ("http", "https") and find_spec("fsspec") is None:
            raise UsageError(
                f"data.path: {scheme}:// is read through fsspec, which is not installed (pip install fsspec)"
            )
        return True, f"{shown_path(data.path)}, fetched when the run starts"
    path = Path(data.path)
    if not path.exists():
        raise UsageError(
            f"data.path {data.path!r}: no such file or folder (seen from {str(Path.cwd())!r}); "
            "give a manifest, or a folder with one folder per class"
        )
    if path.is_file():
        with path.open("rb"):
            return True, f"{shown_path(data.path)}, {_size(path.stat().st_size)}"
    next(path.iterdir(), None)  # a folder that may not be listed ends here
    return True, f"{shown_path(data.path)}, a folder"


def _expectations(path: str) -> tuple[bool, str]:
    return True, f"{len(read_expectations(path))} of your own in {path}"


def _corrections(path: str) -> tuple[bool, str]:
    count = len(read_corrections(path).lines)
    return True, f"{count:,} line{'' if count == 1 else 's'} in {path}"


def _decoders(request: Request) -> tuple[bool, str]:
    """Not imported: they run in processes of their own."""
    read = [modality for modality in ALL_MODALITIES if request.config.encoders.of(modality) != "off"]
    names = dict.fromkeys(name for modality in read for name in MODALITIES[modality].libraries)
    lacking = [name for name in names if find_spec(IMPORTED_AS.get(name, name)) is None]
    if lacking:
        raise EnvironmentFailed(
            f"decoding {', '.join(read)}: {', '.join(lacking)} not installed; run make, or pip install it"
        )
    return True, f"{', '.join(read)}: {', '.join(names)}"


def _encoder(modality: Modality, request: Request) -> tuple[bool, str]:
    config = request.config
    encoder = config.encoders.of(modality)
    if encoder == AUTO:
        for one in BUILT_IN:
            asked_layers(modality, one, encoder_reads(one, modality, config.train.regime), config.encoders)
        return True, f"auto: {' and '.join(BUILT_IN)}, without weights; the validation rows choose"
    asked_layers(modality, encoder, encoder_reads(encoder, modality, config.train.regime), config.encoders)
    parsed = parse_encoder(encoder, modality)
    if parsed.family == "torchvision":
        require_network(encoder, parsed)
    place = locate_encoder(modality, encoder)
    if place is None:
        computed = parsed.family == "classical"
        return True, f"{encoder}: {'computed, without weights' if computed else 'trained from scratch'}"
    require_intact(encoder, place)
    require_package(encoder, place)
    return True, f"{encoder}: {_size(_weight_bytes(place))} at {place.root}"


def _engine(request: Request) -> tuple[bool, str]:
    address = request.config.extract.ray_address
    check_engine(address)
    return True, f"ray at {address}, reached when features are to be computed"


def _weight_bytes(place: Place) -> int:
    return sum(path.stat().st_size for path in place.weights)


def _disk(request: Request, training: bool) -> tuple[bool, str]:
    """Warns where what the data may take is not free, fails where what any run takes is not."""
    free = shutil.disk_usage(request.store.root).free
    least = MIN_FREE_BYTES + (COPIES * _trained_bytes(request) if training else 0)
    text = f"{_size(free)} free in {request.store.root}"
    way = f"free some, or choose another with {request.store.CHOSEN_BY}"
    if free < least:
        raise EnvironmentFailed(
            f"store {request.store.root}: {_size(free)} free on its disk, {_size(least)} are needed at least; {way}"
        )
    expected = least + _data_bytes(request.config.data.path)
    if free < expected:
        return False, f"{text}; the data may take {_size(expected)}: {way}"
    return True, f"{text}, about {_size(expected)} needed"


def _trained_bytes(request: Request) -> int:
    """Of the encoders that a model will hold, as far as their files are here; a missing one is another check's to tell."""
    config = request.config
    if config.train.regime in ("auto", "head"):
        return 0
    total = 0
    for modality in ALL_MODALITIES:
        try:
            place = locate_encoder(modality, config.encoders.of(modality))
        except CrossmodalError:
            continue
        total += 0 if place is None else _weight_bytes(place)
    return total


def _data_bytes(path: str) -> int:
    """Bytes of a manifest and of the first files beside it: canonical media and features take about as much."""
    place = Path(path)
    if is_remote(path) or not place.exists():
        return 0
    folder = place if place.is_dir() else place.parent
    if not _is_own(folder):
        return place.stat().st_size
    files = list(itertools.islice(_files(folder), MAX_FILES))
    sample = files[:: max(1, len(files) // SAMPLED_FILES)]
    sizes = [file.stat(follow_symlinks=False).st_size for file in sample]
    return round(sum(sizes) * len(files) / max(1, len(sample)))


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every regular file beneath a folder, links left out."""
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry


def _is_own(folder: Path) -> bool:
    """Whether a folder is one of data: a home or a root holds all kinds of things."""
    return folder.absolute() not in (Path.home(), Path.cwd(), Path("/"), Path("/tmp"))


def _registry(request: Request) -> tuple[bool, str]:
    shown = redact(request.tracking_uri)
    probe_registry(request.tracking_uri)
    return True, f"{shown}, made by the first model that is published" if is_absent(request.tracking_uri) else shown


def _champion(request: Request) -> tuple[bool, str]:
    alias = request.config.publish.alias
    champion = fetch_champion(request.name, alias, request.store, request.tracking_uri, request.verify_key)
    if champion is None:
        return True, f"{request.name}@{alias}: none yet, the gate's own rules decide"
    which = f"model {champion.name} version {champion.version}"
    card = read_card(request.store.path(champion.uri), champion.card_sha256)
    target = card.label_targets[0]
    problem = request.config.data.problem
    if problem not in ("auto", target.problem):
        raise UsageError(
            f"{which}: the champion is of data.problem={target.problem}, this run of {problem}; give the new model another "
            "name (--set name=...)"
        )
    try:
        champion_config(champion, card, request)
    except EnvironmentFailed as error:
        raise EnvironmentFailed(
            f"{which}: the champion cannot be compared with: {error}; or give the new model another name (--set name=...)"
        ) from None
    return True, f"{which}, to be compared with"


def _size(count: float) -> str:
    """`1.2 GB`, `34.5 MB`, `6.7 kB`, `89 bytes`: nothing that is there is 0.0 of a unit."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


def warnings(checks: list[PreflightCheck]) -> Iterator[str]:
    """What a person should know before the run, a line each."""
    yield from (_labelled(check) for check in checks if check.outcome == "warn")


def preflight_lines(checks: list[PreflightCheck]) -> list[PlanLine]:
    """The checks as lines of a plan, before those of its stages."""
    return [
        {
            "stage": f"preflight: {check.name}",
            "action": check.outcome,
            "count": None,
            "seconds": None,
            "why": check.detail,
        }
        for check in checks
    ]


def _labelled(check: PreflightCheck) -> str:
    """What was found, after the check's name unless it begins with it (`data.path 'x': no such file`)."""
    return check.detail if check.detail.startswith(check.name) else f"{check.name}: {check.detail}"
