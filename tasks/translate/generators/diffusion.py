"""Text to picture by a latent diffusion model (Rombach et al. 2022) of diffusers, the same picture for the same text."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Sequence
from typing import Any

import diffusers
import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from tasks.errors import EnvironmentFailed
from tasks.modeling.pretrained.locate import PIPELINE, Place
from tasks.modeling.pretrained.transformers_models import one_line
from tasks.store import digest_json
from tasks.translate.generators.base import Asked
from tasks.translate.generators.loading import load_network

_MODULES = {"transformers": "transformers", "stable_diffusion": "diffusers.pipelines.stable_diffusion"}
"""Where the networks of transformers among a pipeline's parts are found, by the name that model_index.json has for it."""


class Diffusion:
    """A pipeline of diffusers. Pictures are made one by one: in a batch, the last bits depend on its size."""

    batch_rows = 1

    def __init__(self, generator: str, place: Place, asked: Asked) -> None:
        self.asked = asked
        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
        index = json.loads((place.root / PIPELINE).read_text(encoding="utf-8"))
        parts = _networks(generator, place, index)
        try:
            self.pipeline = getattr(diffusers, index["_class_name"]).from_pretrained(
                place.root, **parts, dtype=torch.float32, use_safetensors=True, local_files_only=True
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            raise EnvironmentFailed(
                f"generator {generator}: its files cannot be read ({one_line(error)}); fetch them again"
            ) from None
        _require_whole(generator, self.pipeline)
        self.pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
        self.pipeline.set_progress_bar_config(disable=True)

    def prepare(self, medium: Any, rate_hz: int) -> str:
        """The text, which is the prompt."""
        return str(medium)

    def generate(self, prepared: Sequence[Any]) -> list[bytes]:
        """A PNG for each text; empty where the pipeline's own safety checker blacks it out."""
        return [self._draw(text) for text in prepared]

    def _draw(self, text: str) -> bytes:
        seed = int(digest_json([text, self.asked.model_dump(mode="json", exclude_defaults=True)])[:15], 16)
        found = self.pipeline(
            text,
            height=self.asked.image_px,
            width=self.asked.image_px,
            num_inference_steps=self.asked.num_inference_steps,
            guidance_scale=self.asked.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(seed),  # on the CPU: the same noise on every machine
            output_type="pil",
        )
        if any(getattr(found, "nsfw_content_detected", None) or ()):
            return b""
        png = io.BytesIO()
        found.images[0].save(png, "PNG")
        return png.getvalue()


def _require_whole(generator: str, pipeline: Any) -> None:
    """EnvironmentFailed where a network of diffusers lacks tensors: they are then on no device."""
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    lost = [
        f"{name}.{tensor}"
        for name, part in networks.items()
        for tensor, value in part.state_dict().items()
        if value.is_meta
    ]
    if lost:
        raise EnvironmentFailed(f"generator {generator}: {len(lost)} tensors are not there, for example {lost[0]}")


def _networks(generator: str, place: Place, index: dict[str, Any]) -> dict[str, Any]:
    """The networks of transformers among the parts: diffusers would fill tensors that are not there at random."""
    found = {}
    for name, part in index.items():
        if not isinstance(part, list) or part[0] not in _MODULES:
            continue
        kind = getattr(importlib.import_module(_MODULES[part[0]]), str(part[1]), None)
        if isinstance(kind, type) and issubclass(kind, PreTrainedModel):
            found[name] = load_network(kind, generator, Place(place.root / name, ()))
    return found
