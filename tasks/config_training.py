"""The sections of the config on the model: its encoders and what they read, how they are joined, and the training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationInfo, create_model, field_validator, model_validator

from data_contracts.modalities import ALL_MODALITIES, modality_of
from data_contracts.refs import InputName, Modality
from tasks.config_sections import YEAR_S, Section, Share
from tasks.encoder_ids import DEFAULTS, FORMS, MOST_LAYERS, Layers, parse_encoder
from tasks.encoder_presets import PRESETS, encoder_of_each
from tasks.modalities import MODALITIES, Preset

_PRETRAINED = tuple(name for name, spec in MODALITIES.items() if "hf" in spec.families)

if TYPE_CHECKING:
    _OnePerModality = Section
    _LayersPerModality = Section
else:  # so that a further modality needs no line here
    _OnePerModality = create_model(
        "_OnePerModality", __base__=Section, **{name: (str, DEFAULTS[name]) for name in ALL_MODALITIES}
    )
    _LayersPerModality = create_model(
        "_LayersPerModality",
        __base__=Section,
        **{name: (Layers, Field("last", description=f"Of an encoder of {name}.")) for name in _PRETRAINED},
    )


class LayersConfig(_LayersPerModality):
    """Which layers of a frozen pretrained encoder are read.

    `last`: what the network itself gives. `auto`: several depths beside it. Or their numbers from 1, "last" among them or not:
    [6, 13, 17, "last"].
    """

    @field_validator(*_PRETRAINED, mode="before")
    @classmethod
    def _are_layers(cls, layers: object) -> object:
        if layers in ("last", "auto"):
            return layers
        listed = list(layers) if isinstance(layers, list | tuple) else []
        known = [layer == "last" or (type(layer) is int and 1 <= layer <= MOST_LAYERS) for layer in listed]
        if not listed or not all(known) or len(set(listed)) != len(listed):
            raise ValueError(
                'layers are "last", "auto", or a list of different numbers from 1, such as [6, 13, "last"]'
            )
        return layers

    def of(self, name: InputName) -> Layers:
        """The setting of an input: that of its kind; `last` where no encoder of it is pretrained."""
        found: Layers = getattr(self, modality_of(name), "last")
        return found


class EncodersConfig(_OnePerModality):
    """One encoder id per modality: `tiny`, `classical`, `torchvision:NAME[@WEIGHTS]`, `hf:ID_OR_FOLDER[@REVISION]`, and
    `timm:NAME` and `st:NAME`, short for models of timm and of sentence-transformers on the hub; `auto`, the default, trains
    with `tiny` and with `classical` and blends their answers, or keeps one where the validation rows say so (table columns:
    `tiny`); `off` leaves it out.

    WEIGHTS is a .safetensors file, the name of torchvision's own weights, or `random` to train from scratch.
    """

    preset: Preset = "offline"
    """The encoders of the modalities that are not named here, by size: offline (auto), fast, medium or best. They are
    fetched by `crossmodal fetch preset:NAME`."""
    shared: tuple[Modality, ...] = ()
    """Modalities of which a manifest has several columns (["image"]): their inputs pass through one and the same encoder,
    trained on all of them. (): each input trains one of its own. Frozen encoders are one network either way."""
    image_px: Annotated[int, Field(ge=16, le=1024)] | None = None
    """Side of the square picture that a pretrained encoder of pictures or frames sees; None: what it was trained with."""

    layers: LayersConfig = LayersConfig()
    """Which layers of frozen pretrained encoders are read, one setting for all (`auto`, `last`) or one per modality."""
    test_time_flip: Literal["auto", "on", "off"] = "off"
    """Test-time augmentation: an encoder of pictures or frames looks at each and at its mirror image, and the mean of the two
    vectors is read. auto: trained without, and used where it lowers the loss of the validation rows by more than chance would;
    never where a label has one of the words for sides that docs/encoders.md lists, or most labels of a column are single
    letters, numbers or zero to nine in words. on: always, frozen encoders in training, too. Takes twice as long."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: object) -> object:
        if not isinstance(values, dict) or values.get("preset") not in PRESETS:
            return values
        return encoder_of_each(values["preset"]) | values

    @field_validator("layers", mode="before")
    @classmethod
    def _of_every_modality(cls, layers: object) -> object:
        return dict.fromkeys(_PRETRAINED, layers) if isinstance(layers, str | list | tuple) else layers

    @field_validator("shared")
    @classmethod
    def _in_order(cls, shared: tuple[Modality, ...]) -> tuple[Modality, ...]:
        return tuple(modality for modality in ALL_MODALITIES if modality in shared)

    @field_validator(*ALL_MODALITIES)
    @classmethod
    def _is_known(cls, encoder: str, info: ValidationInfo) -> str:
        if parse_encoder(encoder, modality_of(info.field_name or "")).family == "model":
            raise ValueError(FORMS)
        return encoder

    def of(self, name: InputName) -> str:
        """The encoder of an input: that of its kind."""
        found: str = getattr(self, modality_of(name))
        return found


