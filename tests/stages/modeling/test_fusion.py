import itertools

import pytest
import torch
from torch.nn import functional

from tasks.config import FusionConfig
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.attention import Attention, _Block
from tasks.modeling.fusion.classifier import FusedClassifier, Present
from tasks.modeling.fusion.layers import HEAD_DEVIATION, over_present

MODALITIES = ("image", "text", "audio", "video")
KINDS = ("concat", "gated", "attention", "bilinear", "late", "linear")
WIDTHS = {"image": 6, "text": 5, "audio": 4, "video": 3}
ROWS, OUTPUTS = 5, 3


def _specs(modalities=MODALITIES):
    return {name: EncoderSpec(encoder="hf:some", reads="embedding", width=WIDTHS[name]) for name in modalities}


def _model(seed=0, modalities=MODALITIES, **config):
    torch.manual_seed(seed)
    return FusedClassifier(_specs(modalities), OUTPUTS, FusionConfig(embed_dim=16, hidden=16, **config))


def _stirred(model):
    """The model with every parameter moved, so that nothing is 0 that will not stay 0."""
    draw = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.2)
    return model


def _batch(rows=range(ROWS), modalities=MODALITIES):
    draw = torch.Generator().manual_seed(0)
    values = {name: torch.randn(ROWS, WIDTHS[name], generator=draw) for name in MODALITIES}
    rows = torch.tensor(list(rows))
    return {name: Present(rows, values[name][rows], torch.ones(len(rows), dtype=torch.long)) for name in modalities}


VARIANTS = [
    {"kind": kind, "shared_projection": shared, "head_init": init}
    for kind in KINDS
    for shared, init in ((False, "uniform"), (True, "truncated-normal"))
]
everywhere = pytest.mark.parametrize(
    "config", VARIANTS, ids=lambda c: f"{c['kind']}-{'shared' if c['shared_projection'] else 'separate'}"
)


def test_the_default_keeps_the_names_and_the_draws_of_its_weights():
    weights = _model(modalities=("image", "audio")).state_dict()
    assert sorted(weights) == sorted(
        [
            "projections.image.0.weight",
            "projections.image.0.bias",
            "projections.image.1.weight",
            "projections.image.1.bias",
            "projections.audio.0.weight",
            "projections.audio.0.bias",
            "projections.audio.1.weight",
            "projections.audio.1.bias",
            "missing.image",
            "missing.audio",
            "auxiliary.image.weight",
            "auxiliary.image.bias",
            "auxiliary.audio.weight",
            "auxiliary.audio.bias",
            "shared.1.weight",
            "shared.1.bias",
            "head.weight",
            "head.bias",
        ]
    )
    torch.manual_seed(0)
    drawn = [torch.nn.Linear(6, 16), torch.nn.Linear(4, 16), torch.randn(16), torch.randn(16)]
    drawn += [torch.nn.Linear(16, OUTPUTS), torch.nn.Linear(16, OUTPUTS), torch.nn.Linear(34, 16)]
    assert torch.equal(weights["head.weight"], torch.nn.Linear(16, OUTPUTS).weight)
    assert torch.equal(weights["shared.1.weight"], drawn[-1].weight)


@everywhere
def test_any_subset_of_modalities_gives_finite_logits(config):
    model, batch = _stirred(_model(**config)).eval(), _batch()
    seen = {}
    with torch.inference_mode():
        for size in range(len(MODALITIES) + 1):
            for subset in itertools.combinations(MODALITIES, size):
                output = model({name: batch[name] for name in subset}, ROWS)
                assert output.logits.shape == (ROWS, OUTPUTS)
                assert output.logits.isfinite().all()
                assert not output.auxiliary
                assert not output.vectors
                seen[subset] = output.logits
    for one, other in itertools.combinations(seen.values(), 2):
        assert not torch.allclose(one, other)  # every modality counts, whatever else is there


