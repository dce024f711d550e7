"""By what copies of a sound are found, cut or sped up ones too: hashes of its spectrum, confirmed on the waveform.

Kept is the spectrum over time, as a picture of 15 bands x 64 slices (1 kB a sound): all of it on one side of a pair, on the
other windows that lose up to a fifth at the ends. A change of speed by a few per cent stretches the time, which the slices do
not see, and shifts the bands by little. Of the likeliest the media are read again: a tenth of a second of the one is looked for
in the other at every speed, and the time that agrees is enlarged, with speed and offset fitted anew, until the waveforms at
8 kHz agree over all that both have, or do not. Each is aligned with the four likeliest, and its waveform compared with three.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import soxr

from tasks.media.near_duplicates.alignment import align, blur, correlate
from tasks.media.near_duplicates.candidates import Pairs, match_groups_again
from tasks.media.near_duplicates.signatures import ReadMedia, Signature, Signatures
from tasks.media.near_duplicates.windows import Candidates, best_of_each, find_candidates, spectra_of

Array = np.ndarray[Any, Any]
AUDIO_S = 0.2
_HZ, _COMPARED_S = 8000, 10.0
"""Of the waveform, the middle is compared: what is cut at an end moves it by half of that."""
_SLICES, _FRAMES, _WIDTH = 64, 2, 512
_WINDOWS = tuple((start / 80, 1 - end / 80) for start in range(17) for end in range(17 - start))
"""At most a fifth is lost, in steps of 1.25 %: words and pauses of 10 s are soon out of step."""
_WHOLE = ((0.0, 1.0),)
_CELLS = 32
_EXCERPT = 800
"""Samples that are looked for first."""
_SPEEDS = 1 + np.arange(-6, 7) / 200
"""Around that at which the spectra agree, which is right within 3 % for 0.3 s of sound, and within 0.5 % for 10 s."""
_FASTEST = 1.08
# Measured on the 3,000 spoken digits of avdigits: of copies, 99 in 100 correlate by 0.985 before they are aligned and are then
# among the two likeliest of 17; once aligned, by 0.995, and are the likeliest.
_LIKELY, _SPECTRUM_CORRELATION = 0.95, 0.95
_ALIGNED, _HEARD = 4, 3
"""Others that a sound is aligned with, and that its waveform is compared with: 0.3 ms and about 1 ms each."""
_EXCERPT_CORRELATION = 0.8
# Measured on them, too. Copies (cut by 15 %, sped up or slowed down by up to 5 %, through Vorbis, and
# these together): 0.98 or more in 95 of 100. Different recordings of one word by one speaker: at most 0.951 at another speed.
_CORRELATION, _CORRELATION_AT_SPEED = 0.95, 0.965
_SAME_SPEED = 5e-4
_FINER = 4
_PART = 2048
_STEPS, _STILL = 12, 0.02
_READ_BYTES = 256 << 20
"""Of waveforms in memory at once, 8 kB for a second."""


@dataclass(frozen=True)
class _Sound:
    """The waveform that is compared, of a sound of so many samples, from which one on."""

    wave: Array
    start: int
    total: int


def sign_sound(samples: Array, rate_hz: int) -> Signature | None:
    """Of int16 (T,); None under 0.2 s, and for silence. Neither the level counts, nor silence at the ends."""
    sound = _loud_part(samples)
    if not sound.size or len(sound) < AUDIO_S * rate_hz:
        return None
    length_s = np.array([len(sound) / rate_hz], "<f4")
    return Signature(b"", length_s.tobytes() + _spectrum(sound).tobytes())


def _loud_part(samples: Array) -> Array:
    """float32, without silence at the ends; of silence, nothing."""
    sound = samples.astype(np.float32)
    sound -= np.median(sound) if sound.size else 0.0
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max(initial=0.0))
    return sound[loud[0] : loud[-1] + 1] if loud.size else sound[:0]


def _waveform(samples: Array, rate_hz: int) -> _Sound:
    """At 8 kHz, the square roots of its levels as int8: where one click is loud, the rest is kept, too."""
    slow = np.asarray(soxr.resample(_loud_part(samples), rate_hz, _HZ))
    count = min(len(slow), int(_COMPARED_S * _HZ))
    start = (len(slow) - count) // 2
    wave = slow[start : start + count]
    wave /= max(float(np.abs(wave).max()), 1e-9)
    return _Sound(np.round(np.sign(wave) * np.sqrt(np.abs(wave)) * 127).astype(np.int8), start, len(slow))


def _expanded(sound: _Sound) -> _Sound:
    wave = sound.wave.astype(np.float32)
    wave *= np.abs(wave) / 127
    return _Sound(wave, sound.start, sound.total)


@cache
def _edges() -> Array:
    """Where the bands of a spectrum start, and the end of the last."""
    return np.unique(np.geomspace(2, _WIDTH // 2 + 1, 17).astype(int))


def _spectrum(sound: Array) -> Array:
    """uint8 (15, 64): the log energy in bands from low to high and slices of time, 0 for 40 dB under the loudest."""
    each = max(_FRAMES, -(-len(sound) // (_WIDTH * _SLICES)))  # a long sound is heard all the same
    starts = np.linspace(0, max(len(sound) - _WIDTH, 0), each * _SLICES).astype(int)
    padded = np.pad(sound, (0, _WIDTH))
    frames = padded[starts[:, None] + np.arange(_WIDTH)] * np.hanning(_WIDTH).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    bands = np.add.reduceat(power[:, : _edges()[-1]], _edges()[:-1], axis=1).reshape(_SLICES, each, -1).mean(axis=1)
    log = np.log10(np.maximum(bands / max(float(bands.max()), 1e-12), 1e-4))
    levels: Array = np.round((log / 4 + 1) * 255).astype(np.uint8).T
    return levels


def match_sounds(signatures: Signatures, read: ReadMedia) -> Pairs:
    """Pairs of which one is a part or all of the other's recording, as positions; of many copies some, which join them all."""

    def match(chosen: Array) -> Pairs:
        """Pairs among the chosen, as positions among all."""
        pairs = _match(signatures.forms[chosen], lambda at: _renumbered(read, chosen, at))
        return chosen[pairs]

    return match_groups_again(match, len(signatures.forms))