class ExtractConfig(Section):
    """What encoders read, and how extraction is cut into shards."""

    image_px: Annotated[int, Field(ge=16, le=1024)] | None = None
    """Side of the square picture that is stored for an encoder, in pixels; it scales the picture to its own side where that
    differs. None: 32 for tiny, the encoder's own side for others."""
    n_mels: Annotated[int, Field(ge=16, le=128)] = 64
    hop_ms: Annotated[float, Field(ge=1, le=100)] = 10.0
    window_ms: Annotated[float, Field(ge=1, le=200)] = 25.0
    max_frames: Annotated[int, Field(ge=8, le=100_000)] = 1000
    """Log-mel frames kept of a clip (10 s at the default hop)."""
    max_text_bytes: Annotated[int, Field(ge=8, le=10**6)] = 512
    """UTF-8 bytes that the tiny encoder reads of a text."""
    max_tokens: Annotated[int, Field(ge=4, le=8192)] = 256
    """Tokens that a pretrained encoder reads of a text, those that open and close it included."""
    video_px: Annotated[int, Field(ge=16, le=512)] | None = None
    """Side of the square frames that are stored for an encoder; None: as for image_px."""
    shard_rows: Annotated[int, Field(ge=1, le=10**9)] = 512
    """Smallest number of samples in a shard; up to 32 shards in all, from 65,536 media on as many as an eighth of their
    square root, and more where media are large."""
    engine: Literal["local", "ray"] = "local"
    """Where shards are computed: in this process, or on the nodes of a Ray cluster that runs already (the extra `ray`). The
    features are the same, and either finds those of the other."""
    ray_address: Annotated[str, Field(min_length=1)] = "auto"
    """The cluster, HOST:PORT of its head. auto: RAY_ADDRESS where it is set, else the one that this machine is a node of."""
    ray_workers: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Processes that hold an encoder, and are asked for at once. None: as many as the cluster has GPUs or CPUs for when the run
    begins; name a number where an autoscaler is to add nodes."""
    ray_gpus: Annotated[float, Field(ge=0, le=1)] | None = None
    """GPUs of each of them: 0.5 puts two on a GPU. None: 1 where the cluster has GPUs, else 0."""
    ray_cpus: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPUs of each of them without a GPU, a quarter of which read and prepare its media. None: those of the smallest node, at
    most 8."""
    ray_wait_s: Annotated[float, Field(ge=1, le=YEAR_S)] = 900.0
    """How long a run waits while the cluster has no room for any of them; then it fails."""

    def shaping(self) -> ExtractConfig:
        """What of it shapes features: the rest, which says where they are computed, is as by default."""
        return self.computed_as(ExtractConfig())

    def computed_as(self, other: ExtractConfig) -> ExtractConfig:
        """These features, computed where the other says."""
        return self.model_copy(update={name: getattr(other, name) for name in WHERE_EXTRACTED})


WHERE_EXTRACTED = ("engine", *(name for name in ExtractConfig.model_fields if name.startswith("ray_")))
"""Settings that shape no feature, and stand in no key and no model's card."""


class FusionConfig(Section):
    """How the modalities are joined."""

    kind: Literal["concat", "gated", "attention", "bilinear", "late", "linear"] = "concat"
    """concat: one vector beside the other. gated: a weighted sum, the weights learned from what is there. attention: a
    transformer over one token per modality. bilinear: concat, and low-rank products of every pair of modalities beside it.
    late: every modality votes with its own logits. linear: one linear map per modality, added up, without a hidden layer
    (logistic regression); it has no width, no dropout and no shared projection."""
    embed_dim: Annotated[int, Field(ge=8, le=8192)] = 128
    """Every encoder is projected to this width."""
    hidden: Annotated[int, Field(ge=8, le=65_536)] = 256
    """Width of the shared layer."""
    activation: Literal["gelu", "relu", "silu", "tanh"] = "gelu"
    """Of the shared layer, and of those inside the fusion."""
    shared_projection: bool = False
    """After their projections all modalities pass through one and the same layer."""
    head_init: Literal["uniform", "truncated-normal"] = "uniform"
    """How the weights of the last layers begin. truncated-normal: small, without bias."""
    dropout: Share = 0.3
    modality_dropout: Share = 0.3
    """Chance that a present modality is hidden from a training sample; one always stays."""


