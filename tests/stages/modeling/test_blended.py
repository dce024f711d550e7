"""A blend answers with the mean of its members' calibrated logits, whatever a row lacks, and is one model of one card."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data_contracts.refs import Target
from tasks.config import FusionConfig, RunConfig
from tasks.errors import DataError
from tasks.explain.encoded import FusionOnly
from tasks.modalities import MODALITIES
from tasks.modeling.card import BlendMember, ModelCard
from tasks.modeling.encoder_base import Standardised
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.blended import Blended, BlendedClassifier, blended_weights, first_member
from tasks.modeling.fusion.classifier import FusedClassifier, Present
from tasks.modeling.package import build_model, load_model, save_model
from tasks.modeling.targets import Targets

NAMES = ("image", "image_2", "text", "audio")
FUSIONS = (FusionConfig(embed_dim=8, hidden=8), FusionConfig(kind="linear", embed_dim=8, hidden=8))
TEMPERATURES = (0.5, 2.0)
WIDTHS = {name: MODALITIES[name.partition("_")[0]].classical_network().width for name in NAMES}  # type: ignore[index]
TINY = {name: EncoderSpec(encoder="tiny", reads="inputs") for name in NAMES}
CLASSICAL = {name: EncoderSpec(encoder="classical", reads="embedding", width=WIDTHS[name]) for name in NAMES}
TARGETS = Targets((Target(name="label", labels=("a", "b", "c")),))


def members(share: tuple[str, ...] = (), fusions: tuple[FusionConfig, ...] = FUSIONS) -> list[FusedClassifier]:
    """A network and a model of classical features whose scaling is not that of another input."""
    torch.manual_seed(0)
    tiny = FusedClassifier(TINY, 3, fusions[0], share)  # type: ignore[arg-type]
    classical = FusedClassifier(CLASSICAL, 3, fusions[1])
    for encoder in classical.encoders.values():
        assert isinstance(encoder, Standardised)
        encoder.fit(torch.randn(9, encoder.width))
    return [model.eval() for model in (tiny, classical)]


def blend_of(
    models: list[FusedClassifier], share: tuple[str, ...] = (), fusions: tuple[FusionConfig, ...] = FUSIONS
) -> BlendedClassifier:
    told = zip((TINY, CLASSICAL), fusions, TEMPERATURES, (0.25, 0.75), strict=True)
    blended = BlendedClassifier(TINY, [Blended(*each) for each in told], TARGETS, share)  # type: ignore[arg-type]
    blended.load_state_dict(blended_weights(models))
    return blended.eval()


def batch(size: int = 5) -> dict[str, Present]:
    """Rows of which some lack an input."""
    generator = torch.Generator().manual_seed(1)
    some, all_rows = torch.tensor([0, 1, 3]), torch.arange(size)
    lengths = torch.tensor([12, 3, 7])
    letters = torch.randint(97, 123, (3, 12), generator=generator) * (torch.arange(12) < lengths[:, None])
    return {
        "image": Present(all_rows, torch.rand(size, 3, 32, 32, generator=generator), torch.ones(size)),
        "image_2": Present(some, torch.rand(3, 3, 32, 32, generator=generator), torch.ones(3)),
        "text": Present(some, letters, lengths),
        "audio": Present(all_rows, torch.randn(size, 20, 64, generator=generator), torch.tensor([20, 20, 9, 20, 5])),
    }


def classical_batch(rows: dict[str, Present]) -> dict[str, Present]:
    """What the classical member reads of the same rows."""
    return {
        name: part._replace(values=MODALITIES[name.partition("_")[0]].classical_network()(part.values, part.lengths))  # type: ignore[index]
        for name, part in rows.items()
    }


@pytest.mark.parametrize("share", [(), ("image",)])
@pytest.mark.parametrize("hidden", [(), ("audio",), ("image", "image_2", "text"), NAMES])
def test_logits_are_the_mean_of_the_members_own(share: tuple[str, ...], hidden: tuple[str, ...]) -> None:
    models = members(share)
    rows = {name: part for name, part in batch().items() if name not in hidden}
    with torch.no_grad():
        tiny, classical = models[0](rows, 5).logits, models[1](classical_batch(rows), 5).logits
        found = blend_of(models, share)(rows, 5).logits
    expected = 0.25 * tiny / TEMPERATURES[0] + 0.75 * classical / TEMPERATURES[1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_it_answers_the_same_from_its_encoders_outputs_on() -> None:
    late = (FusionConfig(kind="late", embed_dim=8, hidden=8), FUSIONS[0])
    models, rows = members(fusions=late), batch()
    blended = blend_of(models, fusions=late)
    with torch.no_grad():
        whole = blended(rows, 5).logits
        encoded: dict[str, torch.Tensor] = {}
        for name in NAMES:
            encoded |= blended.encode(name, rows)
        torch.testing.assert_close(blended(rows, 5, encoded=encoded).logits, whole)
        fusion = FusionOnly(blended)
        behind = {name: rows[name]._replace(values=vectors) for name, vectors in encoded.items()}
        torch.testing.assert_close(fusion.model(behind, 5).logits, whole)
    assert blended.encoders["image"].width == encoded["image"].shape[1] == TINY_WIDTH + WIDTHS["image"]
    assert not blended.encoders["text"].has_gradient, "hashes have none"


TINY_WIDTH = 128


def test_it_is_one_card_and_one_file_and_loads_again(tmp_path: Path) -> None:
    models = members()
    sections = RunConfig().subset("media", "extract", "encoders", "fusion")
    blend = [
        BlendMember(encoders=encoders, fusion=fusion, temperature=temperature, weight=weight)
        for encoders, fusion, temperature, weight in zip(
            (TINY, CLASSICAL), FUSIONS, TEMPERATURES, (0.25, 0.75), strict=True
        )
    ]
    record = {"format": 2, "labels": ["a", "b", "c"], "modalities": NAMES, "encoders": TINY, "config": sections}
    card = ModelCard.model_validate(record | {"blend": blend})
    network = build_model(card)
    network.load_state_dict(blended_weights(models))
    save_model(network, tmp_path, card)
    assert {path.name for path in tmp_path.iterdir()} == {"model.json", "model.safetensors"}
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path)(batch(), 5).logits, blend_of(models)(batch(), 5).logits)
    plain = ModelCard.model_validate(record)
    assert plain.blend is None
    with pytest.raises(DataError, match="does not match"):
        load_model(tmp_path, plain)


def test_of_several_label_columns_only_the_first_is_divided_by_temperatures() -> None:
    columns = [
        {"name": "label", "labels": ["a", "b", "c"]},
        {"name": "price", "problem": "regression", "mean": 2.0, "std": 4.0},
    ]
    sections = RunConfig().subset("media", "extract", "encoders", "fusion") | {"fusion": FUSIONS[0]}
    record = {"format": 2, "labels": ["a", "b", "c"], "targets": columns, "modalities": NAMES, "config": sections}
    torch.manual_seed(0)
    models = [build_model(ModelCard.model_validate(record | {"encoders": each})).eval() for each in (TINY, CLASSICAL)]
    assert models[0].log_variances is not None
    blend = [
        BlendMember(encoders=each, fusion=FUSIONS[0], temperature=temperature, weight=0.5)
        for each, temperature in zip((TINY, CLASSICAL), TEMPERATURES, strict=True)
    ]
    network = build_model(ModelCard.model_validate(record | {"encoders": TINY, "blend": blend})).eval()
    network.load_state_dict(blended_weights(models))
    rows = batch()
    with torch.no_grad():
        tiny, classical = models[0](rows, 5).logits, models[1](classical_batch(rows), 5).logits
        found = network(rows, 5).logits
    divided = (tiny[:, :3] / TEMPERATURES[0] + classical[:, :3] / TEMPERATURES[1]) / 2
    torch.testing.assert_close(found[:, :3], divided, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[:, 3], (tiny[:, 3] + classical[:, 3]) / 2, atol=1e-4, rtol=1e-4)


def test_the_network_can_be_taken_out_again() -> None:
    models = members(("image",))
    taken, own = first_member(blended_weights(models)), models[0].state_dict()
    assert taken.keys() == own.keys()
    assert all(torch.equal(taken[name], own[name]) for name in own)


def test_members_that_read_different_embeddings_are_refused() -> None:
    one, other = (EncoderSpec(encoder="hf:x", reads="embedding", width=width) for width in (4, 5))
    told = [Blended({"text": spec}, FUSIONS[0], 1.0, 0.5) for spec in (one, other)]
    with pytest.raises(ValueError, match="different embeddings"):
        BlendedClassifier({"text": one}, told, TARGETS)
