"""Picture to text by captioners of transformers: BLIP, GIT and Florence-2, their decoding greedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from tasks.errors import EnvironmentFailed
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.transformers_models import LOCAL, one_line
from tasks.translate.generators.base import Asked
from tasks.translate.generators.loading import load_network

PROMPTED = "florence2"
"""The family that is asked in words what to write."""


class Captioner:
    """A captioner with the processor that lies in its folder."""

    batch_rows = 8

    def __init__(self, generator: str, place: Place, asked: Asked) -> None:
        self.most, self.prompt = asked.max_new_tokens, asked.prompt
        self.network = load_network(AutoModelForImageTextToText, generator, place)
        try:
            self.processor: Any = AutoProcessor.from_pretrained(place.root, **LOCAL)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EnvironmentFailed(f"generator {generator}: no processor in its folder ({one_line(error)})") from None

    def prepare(self, medium: Any, rate_hz: int) -> Image.Image:
        """uint8 (H, W, 3) as a picture of Pillow, which the processors take."""
        return Image.fromarray(np.asarray(medium, np.uint8))

    def generate(self, prepared: Sequence[Any]) -> list[bytes]:
        """A caption for each picture."""
        texts = {"text": [self.prompt] * len(prepared)} if self.network.config.model_type == PROMPTED else {}
        inputs = self.processor(images=list(prepared), return_tensors="pt", **texts)
        inputs = inputs.to(next(self.network.parameters()).device)
        with torch.inference_mode():
            ids = self.network.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=self.most)
        return [text.strip().encode() for text in self.processor.batch_decode(ids.cpu(), skip_special_tokens=True)]
