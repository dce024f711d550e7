"""Which variants of a model there are, which of them apply, and which are asked for. Pure: nothing is read or fitted here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from data_contracts.comparison import Method, Value
from data_contracts.modalities import ALL_MODALITIES, modality_of
from data_contracts.refs import InputName, Modality, Target
from tasks.config import RunConfig
from tasks.config_compare import PROFILE
from tasks.encoder_ids import encoder_reads, parse_encoder
from tasks.problems.registry import get_metric

FUSIONS = ("concat", "gated", "attention", "bilinear", "late")
REGIMES = {"frozen": "head", "lora": "lora", "last-n": "last-n", "full": "full"}
DROPOUT = 0.3
"""Modality dropout where the settings have none: the default of fusion.modality_dropout."""
RECURRENT: tuple[Modality, ...] = ("text", "audio")
CLASSICAL: Mapping[str, tuple[Method, Modality]] = {
    "tfidf-naive-bayes": ("naive-bayes", "text"),
    "hog-svm": ("hog-svm", "image"),
    "mfcc-svm": ("mfcc-svm", "audio"),
}
ON_EMBEDDINGS: Mapping[str, Method] = {
    "embedding-svm": "embedding-svm",
    "embedding-logistic-regression": "embedding-logistic-regression",
}
_WITHOUT_PROBABILITIES = ("hog-svm", "mfcc-svm", "embedding-svm")


@dataclass(frozen=True)
class Variant:
    """One thing to be fitted and compared."""

    name: str
    group: str
    says: str
    settings: Mapping[str, Value] = field(default_factory=dict)
    """What a network has otherwise than the profile."""
    method: Method = "network"
    modality: Modality | None = None
    """What a model of one modality that is no network of the pipeline reads."""
    labels: tuple[str, ...] | None = None
    """Label columns, where they are others than the profile's."""

    @property
    def is_random(self) -> bool:
        """Whether a seed changes it."""
        return self.method in ("network", "recurrent")


@dataclass(frozen=True)
class Candidate:
    """A variant, and why it does not apply to a model, where it does not."""

    variant: Variant
    missing: str | None = None


@dataclass(frozen=True)
class Known:
    """What decides which variants apply."""

    config: RunConfig
    inputs: tuple[InputName, ...]
    """Of the data, those whose encoder is off left out."""
    targets: tuple[Target, ...]
    metric: str

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The kinds of the inputs."""
        return tuple(kind for kind in ALL_MODALITIES if any(modality_of(name) == kind for name in self.inputs))


def list_candidates(known: Known) -> tuple[Candidate, ...]:
    """Every variant that has a name, each with what it lacks."""
    makers = (
        (_modalities, _fusions, _regimes, _initializations, _backbones),
        (_augmentation, _modality_dropout, _tasks, _classical, _raw, _custom),
    )
    own = Candidate(Variant(PROFILE, PROFILE, "the settings as they are"))
    return (own, *(each for part in makers for make in part for each in make(known)))


def _lacks(kind: Modality, known: Known) -> str | None:
    if kind in known.modalities:
        return None
    return f"the model has no {kind}: its inputs are {', '.join(known.inputs)}"


def _only(kept: Modality) -> dict[str, Value]:
    return {f"encoders.{kind}": "off" for kind in ALL_MODALITIES if kind != kept}


def _alone(known: Known) -> str | None:
    return None if len(known.modalities) > 1 else f"the model has one modality ({known.modalities[0]})"


def _modalities(known: Known) -> Iterable[Candidate]:
    for kind in ALL_MODALITIES:
        variant = Variant(f"{kind}-only", "modalities", f"{kind} without the other modalities", _only(kind))
        yield Candidate(variant, _lacks(kind, known) or _alone(known))


def _fusions(known: Known) -> Iterable[Candidate]:
    for kind in FUSIONS:
        variant = Variant(f"fusion-{kind}", "fusion", f"modalities joined by {kind}", {"fusion.kind": kind})
        one = None if len(known.inputs) > 1 else "there is one input, and nothing to join"
        own = "the settings join so" if known.config.fusion.kind == kind else None
        yield Candidate(variant, one or own)


def _pretrained(known: Known) -> dict[Modality, str]:
    encoders = {kind: known.config.encoders.of(kind) for kind in known.modalities}
    return {kind: encoder for kind, encoder in encoders.items() if parse_encoder(encoder, kind).is_pretrained}


def _regimes(known: Known) -> Iterable[Candidate]:
    own = "head" if known.config.train.regime == "auto" else known.config.train.regime
    for name, regime in REGIMES.items():
        says = {"frozen": "pretrained encoders stay as they are", "full": "pretrained encoders are trained whole"}
        variant = Variant(
            name, "finetuning", says.get(name, f"pretrained encoders are trained by {name}"), {"train.regime": regime}
        )
        none = None if _pretrained(known) else "no encoder is pretrained"
        yield Candidate(variant, none or ("the settings train so" if own == regime else None))


def _initializations(known: Known) -> Iterable[Candidate]:
    pretrained = _pretrained(known)
    random: dict[str, Value] = {
        f"encoders.{kind}": f"torchvision:{parse_encoder(encoder, kind).name}@random"
        for kind, encoder in pretrained.items()
        if parse_encoder(encoder, kind).family == "torchvision"
    }
    none = None if pretrained else "no encoder is pretrained"
    only = none or (None if random else "only encoders of torchvision can begin with random weights")
    yield Candidate(
        Variant(
            "random-weights",
            "initialization",
            f"the same network from random weights, trained whole ({', '.join(key.partition('.')[2] for key in random)})",
            {**random, "train.regime": "full"},
        ),
        only,
    )
    small: dict[str, Value] = {f"encoders.{kind}": "tiny" for kind in pretrained}
    yield Candidate(Variant("from-scratch", "initialization", "small networks from scratch", small), none)


def _backbones(known: Known) -> Iterable[Candidate]:
    for name, (kind, encoder) in backbone_names(known.config).items():
        variant = Variant(name, "backbones", f"{kind} read by {encoder}", {f"encoders.{kind}": encoder})
        own = "the settings have this encoder" if known.config.encoders.of(kind) == encoder else None
        yield Candidate(variant, _lacks(kind, known) or own)


def backbone_names(config: RunConfig) -> dict[str, tuple[Modality, str]]:
    """`image-squeezenet1_1` to the modality and the encoder's id, numbered where a name comes twice."""
    found: dict[str, tuple[Modality, str]] = {}
    for kind, encoders in config.compare.backbones.items():
        for encoder in encoders:
            parsed = parse_encoder(encoder, kind)
            plain = f"{kind}-{(parsed.name or parsed.family).rstrip('/').rpartition('/')[2]}"
            name, number = plain, 2
            while name in found:
                name, number = f"{plain}-{number}", number + 1
            found[name] = (kind, encoder)
    return found


