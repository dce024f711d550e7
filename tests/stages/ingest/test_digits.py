"""The built-in data set: what is written is valid, seeded, and says nothing but the digit it stands for."""

import hashlib
import itertools
import math
import wave
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.ingest.sources.digits import QUALITIES, SHARES, build_digits, draw_qualities
from tasks.ingest.sources.digits_audio import (
    BAND_HZ,
    COLUMNS_HZ,
    FREQUENCY_ERROR,
    ROWS_HZ,
    SAMPLE_RATE_HZ,
    SILENCE_S,
    TONE_S,
    band_noise,
    key_frequencies,
    play_key,
)
from tasks.ingest.sources.digits_text import HINTS, NUMBERS, PHRASES, VAGUE, digits_named, mistype, write_words

ROWS = 1797
CELLS = ("image_path", "audio_path", "text")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("digits")
    build_digits(path, seed=0)
    return path


@pytest.fixture(scope="module")
def rows(folder):
    return pq.read_table(folder / "manifest.parquet").to_pylist()


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder, tmp_path):
    build_digits(tmp_path / "again", seed=0)
    first = _digests(folder)
    assert first == _digests(tmp_path / "again")
    build_digits(tmp_path / "other", seed=1)
    other = _digests(tmp_path / "other")
    media = [name for name in first if name.startswith(("images/", "audio/")) and name in other]
    assert len(media) > ROWS
    assert not any(first[name] == other[name] for name in media)


def test_the_manifest_names_every_digit_of_scikit_learn_and_every_file_on_disk(folder, rows):
    from sklearn.datasets import load_digits

    assert list(rows[0]) == ["sample_id", *CELLS, "label"]
    assert [row["label"] for row in rows] == [str(digit) for digit in load_digits().target]
    assert len({row["sample_id"] for row in rows}) == ROWS
    named = {row[cell] for row in rows for cell in CELLS[:2] if row[cell] is not None}
    assert named == {name for name in _digests(folder) if name.endswith((".png", ".wav"))}
    assert "1797 samples" in (folder / "README.md").read_text(encoding="utf-8")


def test_every_sample_has_two_modalities_and_a_clear_one_and_shares_are_as_stated():
    qualities = draw_qualities(ROWS, seed=0)
    states = list(zip(*qualities.values(), strict=True))
    assert all(_allowed(state) for state in states)
    chances = {
        state: math.prod(SHARES[name][QUALITIES.index(quality)] for name, quality in zip(SHARES, state, strict=True))
        for state in itertools.product(QUALITIES, repeat=len(SHARES))
        if _allowed(state)
    }
    for position, quality in itertools.product(range(len(SHARES)), QUALITIES):
        expected = sum(chance for state, chance in chances.items() if state[position] == quality)
        measured = sum(state[position] == quality for state in states) / ROWS
        assert measured == pytest.approx(expected / sum(chances.values()), abs=0.03), (position, quality)


def _allowed(state):
    return state.count("missing") <= 1 and "clear" in state


def test_missing_cells_are_those_that_were_drawn(rows):
    qualities = draw_qualities(ROWS, seed=0)
    for cell, modality in zip(CELLS, ("image", "audio", "text"), strict=True):
        assert [row[cell] is None for row in rows] == [quality == "missing" for quality in qualities[modality]]


def test_no_two_samples_are_the_same(folder, rows):
    digests = _digests(folder)
    seen = {(*(digests.get(row[cell]) for cell in CELLS[:2]), row["text"]) for row in rows}
    assert len(seen) == ROWS
    pictures = [digests[row["image_path"]] for row in rows if row["image_path"]]
    assert len(set(pictures)) == len(pictures)


def test_pictures_are_grey_png_of_32_px_and_not_blank(folder, rows):
    for row in rows[:200]:
        if row["image_path"]:
            with Image.open(folder / row["image_path"]) as picture:
                assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (32, 32))
                assert np.asarray(picture).std() > 2


