"""Picture to words by a classifier: the names of the ImageNet classes that it finds likeliest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from tasks.encoder_ids import EncoderId
from tasks.errors import EnvironmentFailed
from tasks.modeling.pretrained.adapter import Pixels
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.torchvision_models import torchvision_settings, weights_entry
from tasks.translate.generators.base import Asked

_SPARE = "num_batches_tracked"


class ImageNetLabels:
    """A classifier of torchvision with its head; the names are those that torchvision keeps beside its weights."""

    batch_rows = 32

    def __init__(self, generator: str, parsed: EncoderId, place: Place, asked: Asked) -> None:
        settings = torchvision_settings("image", generator, parsed)
        self.top_k = asked.top_k
        self.names: list[str] = weights_entry(generator, parsed).meta["categories"]
        self.pixels = Pixels(settings["px"], settings["mean"], settings["std"], settings["resample"])
        self.network = torchvision.models.get_model(parsed.name, weights=None)
        try:
            weights = load_file(place.root)
            found = self.network.load_state_dict(weights, strict=False)
        except (OSError, SafetensorError, RuntimeError) as error:
            message = " ".join(str(error).split())[:200]
            raise EnvironmentFailed(f"generator {generator}: its weights cannot be read ({message})") from None
        lost = [name for name in found.missing_keys if not name.endswith(_SPARE)]
        if lost:
            raise EnvironmentFailed(
                f"generator {generator}: {len(lost)} tensors are not in {place.root}, for example {lost[0]}; a classifier "
                "names nothing without its head"
            )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network.eval().requires_grad_(False).to(self.device)
        self.pixels.to(self.device)

    def prepare(self, medium: Any, rate_hz: int) -> NDArray[np.uint8]:
        """uint8 (H, W, 3)."""
        return np.array(medium, np.uint8)  # a copy: torch takes only what may be written to

    def generate(self, prepared: Sequence[Any]) -> list[bytes]:
        """The names of the `top_k` likeliest classes of each picture, with commas between."""
        with torch.inference_mode():
            pictures = [
                torch.from_numpy(each).to(self.device).permute(2, 0, 1)[None].float() / 255 for each in prepared
            ]
            scores = self.network(torch.cat([self.pixels(each) for each in pictures]))
            likeliest = scores.topk(min(self.top_k, scores.shape[1]), dim=1).indices.cpu().tolist()
        return [", ".join(self.names[place] for place in row).encode() for row in likeliest]