def _renumbered(read: ReadMedia, chosen: Array, positions: Sequence[int]) -> Iterator[tuple[int, Array, int]]:
    """What is read, by its position among the chosen."""
    among = dict(zip(chosen[positions].tolist(), positions, strict=True))
    for place, medium, rate_hz in read(list(among)):
        yield among[place], medium, rate_hz


def _match(forms: Array, read: ReadMedia) -> Pairs:
    lengths_s = forms[:, :4].copy().view("<f4")[:, 0]
    found, windows = _like_spectra(forms[:, 4:].reshape(len(forms), -1, _SLICES), lengths_s)
    joined: set[tuple[int, int]] = set()
    for places in _batches(found, np.minimum(lengths_s, _COMPARED_S) * _HZ):
        needed = np.union1d(found.medium[places], found.copy[places]).tolist()
        sounds = {place: _waveform(medium, rate_hz) for place, medium, rate_hz in read(needed)}
        for place in places:
            one, other = int(found.medium[place]), int(found.copy[place])
            pair = (min(one, other), max(one, other))
            if pair not in joined and is_part(_expanded(sounds[one]), _expanded(sounds[other]), windows[place]):
                joined.add(pair)
    return np.array(sorted(joined), np.int64).reshape(-1, 2)


def _batches(found: Candidates, sizes: Array) -> Iterator[Array]:
    """Places of candidates, so many that the waveforms (of so many bytes) that they need are in memory together."""
    start, held, bytes_held = 0, set[int](), 0.0
    for place, pair in enumerate(zip(found.medium.tolist(), found.copy.tolist(), strict=True)):
        more = set(pair) - held
        bytes_held += sum(sizes[one] for one in more)
        held |= more
        if bytes_held >= _READ_BYTES or place == len(found.medium) - 1:
            yield np.arange(start, place + 1)
            start, held, bytes_held = place + 1, set(), 0.0


def _like_spectra(spectra: Array, lengths_s: Array) -> tuple[Candidates, Array]:
    """Pairs whose spectra (N, bands, slices) agree, and (P, 2) where the one has the other, as shares of its length."""
    found = find_candidates(
        lambda low, high: spectra_of(spectra[low:high], _WINDOWS, _WHOLE),
        spectra_of(spectra, _WHOLE, _WHOLE),
        _LIKELY,
        _ALIGNED,
    )
    found = found.at(np.flatnonzero(lengths_s[found.medium] >= lengths_s[found.copy]))  # the shorter one is the copy
    windows, alike = [np.empty((0, 2))], [np.empty(0)]
    for start in range(0, len(found.medium), _PART):
        part = found.at(slice(start, start + _PART))
        ends = np.array([(*window, 0, 1) for window in _WINDOWS], np.float32)[part.window]
        whole = np.tile(np.array([0, 1, 0, 1], np.float32), (len(ends), 1))
        best, shown, copied = align(blur(spectra[part.medium]), blur(spectra[part.copy]), ends, whole, _CELLS)
        windows.append(best[:, :2])
        alike.append(correlate(shown, copied))
    likeness = np.concatenate(alike)
    likely = np.flatnonzero(likeness >= _SPECTRUM_CORRELATION)
    best_of = [best_of_each(side[likely], likeness[likely], _HEARD) for side in (found.medium, found.copy)]
    likely = likely[np.unique(np.concatenate(best_of))]
    return found.at(likely), np.concatenate(windows)[likely]


# -- waveforms ---


def is_part(sound: _Sound, copy: _Sound, window: Array) -> bool:
    """Whether the copy is what the sound holds between two ends, shares of its length, at nearly the same speed."""
    pace = (window[1] - window[0]) * sound.total / copy.total
    if not 1 / _FASTEST < pace < _FASTEST:
        return False
    for speeds in (np.ones(1), pace * _SPEEDS):
        place = _find_excerpt(sound, copy, window[0] * sound.total, pace, speeds)
        if place is not None:
            reached, speed = _grow(sound.wave, copy.wave, *place)
            if reached >= (_CORRELATION if abs(speed - 1) < _SAME_SPEED else _CORRELATION_AT_SPEED):
                return True
    return False


