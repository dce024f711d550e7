"""What `encoders.KIND = auto` came to: the encoders that models were trained with, and those that the validation rows chose."""

from __future__ import annotations

from pydantic import Field

from data_contracts.refs import Frozen, Modality


class ComparedEncoders(Frozen):
    """A model that was trained with these encoders, or the blend of two; all are compared on the same validation rows."""

    encoders: dict[Modality, str]
    """Of every modality whose encoder is chosen."""
    uri: str = ""
    """Store path of its checkpoint; empty: its training failed."""
    loss: float | None = None
    """Mean over the validation rows, of the probabilities that the model answers with; None: it was not compared."""
    difference: float | None = None
    """Its loss minus that of the chosen model; None: it is the chosen one, or was not compared."""
    standard_error: float | None = None
    """Of the difference, paired by row, rows that belong together as one; None: not known."""
    figures: dict[str, float] = Field(default_factory=dict)
    """Of its best epoch: `val_accuracy`."""
    epochs: int = 0
    """Of all its heads."""
    seconds: float = 0.0
    """Of its epochs, when it was trained."""
    why: str = ""
    """Why its training failed, a clause."""
    chosen: bool = False


class PairedLosses(Frozen):
    """Two models on the same validation rows."""

    rows: int
    losses: tuple[float, float]
    standard_error: float | None
    """Of their difference; None: all rows belong together."""
    by_modality: dict[Modality, tuple[float, float]] = Field(default_factory=dict)
    """With one modality only."""

    def swapped(self) -> PairedLosses:
        """The same with the models in the other order."""
        turned = {kind: (second, first) for kind, (first, second) in self.by_modality.items()}
        return self.model_copy(update={"losses": self.losses[::-1], "by_modality": turned})


class EncoderChoice(Frozen):
    """What a run decided on the encoders that its config leaves open. No test row had a say."""

    encoders: dict[Modality, str]
    """Of every modality that the config leaves open, those that the rows do not have among them; `tiny+classical`: a model with
    either answers, and the answers are blended."""
    compared: tuple[ComparedEncoders, ...] = ()
    """(): nothing was chosen: the rows have none of these modalities, or as `why` says."""
    why: str = ""
    """Why what is open was not chosen but taken as it is without a choice, a sentence."""
    modality_losses: dict[Modality, dict[str, float]] = Field(default_factory=dict)
    """Of several modalities: encoder to the validation loss of its model with this modality only."""
