import pytest
import torch
from torch._dynamo.utils import counters

from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.encoders import build_encoder
from tasks.train.compiling import compile_encoder

SMALL = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
BERT = {"config": {"model_type": "bert", "vocab_size": 100, **SMALL}, "adapter": "hf-text", "pooling": "mean"}
PICTURE = {"px": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "resample": 2}
MOBILENET = {"adapter": "torchvision-pictures", "network": "mobilenet_v2", **PICTURE}


def _build(kind, settings):
    if settings is None:
        return build_encoder(kind, EncoderSpec(encoder="tiny", reads="inputs"))
    spec = EncoderSpec(encoder="hf:x", reads="inputs", weights_sha256="0" * 64, settings=settings)
    return build_encoder(kind, spec)


def test_of_a_transformer_the_layers_are_compiled():
    parts = compile_encoder(_build("text", BERT))
    assert [type(part).__name__ for part in parts] == ["BertLayer"] * 4


@pytest.mark.parametrize(("kind", "settings"), [("image", MOBILENET), ("image", None), ("text", None)])
def test_what_is_no_stack_is_compiled_whole(kind, settings):
    encoder = _build(kind, settings)
    assert compile_encoder(encoder) == [encoder]


@pytest.mark.slow
def test_layers_are_compiled_once_for_all_of_them_and_compute_the_same():
    torch.manual_seed(0)
    encoder = _build("text", BERT).eval()
    tokens, lengths = torch.randint(1, 100, (3, 12)), torch.tensor([12, 5, 9])
    expected = encoder(tokens, lengths)
    torch.compiler.reset()
    counters.clear()
    compile_encoder(encoder)
    torch.testing.assert_close(encoder(tokens, lengths), expected, atol=1e-5, rtol=1e-4)
    assert counters["stats"]["unique_graphs"] == 1
