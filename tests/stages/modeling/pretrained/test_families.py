"""Every family, with random weights saved as the real ones are, against transformers' own processor and network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from data_contracts.refs import InputName
from tasks.errors import UsageError
from tests.support.families import (
    LENGTHS,
    MEAN,
    RATE_HZ,
    SMALL,
    SPEECH,
    STD,
    TEXT,
    TOKENS,
    VISION,
    MakeFolder,
    load,
    normalised,
    pictures,
    processor,
    waves,
)


@pytest.mark.parametrize("name", VISION)
def test_pictures_are_what_the_network_sees(make_folder: MakeFolder, name: str) -> None:
    kind, config, pooling = VISION[name]
    folder = make_folder(kind, config(), processor())
    encoder, x = load("image", folder), pictures()
    reference = kind.from_pretrained(folder).eval()  # type: ignore[attr-defined]
    with torch.inference_mode():
        if name == "clip":
            expected = reference.vision_model(pixel_values=normalised(x)).pooler_output
        else:
            output = reference(pixel_values=normalised(x))
            tokens = output.last_hidden_state
            expected = {
                "first": lambda: tokens[:, 0],
                "both": lambda: torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1),
                "own": lambda: output.pooler_output.flatten(1),
            }[pooling]()
        found = encoder(x, torch.ones(3))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", VISION)
def test_a_picture_of_another_side_is_read(make_folder: MakeFolder, name: str) -> None:
    kind, config, _ = VISION[name]
    folder = make_folder(kind, config(), processor())
    with torch.inference_mode():
        assert load("image", folder, px=48)(pictures(2, 20), torch.ones(2)).isfinite().all()


def test_frames_are_read_one_by_one_and_padding_counts_nothing(make_folder: MakeFolder) -> None:
    kind, config, _ = VISION["vit"]
    folder = make_folder(kind, config(), processor())
    x, single = pictures(6).view(2, 3, 3, 32, 32), load("image", folder)
    with torch.inference_mode():
        found = load("video", folder)(x, torch.tensor([3, 2]))
        seen = single(x.flatten(0, 1), torch.ones(6)).view(2, 3, -1)
    torch.testing.assert_close(found, torch.stack([seen[0].mean(0), seen[1, :2].mean(0)]), atol=1e-5, rtol=1e-4)


def test_clips_are_brought_to_the_networks_frames(make_folder: MakeFolder) -> None:
    config = hf.VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, tubelet_size=2, **SMALL)
    shaping = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    folder = make_folder(hf.VideoMAEModel, config, hf.VideoMAEImageProcessor(image_mean=MEAN, image_std=STD, **shaping))
    x = pictures(6).view(2, 3, 3, 32, 32)
    reference = hf.VideoMAEModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = load("video", folder)(x, torch.tensor([3, 2]))
        clips = torch.stack([x[0, [0, 1, 1, 2]], x[1, [0, 0, 1, 1]]])
        expected = reference(pixel_values=normalised(clips)).last_hidden_state.mean(1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(UsageError, match="videomae reads clips"):
        load("image", folder)
    with pytest.raises(UsageError, match="cannot read pictures of 48 px"):
        load("video", folder, px=48)


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert", "WavLM"])
def test_speech_is_read_as_if_each_clip_were_alone(make_folder: MakeFolder, kind: str, norm: str) -> None:
    model = getattr(hf, f"{kind}Model")
    config = getattr(hf, f"{kind}Config")(feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", **SPEECH)
    extractor = hf.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=norm == "layer")
    folder = make_folder(model, config, extractor)
    x, lengths, rows = waves(900, 1600, 700)
    reference = model.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = load("audio", folder)(x, lengths)
        for row, vector in zip(rows, found, strict=True):
            inputs = extractor(row, sampling_rate=RATE_HZ, return_tensors="pt").input_values
            torch.testing.assert_close(vector, reference(inputs).last_hidden_state[0].mean(0), atol=2e-5, rtol=1e-3)
        assert load("audio", folder)(x[:, :3], torch.tensor([3, 2, 1])).isfinite().all()


def test_spectrograms_are_those_of_the_processor(make_folder: MakeFolder) -> None:
    config = hf.ASTConfig(max_length=64, num_mel_bins=32, **SMALL)
    extractor = hf.ASTFeatureExtractor(max_length=64, num_mel_bins=32)
    folder = make_folder(hf.ASTModel, config, extractor)
    x, lengths, rows = waves(4000, 16_000, 400)
    reference = hf.ASTModel.from_pretrained(folder).eval()
    inputs = torch.stack([extractor(r, sampling_rate=RATE_HZ, return_tensors="pt").input_values[0] for r in rows])
    with torch.inference_mode():
        encoder = load("audio", folder)
        torch.testing.assert_close(encoder.mel(x, lengths), inputs, atol=2e-4, rtol=1e-3)
        torch.testing.assert_close(encoder(x, lengths), reference(inputs).pooler_output, atol=1e-4, rtol=1e-3)


def test_whisper_on_a_clip_of_full_length_is_transformers(whisper: Path) -> None:
    extractor = hf.AutoFeatureExtractor.from_pretrained(whisper)
    x, lengths, rows = waves(16_000, 15_800)
    reference = hf.WhisperModel.from_pretrained(whisper).eval().encoder
    inputs = extractor(rows, sampling_rate=RATE_HZ, return_tensors="pt").input_features
    with torch.inference_mode():
        found, hidden = load("audio", whisper)(x, lengths), reference(inputs).last_hidden_state
    for row in range(2):
        torch.testing.assert_close(found[row], hidden[row].mean(0), atol=1e-4, rtol=1e-3)


def test_whisper_reads_only_where_there_is_sound_and_each_clip_as_if_alone(whisper: Path) -> None:
    """Positions and spectrogram are those of transformers, what is filled up to the full length left out."""
    encoder = load("audio", whisper)
    x, lengths, rows = waves(4000, 16_000, 100)
    network = hf.WhisperModel.from_pretrained(whisper).eval().encoder
    inputs = hf.AutoFeatureExtractor.from_pretrained(whisper)(rows, sampling_rate=RATE_HZ, return_tensors="pt")
    with torch.inference_mode():
        found = encoder(x, lengths)
        for row, places in enumerate((13, 50, 1)):
            alone = encoder(x[row : row + 1, : int(lengths[row])], lengths[row : row + 1])[0]
            torch.testing.assert_close(found[row], alone, atol=1e-5, rtol=1e-4)
            gelu = torch.nn.functional.gelu
            hidden = gelu(network.conv2(gelu(network.conv1(inputs.input_features[row : row + 1])))).transpose(1, 2)[
                :, :places
            ]
            hidden = hidden + network.embed_positions.weight[:places]
            for layer in network.layers:
                hidden = layer(hidden, None)
            torch.testing.assert_close(alone, network.layer_norm(hidden)[0].mean(0), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", TEXT)
def test_text_is_read_as_if_each_were_alone(make_folder: MakeFolder, name: str) -> None:
    kind, config = TEXT[name]
    folder = make_folder(kind, config())
    reference = kind.from_pretrained(folder).eval()  # type: ignore[attr-defined]
    with torch.inference_mode():
        found = load("text", folder)(TOKENS, LENGTHS)
        for row, length in enumerate(LENGTHS.tolist()):
            expected = reference(input_ids=TOKENS[row : row + 1, :length]).last_hidden_state[0].mean(0)
            torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-4)


def test_clip_reads_a_text_by_its_end(make_folder: MakeFolder) -> None:
    folder = make_folder(hf.CLIPModel, VISION["clip"][1](), name="clip")
    reference = hf.CLIPModel.from_pretrained(folder).eval()
    tokens = torch.tensor([[2, 7, 9, 11, 49], [2, 8, 49, 0, 0]])
    with torch.inference_mode():
        found = load("text", folder)(tokens, LENGTHS)
        for row, length in enumerate(LENGTHS.tolist()):
            expected = reference.text_model(input_ids=tokens[row : row + 1, :length]).pooler_output[0]
            torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-4)


def test_a_network_that_needs_a_decoder_is_refused(make_folder: MakeFolder) -> None:
    config = hf.T5Config(vocab_size=50, d_model=32, d_ff=64, d_kv=16, num_layers=1, num_heads=2)
    with pytest.raises(UsageError, match="t5 needs a decoder"):
        load("text", make_folder(hf.T5Model, config))


def test_half_precision_is_read_as_float32(bert: Path) -> None:
    assert {p.dtype for p in load("text", bert).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("modality", "kind", "config"),
    [("audio", hf.BertModel, TEXT["bert"][1]), ("image", hf.BertModel, TEXT["bert"][1])],
)
def test_an_encoder_of_something_else_is_told(
    make_folder: MakeFolder, modality: InputName, kind: type, config: Callable[[], Any]
) -> None:
    folder = make_folder(kind, config())
    with pytest.raises(UsageError, match=r"bert is not among|no processor of pictures"):
        load(modality, folder)