@everywhere
def test_a_row_does_not_depend_on_what_others_lack(config):
    model, batch = _stirred(_model(**config)).eval(), _batch()
    part = batch["text"]
    some = part._replace(rows=part.rows[[3, 0]], values=part.values[[3, 0]], lengths=part.lengths[:2])
    with torch.inference_mode():
        full = model(batch, ROWS).logits
        mixed = model({**batch, "text": some}, ROWS).logits
        without = model({name: part for name, part in batch.items() if name != "text"}, ROWS).logits
        empty = model({name: one._replace(rows=one.rows[:0], values=one.values[:0]) for name, one in batch.items()}, 2)
        nothing = model({}, 2)
    torch.testing.assert_close(mixed[[0, 3]], full[[0, 3]])
    torch.testing.assert_close(mixed[[1, 2, 4]], without[[1, 2, 4]])
    torch.testing.assert_close(empty.logits, nothing.logits)
    torch.testing.assert_close(nothing.logits[0], nothing.logits[1])


@everywhere
def test_hidden_content_does_not_reach_the_answer(config):
    model, batch = _stirred(_model(**config)).eval(), _batch()
    hidden = torch.zeros(ROWS, len(MODALITIES), dtype=torch.bool)
    hidden[1, MODALITIES.index("audio")] = True
    seen = model(batch, ROWS, hidden).logits
    without = {name: part for name, part in batch.items() if name != "audio"}
    torch.testing.assert_close(seen[1], model(without, ROWS).logits[1])
    torch.testing.assert_close(seen[[0, 2, 3, 4]], model(batch, ROWS).logits[[0, 2, 3, 4]])


@everywhere
def test_every_weight_learns(config):
    """No parameter is without a gradient, once the zeros that it starts with have moved."""
    model, batch, targets = _model(**config).train(), _batch(), torch.tensor([0, 1, 2, 0, 1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for lacking, (name, part) in enumerate(batch.items()):  # every row lacks at most one modality, each another
        kept = part.rows != lacking
        batch[name] = Present(part.rows[kept], part.values[kept], part.lengths[kept])
    learned = set()
    for _ in range(100):
        output = model(batch, ROWS)
        loss = functional.cross_entropy(output.logits, targets)
        for name, logits in output.auxiliary.items():
            loss = loss + 0.3 * functional.cross_entropy(logits, targets[batch[name].rows])
        optimizer.zero_grad()
        loss.backward()
        learned |= {name for name, parameter in model.named_parameters() if parameter.grad.abs().sum() > 0}
        optimizer.step()
    assert learned == {name for name, _ in model.named_parameters()}
    model.eval()
    assert functional.cross_entropy(model(batch, ROWS).logits, targets) < (0.5 if config["kind"] == "linear" else 0.2)
    assert set(output.vectors) == set(output.auxiliary) == set(MODALITIES)
    assert output.vectors["image"].shape == (ROWS - 1, model.width)


@everywhere
def test_the_same_seed_gives_the_same_weights(config):
    one, two = (_model(**config).state_dict() for _ in range(2))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], tensor) for name, tensor in _model(seed=1, **config).state_dict().items())


def test_weights_over_what_is_there_sum_to_one():
    seen = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    weights = over_present(torch.tensor([[0.0, 9.0, 0.0], [0.0, 0.0, 0.0]]), seen)
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.0, 0.5], [1 / 3, 1 / 3, 1 / 3]]))
    channels = over_present(torch.randn(2, 3, 4), seen)
    torch.testing.assert_close(channels.sum(dim=1), torch.ones(2, 4))
    assert (channels[0, 1] == 0).all()


def test_gates_begin_as_the_plain_mean():
    model, batch = _model(kind="gated").eval(), _batch(modalities=("image", "audio"))
    vectors = [model.projections[name](batch[name].values) for name in batch]
    expected = model.head(model.shared.layer(sum(vectors) / 2))
    torch.testing.assert_close(model(batch, ROWS).logits, expected)


def test_attention_begins_as_the_mean_of_its_tokens():
    model, batch = _model(kind="attention").eval(), _batch(modalities=("image",))
    join = model.shared
    own = join.token + sum(model.missing[name] for name in ("text", "audio", "video"))
    mean = (own + model.projections["image"](batch["image"].values) + join.kinds[0]) / 2
    torch.testing.assert_close(model(batch, ROWS).logits, model.head(join.layer(join.norm(mean))))


