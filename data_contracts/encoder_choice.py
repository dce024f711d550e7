"""What `encoders.KIND = auto` came to: the encoders that models were trained with, and those that the validation rows chose."""

from __future__ import annotations

from pydantic import Field

from data_contracts.refs import Frozen, Modality


class ComparedEncoders(Frozen):
    """A model that was trained with these encoders; all are compared on the same validation rows."""

    encoders: dict[Modality, str]
    """Of every modality whose encoder is chosen."""
    uri: str = ""
    """Store path of its checkpoint; empty: its training failed."""
    val_loss: float | None = None
    """The lowest, by which encoders are chosen; None: its training failed."""
    figures: dict[str, float] = Field(default_factory=dict)
    """Of the same epoch: `val_accuracy`."""
    epochs: int = 0
    """Of all its heads."""
    seconds: float = 0.0
    """Of its epochs, when it was trained."""
    why: str = ""
    """Why its training failed, a clause."""
    chosen: bool = False


class EncoderChoice(Frozen):
    """What a run decided on the encoders that its config leaves open. No test row had a say."""

    encoders: dict[Modality, str]
    """Of every modality that the config leaves open, those that the rows do not have among them."""
    compared: tuple[ComparedEncoders, ...] = ()
    """(): the rows have none of these modalities."""
    modality_losses: dict[Modality, dict[str, float]] = Field(default_factory=dict)
    """Of several modalities: encoder to the validation loss of its model with this modality only."""