def test_sounds_are_16_bit_mono_wav_at_8_khz_of_the_stated_length_and_not_clipped(folder, rows):
    shortest, longest = (2 * SILENCE_S[i] + TONE_S[i] for i in (0, 1))
    for row in rows[:200]:
        if row["audio_path"]:
            with wave.open(str(folder / row["audio_path"])) as file:
                assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, SAMPLE_RATE_HZ)
                clip = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(int)
            assert shortest - 0.001 <= len(clip) / SAMPLE_RATE_HZ <= longest + 0.001
            assert np.abs(clip).max() > 100
            assert np.mean(np.abs(clip) >= 32767) < 0.001


@pytest.mark.parametrize("digit", range(10))
def test_a_clear_clip_peaks_at_the_two_frequencies_of_its_key(digit):
    resolution_hz = 2 / TONE_S[0]
    for seed in range(20):
        clip = play_key(digit, poor=False, rng=np.random.default_rng([seed, digit])).astype(float)
        power = np.abs(np.fft.rfft(clip, 1 << 15)) ** 2
        hz = np.fft.rfftfreq(1 << 15, 1 / SAMPLE_RATE_HZ)
        for group, expected in zip((ROWS_HZ, COLUMNS_HZ), key_frequencies(digit), strict=True):
            inside = (hz > group[0] - 30) & (hz < group[-1] + 30)
            peak = hz[inside][np.argmax(power[inside])]
            assert abs(peak - expected) <= expected * FREQUENCY_ERROR + resolution_hz, (seed, peak, expected)


def test_the_keypad_is_that_of_q_23():
    assert [key_frequencies(digit) for digit in (0, 1, 5, 9)] == [(941, 1336), (697, 1209), (770, 1336), (852, 1477)]
    assert len({key_frequencies(digit) for digit in range(10)}) == 10


def test_noise_stays_in_the_telephone_band():
    noise = band_noise(4000, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    hz = np.fft.rfftfreq(4000, 1 / SAMPLE_RATE_HZ)
    assert np.mean(noise**2) == pytest.approx(1)
    assert power[(hz < BAND_HZ[0]) | (hz > BAND_HZ[1])].sum() < 1e-9 * power.sum()


def test_every_language_has_ten_numbers_and_none_means_two_digits():
    for language, words in NUMBERS.items():
        assert len(words.split()) == 10, language
        assert [digits_named(word) for word in words.split()] == [{digit} for digit in range(10)], language
    assert set(PHRASES) == set(NUMBERS)


def test_no_carrier_word_names_a_digit():
    carriers = [phrase.replace("{}", " ") for phrases in PHRASES.values() for phrase in phrases]
    assert all("{}" in phrase for phrases in PHRASES.values() for phrase in phrases)
    for text in (*carriers, *VAGUE, *HINTS[0], *HINTS[1]):
        assert digits_named(text) == set(), text


def test_no_phrase_names_another_digit_even_with_typing_errors(rows):
    for row in rows:
        if row["text"] is not None:
            assert row["text"].strip()
            assert digits_named(row["text"]) <= {int(row["label"])}, row


def test_digits_named_sees_through_case_accents_and_punctuation():
    assert digits_named("FÜNF, pięc") == {5}
    assert digits_named("dört; NNE!") == {4}
    assert digits_named("nine nne") == {9, 4}


def test_hints_tell_even_from_odd():
    rng = np.random.default_rng(0)
    drawn = {digit: {write_words(digit, poor=True, rng=rng) for _ in range(300)} for digit in (3, 4)}
    for digit, mine, other in ((3, HINTS[1], HINTS[0]), (4, HINTS[0], HINTS[1])):
        assert drawn[digit] >= set(mine)
        assert drawn[digit].isdisjoint(other)


def test_typing_errors_change_the_word_and_leave_two_characters():
    rng = np.random.default_rng(0)
    assert mistype("seven", 0, rng) == "seven"
    for word in ("um", "six", "dokuz", "dziewięć"):
        assert all(len(mistype(word, 4, rng)) >= 2 for _ in range(200))
        assert sum(mistype(word, 1, rng) != word for _ in range(200)) > 140
