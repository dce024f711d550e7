"""An encoder of pictures that looks at every frame of a clip."""

from __future__ import annotations

from torch import Tensor, nn

from data_contracts.refs import Modality
from tasks.encoder_ids import Layer, Layers
from tasks.modeling.pretrained.adapter import Pretrained, inside, mean_of
from tasks.modeling.pretrained.locate import Place


class FrameWise(Pretrained):
    """The mean, over a clip's real frames, of what an encoder of pictures sees in each."""

    def __init__(self, pictures: Pretrained) -> None:
        super().__init__()
        self.pictures, self.width = pictures, pictures.width

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, N, 3, S, S) in [0, 1], (B,) frames -> (B, width)."""
        mask = inside(lengths, x.shape[1])
        seen = self.pictures(x[mask], lengths)  # padding is left out, so that it enters no batch norm
        frames = seen.new_zeros(*mask.shape, seen.shape[1])
        frames[mask] = seen
        return mean_of(frames, mask)

    def read_layers(self, modality: Modality, layers: Layers) -> None:
        """Has the encoder of pictures read them in every frame."""
        self.pictures.read_layers(modality, layers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Those of the encoder of pictures."""
        return self.pictures.layers

    def blocks(self) -> list[nn.Module]:
        """Those of the encoder of pictures."""
        return self.pictures.blocks()

    def load(self, place: Place) -> None:
        """Loads the encoder of pictures."""
        self.pictures.load(place)

    def freeze_for_inference(self) -> None:
        """Settles the encoder of pictures."""
        super().freeze_for_inference()
        self.pictures.freeze_for_inference()