def test_absent_tokens_are_not_read():
    torch.manual_seed(0)
    join = _stirred(Attention(3, FusionConfig(embed_dim=16, hidden=16))).eval()
    vectors, seen = torch.randn(2, 3, 16), torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    before = join(vectors, seen)
    swapped = vectors.clone()
    swapped[0, 1] = vectors[0, 1].flip(0)
    after = join(swapped, seen)
    assert not torch.allclose(before[0], after[0])  # it says what is missing
    torch.testing.assert_close(before[1], after[1])
    join.token.data -= swapped[0, 1] - vectors[0, 1]  # the same sum of token and what is missing: nothing else is read
    torch.testing.assert_close(join(swapped, seen)[0], before[0])


@pytest.mark.parametrize(("width", "heads"), [(8, 1), (16, 1), (128, 4), (100, 4), (97, 1), (384, 12)])
def test_heads_divide_the_width(width, heads):
    assert _Block(FusionConfig(embed_dim=width)).heads == heads


def test_late_is_the_mean_of_the_votes_at_first_and_its_prior_without_any():
    model, batch = _model(kind="late").eval(), _batch()
    votes = [model.auxiliary[name](model.projections[name](batch[name].values)) for name in ("image", "video")]
    two = model({name: batch[name] for name in ("image", "video")}, ROWS).logits
    torch.testing.assert_close(two, (votes[0] + votes[1]) / 2)
    assert torch.equal(model({}, 2).logits, torch.zeros(2, OUTPUTS))
    model.shared.prior.data[1] = 2.0
    assert torch.equal(model({}, 2).logits, torch.tensor([[0.0, 2.0, 0.0]] * 2))


def test_a_shared_trunk_is_one_layer_that_changes_little_at_first():
    apart, one = (_model(shared_projection=shared, kind="concat").eval() for shared in (False, True))
    for name, tensor in apart.state_dict().items():
        one.state_dict()[name].copy_(tensor)
    torch.testing.assert_close(apart(_batch(), ROWS).logits, one(_batch(), ROWS).logits, rtol=1e-3, atol=1e-3)
    extra = set(one.state_dict()) - set(apart.state_dict())
    assert extra
    assert all(name.startswith("trunk.") for name in extra)


def test_truncated_normal_heads_are_small():
    model = _model(head_init="truncated-normal", kind="concat")
    for head in (model.head, *model.auxiliary.values()):
        assert 0 < head.weight.abs().max() <= 2 * HEAD_DEVIATION
        assert not head.bias.any()


@pytest.mark.parametrize("name", ["gelu", "relu", "silu", "tanh"])
def test_the_activation_is_the_config_s(name):
    model = _model(activation=name).eval()
    assert torch.equal(model.shared[2](torch.linspace(-2, 2, 9)), getattr(functional, name)(torch.linspace(-2, 2, 9)))


@everywhere
def test_bfloat16_autocast_is_finite_with_modalities_missing(config):
    model = _stirred(_model(**config)).train()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(_batch(modalities=("image", "audio"), rows=(0, 2)), ROWS)
    assert output.logits.float().isfinite().all()
    output.logits.float().sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_all_but_late_and_linear_learn_what_only_two_say_together(kind):
    """The label is whether two signs agree: neither alone says anything of it."""
    signs = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    targets = (signs[:, 0] == signs[:, 1]).long()
    pattern = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    batch = {
        name: Present(torch.arange(4), signs[:, k, None] * pattern[k, : WIDTHS[name]], torch.ones(4, dtype=torch.long))
        for k, name in enumerate(("image", "audio"))
    }
    model = _model(modalities=("image", "audio"), kind=kind, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        functional.cross_entropy(model(batch, 4).logits, targets).backward()
        optimizer.step()
    correct = int((model.eval()(batch, 4).logits.argmax(dim=1) == targets).sum())
    assert (correct == 4) == (kind not in ("late", "linear"))


def test_a_linear_model_is_the_sum_of_a_linear_map_per_modality():
    model, batch = _stirred(_model(modalities=("image", "audio"), kind="linear")).eval(), _batch(rows=(0, 2))
    expected = model.missing["image"] + model.missing["audio"] + torch.zeros(ROWS, OUTPUTS)
    for name in ("image", "audio"):
        layer = model.projections[name][0]
        expected[[0, 2]] += batch[name].values @ layer.weight.T + layer.bias - model.missing[name]
    torch.testing.assert_close(model({name: batch[name] for name in ("image", "audio")}, ROWS).logits, expected)
    assert sum(parameter.numel() for parameter in model.parameters()) == OUTPUTS * (6 + 4 + 2 + 2)