def _find_excerpt(
    sound: _Sound, copy: _Sound, origin: float, pace: float, speeds: Array
) -> tuple[float, float, float] | None:
    """The loudest excerpt's centre in the copy, where it is in the sound, and how many samples there are one of the copy's."""
    first, last = ((sound.start + end - origin) / pace - copy.start for end in (0, len(sound.wave)))
    low, high = max(int(first), 0), min(int(last), len(copy.wave))
    if high - low < _EXCERPT:
        return None
    energy = np.cumsum(np.concatenate([[0.0], copy.wave[low:high].astype(np.float64) ** 2]))
    begin = low + int(np.argmax(energy[_EXCERPT:] - energy[:-_EXCERPT]))
    centre = begin + _EXCERPT / 2
    expected = origin + (copy.start + centre) * pace - sound.start
    slack = _EXCERPT / 2 + 0.01 * min(sound.total, 2 * len(sound.wave)) + 100
    near = max(int(expected - slack), 0)
    around = sound.wave[near : max(int(expected + slack), 0)]
    if len(around) < _EXCERPT:
        return None
    speed, offset, reached = _slide(around, copy.wave[begin : begin + _EXCERPT], speeds)
    return (centre, near + offset + _EXCERPT / 2, speed) if reached >= _EXCERPT_CORRELATION else None


def _slide(around: Array, excerpt: Array, speeds: Array) -> tuple[float, int, float]:
    """The speed and the offset at which the excerpt correlates best, and by how much."""
    around, excerpt = (np.convolve(wave, (0.25, 0.5, 0.25), "same") for wave in (around, excerpt))
    # Above 2 kHz, half a sample would count as much as another word.
    count = len(excerpt)
    inner = np.arange(count) - count / 2
    at_speeds = np.stack(
        [np.interp(inner / speed + count / 2, np.arange(count), excerpt, left=0, right=0) for speed in speeds]
    )
    at_speeds -= at_speeds.mean(axis=1, keepdims=True)
    size = 1 << (len(around) - 1).bit_length()  # what wraps around is not read
    spectrum = np.fft.rfft(around, size) * np.conj(np.fft.rfft(at_speeds, size))
    product = np.fft.irfft(spectrum, size)[:, : len(around) - count + 1]
    sums, squares = (np.cumsum(np.concatenate([[0.0], around.astype(np.float64) ** power])) for power in (1, 2))
    energy = squares[count:] - squares[:-count] - (sums[count:] - sums[:-count]) ** 2 / count
    length = np.sqrt(np.maximum(energy, 1.0) * np.maximum((at_speeds**2).sum(axis=1, keepdims=True), 1.0))
    speed, offset = np.unravel_index(np.argmax(product / length), product.shape)
    return float(speeds[speed]), int(offset), float((product / length)[speed, offset])


def _grow(sound: Array, copy: Array, centre: float, place: float, speed: float) -> tuple[float, float]:
    """The correlation over all that both have, or over a smaller part where it is already too low; and the speed."""
    half = _EXCERPT / 2
    finer = np.asarray(soxr.resample(sound, _HZ, _FINER * _HZ))  # halfway between two samples, high tones would be lost
    while True:
        times = np.arange(max(int(centre - half), 0), min(int(centre + half), len(copy)))
        places = place + (times - centre) * speed
        times = times[(places >= 0) & (places <= len(sound) - 1)]
        target = copy[times] - copy[times].mean()
        for _ in range(_STEPS):
            moved, faster = _improve(finer, target, times - centre, place, speed)
            place, speed = place + moved, speed + faster
            if abs(moved) + abs(faster) * half < _STILL:
                break
        shown = _read_at(finer, place + (times - centre) * speed)
        reached = float(correlate(shown[None], target[None])[0])
        if reached < _EXCERPT_CORRELATION or half >= max(centre, len(copy) - centre):
            return reached, speed
        half *= 1.5


def _read_at(finer: Array, places: Array) -> Array:
    """The waveform between its samples."""
    read: Array = np.interp(places * _FINER, np.arange(len(finer)), finer)
    return read


def _improve(finer: Array, target: Array, times: Array, place: float, speed: float) -> tuple[float, float]:
    """By how many samples to move, and by how much to go faster: a Gauss-Newton step, with gain and offset of the level."""
    shown, later, sooner = (_read_at(finer, place + times * speed + shift) for shift in (0.0, 0.125, -0.125))
    shown -= shown.mean()
    rise = (later - sooner) * 4
    slopes = np.stack([rise, rise * times, shown, np.ones(len(times))])
    square = slopes @ slopes.T
    square[np.diag_indices(4)] = square[np.diag_indices(4)] * 1.001 + 1e-6
    gain = np.sqrt(float(shown @ shown) / max(float(target @ target), 1e-9))
    moved, faster = np.linalg.solve(square, slopes @ (target * gain - shown))[:2]
    return float(np.clip(moved, -2, 2)), float(np.clip(faster, -0.004, 0.004))
