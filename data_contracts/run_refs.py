"""What the stages of one run handed on, as its folder keeps it."""

from __future__ import annotations

from pydantic import Field

from data_contracts.comparison import ComparisonRef
from data_contracts.compression import CompressionRef
from data_contracts.encoder_choice import EncoderChoice
from data_contracts.explanations import ExplanationRef
from data_contracts.refs import (
    AuditRef,
    ChampionRef,
    CheckpointRef,
    CleanRef,
    EvalReport,
    FeatureRef,
    Frozen,
    InputName,
    PreparedChampion,
    RawRef,
    ReleaseRef,
    StudyRef,
    ValidatedRef,
    Verdict,
)
from data_contracts.training_history import StartChoice
from data_contracts.translation import TranslationRef


class RunRefs(Frozen):
    """The refs that a run's stages handed on; those of stages that a run did not come to are None."""

    raw: RawRef | None = None
    clean: CleanRef | None = None
    valid: ValidatedRef | None = None
    features: dict[InputName, FeatureRef] = Field(default_factory=dict)
    encoder_choice: EncoderChoice | None = Field(default=None, exclude_if=lambda choice: choice is None)
    """Under encoders.KIND = auto."""
    start: ChampionRef | None = None
    """The model whose weights training tried, under train.continue_from."""
    start_choice: StartChoice | None = Field(default=None, exclude_if=lambda choice: choice is None)
    checkpoint: CheckpointRef | None = None
    champion: ChampionRef | None = None
    prepared_champion: PreparedChampion | None = None
    report: EvalReport | None = None
    verdict: Verdict | None = None
    release: ReleaseRef | None = None
    comparison: ComparisonRef | None = Field(default=None, exclude_if=lambda comparison: comparison is None)
    study: StudyRef | None = Field(default=None, exclude_if=lambda study: study is None)
    audit: AuditRef | None = Field(default=None, exclude_if=lambda audit: audit is None)
    explanation: ExplanationRef | None = Field(default=None, exclude_if=lambda explanation: explanation is None)
    compression: CompressionRef | None = Field(default=None, exclude_if=lambda found: found is None)
    translation: TranslationRef | None = Field(default=None, exclude_if=lambda translation: translation is None)
    docs: dict[str, str] = Field(default_factory=dict)
    """Table (manifest, samples, features, predictions) to the store path of its Data Docs."""