def _augmentation(known: Known) -> Iterable[Candidate]:
    has = known.config.train.augment
    off: dict[str, Value] = {"train.augment": False, "train.trivial_augment": False}
    off |= {"train.mixup": 0.0, "train.cutmix": 0.0, "train.min_crop_scale": 1.0, "train.horizontal_flip": False}
    without = Variant("no-augmentation", "augmentation", "training rows as they are", off)
    yield Candidate(without, None if has else "the settings do not augment")
    other = Variant("with-augmentation", "augmentation", "training rows changed at random", {"train.augment": True})
    yield Candidate(other, "the settings augment" if has else None)


def _modality_dropout(known: Known) -> Iterable[Candidate]:
    has, one = known.config.fusion.modality_dropout > 0, len(known.inputs) < 2
    alone = "there is one input, which always stays" if one else None
    for name, says, value, reason in (
        ("no-modality-dropout", "no modality is hidden in training", 0.0, None if has else "the settings hide none"),
        (
            "with-modality-dropout",
            f"modalities hidden with a chance of {DROPOUT}",
            DROPOUT,
            "they have it" if has else None,
        ),
    ):
        settings: dict[str, Value] = {"fusion.modality_dropout": value}
        yield Candidate(Variant(name, "modality_dropout", says, settings), alone or reason)


def _tasks(known: Known) -> Iterable[Candidate]:
    columns = known.config.data.columns.labels
    first = columns[:1] or None
    says = "the first label column without the others"
    yield Candidate(
        Variant("single-task", "tasks", says, labels=first),
        None if len(columns) > 1 else "there is one label column (data.columns.labels names several)",
    )


def _one_class(known: Known, method: Method) -> str | None:
    if known.targets and known.targets[0].problem != "multiclass":
        return f"it answers one class a row; the first label column is {known.targets[0].problem}"
    if method in _WITHOUT_PROBABILITIES and get_metric(known.metric).compute is None:
        return f"{known.metric} is of probabilities, which an SVM does not give"
    return None


def _classical(known: Known) -> Iterable[Candidate]:
    words = {"tfidf-naive-bayes": "TF-IDF of words, naive Bayes", "hog-svm": "histograms of gradients, linear SVM"}
    for name, (method, kind) in CLASSICAL.items():
        says = f"{words.get(name, 'mel-frequency cepstral coefficients, linear SVM')}: {kind} only"
        yield Candidate(
            Variant(name, "classical", says, method=method, modality=kind),
            _lacks(kind, known) or _one_class(known, method),
        )
    config = known.config
    read = [encoder_reads(config.encoders.of(kind), kind, config.train.regime) for kind in known.modalities]
    for name, method in ON_EMBEDDINGS.items():
        model = "linear SVM" if method == "embedding-svm" else "logistic regression"
        trained = None if set(read) == {"embedding"} else "not every encoder is pretrained and frozen"
        yield Candidate(
            Variant(name, "classical", f"{model} on the frozen encoders' embeddings", method=method),
            trained or _one_class(known, method),
        )


def _raw(known: Known) -> Iterable[Candidate]:
    cnn = {"encoders.image": "tiny", **_only("image")}
    yield Candidate(Variant("cnn-image", "raw", "a small CNN on pictures only", cnn), _lacks("image", known))
    for kind in RECURRENT:
        says = f"a small GRU on {'bytes of text' if kind == 'text' else 'log-mel spectra'} only"
        variant = Variant(f"gru-{kind}", "raw", says, method="recurrent", modality=kind)
        yield Candidate(variant, _lacks(kind, known) or _one_class(known, "recurrent"))


def _custom(known: Known) -> Iterable[Candidate]:
    for name, settings in known.config.compare.custom.items():
        says = ", ".join(f"{key} = {value}" for key, value in settings.items())
        yield Candidate(Variant(name, "custom", says, settings))