class TrainConfig(Section):
    """The training loop."""

    regime: Literal["auto", "head", "lora", "last-n", "full"] = "auto"
    """What is trained of a pretrained encoder. head: nothing, its embeddings are read from the store. lora: low-rank updates
    of its layers. last-n: its last blocks. full: all of it. auto: head. Encoders from scratch are always trained in full."""
    heads: Literal["auto", "single"] = "auto"
    """What is trained where all encoders are frozen. auto: several heads beside the configured one, otherwise regularised,
    linear ones among them, and the one with the lowest validation loss is kept; a setting that is not its default holds for
    all. single: only the head as it is configured."""
    standardize: bool = False
    """Where all encoders are frozen: train on embeddings of zero mean and unit variance over the train rows; the saved model
    reads them as they are."""
    epochs: Annotated[int, Field(ge=1, le=10**6)] = 25
    head_epochs: Annotated[int, Field(ge=0, le=10**6)] = 5
    """lora, last-n, full: epochs in which only what is new is trained, before the encoders are."""
    last_n: Annotated[int, Field(ge=1, le=1000)] = 2
    """last-n: how many blocks of each pretrained encoder are trained, counted from its output."""
    norm_statistics: Literal["pretrained", "batch"] = "pretrained"
    """What batch norms of a trained pretrained encoder normalise by. pretrained: the statistics they came with, which suits
    few rows and small batches. batch: those of each batch, whose running mean is what predictions then use."""
    lora_rank: Annotated[int, Field(ge=1, le=4096)] = 8
    lora_alpha: Annotated[float, Field(gt=0)] = 16.0
    batch_size: Annotated[int, Field(ge=1, le=10**6)] = 64
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=10**6)] = 1
    """Batches whose gradients are summed into one step of the optimizer."""
    max_tokens: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """The rows of a step pass through the model sorted by the length of their text, in microbatches of at most so many tokens
    (or bytes), padding included; the step stays the same. None: in batches of batch_size."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    encoder_learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Of the pretrained weights; their low-rank updates take ten times as much."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the rate of a pretrained block for every block between it and the output; 1: off."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    encoder_weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Of the pretrained weights."""
    warmup_ratio: Share = 0.1
    """Share of the steps over which the learning rate rises."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    focal_gamma: Annotated[float, Field(gt=0)] = 2.0
    regression_loss: Literal["smooth-l1", "squared"] = "smooth-l1"
    """Of numbers, standardised on the train rows. smooth-l1: beyond one deviation an error counts in proportion."""
    class_balance: Literal["none", "class-weights", "sampler"] = "none"
    """Against rare classes: weigh their rows in the loss, or draw them more often."""
    tune_thresholds: bool = False
    """Choose on the validation rows what is added to each class's logit before the decision, for the best macro F1."""
    temperature_scaling: Literal["auto", "off"] = "auto"
    """Divide the first label column's logits by a temperature fitted to the validation rows, where it lowers the NLL of rows
    that it was not fitted to."""
    conformal_alpha: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Prediction sets of classes, and intervals of numbers, that hold the truth with a chance of at least 1 - this; 0: none."""
    max_risk: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Abstain where the class is so unsure that more than this share of the answers given could be wrong; 0: never."""
    ood_false_positive_rate: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Flag rows that are unlike the validation rows by their energy score, at most this share of rows like them; 0: none."""
    early_stopping_patience: Annotated[int, Field(ge=1, le=10**6)] = 15
    """Epochs without a better validation loss before training stops."""
    unimodal_loss_weight: Annotated[float, Field(ge=0)] = 0.3
    """Weight of the loss of each modality's own head, during training only."""
    contrastive_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of a contrastive loss that draws the modalities of samples with one label together; 0: off."""
    augment: bool = True
    horizontal_flip: bool = False
    """Mirror pictures at random: right for photographs, wrong for digits and letters."""
    pitch: bool = True
    """Change the pitch of sound at random: right for speech, wrong where the pitch is the class, as in telephone tones."""
    min_crop_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Pictures: smallest share of the area that a random resized crop keeps; 1: off."""
    trivial_augment: bool = False
    """Pictures: one random operation of random strength each (TrivialAugment)."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """Parameter of the Beta distribution by which samples are blended; 0: off."""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """The same for pasting a box of one picture into another; 0: off."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.98
    """Share of the running average of the weights kept at each step; the average is what is evaluated and saved. 0: off."""
    checkpoint_steps: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Keep the state every so many steps, besides after every epoch; None: by the clock, once a minute within an epoch and
    after epochs, less often where writing it would take more than a twentieth (a tenth) of the time."""
    continue_from: Literal["none", "champion", "auto"] = "none"
    """champion: start from the weights of the model in production where its labels and network allow. auto: try them where at
    most a tenth of its train rows changed, and keep what is better on the validation rows, see docs/continue.md."""
    replay: Share = 1.0
    """continue_from = champion: share of the champion's own training rows that are trained on again beside the new ones."""
    gradient_checkpointing: bool = False
    """Compute activations of trained pretrained encoders twice instead of keeping them: less memory, more time, the same
    weights."""
    compile: bool = False
    """torch.compile of the encoders: slower to start, faster on a GPU."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    """CPU threads of the training process; it is part of the result, as the order of a sum depends on it."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a CUDA device when there is one."""
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that train together, one a GPU, or on the CPU over gloo; each gets its share of every batch."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """devices > 1. ddp: every process holds the model. fsdp: its weights are divided among them."""
