"""One encoder for several inputs of a kind: one set of weights, one pass, and the same answer whatever is beside a row."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from tasks.config import FusionConfig, RunConfig
from tasks.errors import DataError
from tasks.modeling.card import ModelCard
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.classifier import FusedClassifier, Present
from tasks.modeling.inference import predict_probabilities
from tasks.modeling.package import build_model, load_model, save_model
from tasks.samples import Samples

TINY = EncoderSpec(encoder="tiny", reads="inputs")
NAMES = ("image", "image_2", "text", "text_2", "audio")


def _config(*share):
    sections = RunConfig.model_validate({"encoders": {"shared": share}})
    return sections.subset("media", "extract", "encoders", "fusion")


def _card(names, *share):
    record = {
        "format": 2,
        "labels": ["a", "b", "c"],
        "modalities": list(names),
        "encoders": dict.fromkeys(names, TINY),
        "config": _config(*share),
    }
    return ModelCard.model_validate(record)


def _model(names=NAMES, share=("image", "text"), **fusion):
    torch.manual_seed(0)
    return FusedClassifier(dict.fromkeys(names, TINY), 3, FusionConfig(embed_dim=8, hidden=8, **fusion), share)


def _batch(size=6):
    generator = torch.Generator().manual_seed(1)

    def pictures(rows):
        return Present(torch.tensor(rows), torch.rand(len(rows), 3, 16, 16, generator=generator), torch.ones(len(rows)))

    def words(rows, longest):
        lengths = torch.tensor([1 + n % longest for n in range(len(rows))])
        lengths[0] = longest
        bytes_ = torch.randint(1, 256, (len(rows), longest), generator=generator)
        return Present(torch.tensor(rows), bytes_ * (torch.arange(longest) < lengths[:, None]), lengths)

    sound = Present(torch.arange(size), torch.randn(size, 20, 64, generator=generator), torch.full((size,), 20))
    return {
        "image": pictures([0, 1, 2, 3, 5]),
        "image_2": pictures([1, 4]),
        "text": words([0, 1, 2, 5], 9),
        "text_2": words([0, 1, 3, 4, 5], 4),
        "audio": sound,
    }


@pytest.mark.parametrize("kind", ["concat", "gated", "attention", "bilinear", "late"])
def test_shared_weights_are_there_once_and_learn_from_all_inputs(kind):
    model, apart = _model(kind=kind), _model(kind=kind, share=())
    assert set(model.encoders) == {"image", "text", "audio"}
    assert set(apart.encoders) == set(model.projections) == set(NAMES)
    state, parameters = model.state_dict(), list(model.parameters())
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state), "no tensor under two names"
    assert len(set(parameters)) == len(parameters)
    tiny = sum(p.numel() for name in ("image", "text") for p in model.encoders[name].parameters())
    assert sum(p.numel() for p in apart.parameters()) - sum(p.numel() for p in parameters) == tiny
    batch = _batch()
    for name in ("image", "image_2"):
        model.zero_grad()
        model({name: batch[name]}, 6).logits.square().sum().backward()
        gradients = [p.grad for p in model.encoders["image"].parameters()]
        assert all(g is not None and g.abs().sum() > 0 for g in gradients)
        assert model.encoders["text"].embed.weight.grad is None


@pytest.mark.parametrize("kind", ["concat", "late"])
def test_together_they_give_what_each_gives_alone(kind):
    """Neither the rows of the other input nor the padding to its length reaches a row's result."""
    model, batch = _model(kind=kind).eval(), _batch()
    with torch.inference_mode():
        for name in ("image", "image_2", "text", "text_2"):
            one = {name: batch[name]}
            both = model.encode(name, batch)[name]
            torch.testing.assert_close(both, model.encode(name, one)[name], atol=1e-5, rtol=1e-5)
            apart = model.encoders[model.owners[name]](batch[name].values, batch[name].lengths)
            torch.testing.assert_close(both, apart, atol=1e-5, rtol=1e-5)


def test_batch_norms_see_the_inputs_together():
    model, batch = _model(), _batch()
    together = torch.cat([batch["image"].values, batch["image_2"].values])
    reference = _model()
    reference.encoders["image"](together, torch.ones(len(together)))
    model(batch, 6)
    norm, expected = (each.encoders["image"].stem[1] for each in (model, reference))
    assert int(norm.num_batches_tracked) == 1
    torch.testing.assert_close(norm.running_mean, expected.running_mean)


def test_an_input_without_rows_is_no_part_of_the_pass():
    model, batch = _model().eval(), _batch()
    nothing = Present(torch.zeros(0, dtype=torch.long), torch.zeros(0, 0), torch.zeros(0, dtype=torch.long))
    with torch.inference_mode():
        outputs = model({**batch, "text_2": nothing}, 6).logits
        left_out = model({name: part for name, part in batch.items() if name != "text_2"}, 6).logits
    assert torch.equal(outputs, left_out)


def test_sharing_a_kind_of_one_input_is_no_sharing():
    one, other = (_model(("image", "audio"), share) for share in ((), ("image",)))
    assert list(one.state_dict()) == list(other.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_card_rebuilds_it_and_the_file_holds_it_once(tmp_path, store, make_features):
    torch.manual_seed(0)
    card = _card(("image", "image_2"), "image")
    save_model(build_model(card), tmp_path, card)
    weights = load_file(tmp_path / "model.safetensors")
    assert not any(name.startswith("encoders.image_2") for name in weights)
    assert "projections.image_2.0.weight" in weights
    model = load_model(tmp_path)
    assert model.owners == {"image": "image", "image_2": "image"}
    rng = np.random.default_rng(0)
    features, columns = {}, {}
    for name in ("image", "image_2"):
        pictures = [rng.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(4)]
        features[name], columns[name] = make_features(name, pictures)
    columns["image"][1] = columns["image_2"][2] = None
    samples = Samples(pa.table(columns))
    whole = predict_probabilities(model, samples, features, store)
    single = predict_probabilities(model, samples, features, store, batch_size=1)
    np.testing.assert_allclose(whole, single, atol=1e-5)
    second_only = predict_probabilities(model, samples, features, store, present=("image_2",))
    assert np.abs(whole - second_only).max() > 1e-4


def test_a_card_from_before_there_was_sharing_is_read():
    card = _card(("image", "audio")).model_dump(mode="json")
    del card["config"]["encoders"]["shared"]
    assert build_model(ModelCard.model_validate(card)).owners == {"image": "image", "audio": "audio"}


def test_a_card_whose_shared_encoders_differ_is_refused():
    card = _card(("image", "image_2"), "image").model_dump(mode="json")
    card["encoders"]["image_2"]["settings"] = {"other": 1}
    with pytest.raises(DataError, match="image_2 and image share an encoder, but describe different ones"):
        build_model(ModelCard.model_validate(card))


def test_embeddings_pass_through_nothing_that_could_be_shared():
    frozen = EncoderSpec(encoder="hf:x", reads="embedding", width=5)
    model = FusedClassifier({"text": frozen, "text_2": frozen}, 3, FusionConfig(embed_dim=8, hidden=8), ("text",))
    assert set(model.encoders) == {"text", "text_2"}
    assert not any(name.startswith("encoders") for name in model.state_dict())
