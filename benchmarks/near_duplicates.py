"""How many edited copies are found as near duplicates, and how many different media are taken for copies.

    python -m benchmarks.near_duplicates [--data ../shared/data] [--copies 500] [--unrelated 1000] [--sizes 1000 10000 50000]

Pictures are those of cifar10_12k, scaled to 96 px; sounds are the spoken digits of avdigits (0.2 s and longer), and sentences
of 5 to 20 of them, of which none is in two. A copy is found when it is paired with its own original among all originals. False
pairs are those among the originals (which hold true repeats of photographs, so look at them) and between an original and the
copy of another. Texts are random words, and commands of eleven words from a template with four places of ten fillings each.

CPU seconds are of signatures and of the search; left out: decoding. One thread. They are printed for more and more different
pictures, too (those of cifar10/train.parquet, scaled to 96 px), and texts, with the peak of what NumPy and Python allocate in
the search, beyond the signatures. That is a second run, as counting makes it slower.
"""

from __future__ import annotations

import argparse
import io
import itertools
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile
import soxr
from PIL import Image, ImageDraw

from benchmarks.measure import machine
from tasks.media.near_duplicates.signatures import Signature, Signatures, match_images, sign_image, stack
from tasks.media.near_duplicates.sounds import match_sounds, sign_sound
from tasks.media.near_duplicates.texts import match_all_but_one_word, match_texts, sign_text

Rng = np.random.Generator
Edit = Callable[[Any, Rng], Any]
Match = Callable[[Signatures, Sequence[Any]], Any]
PX, HZ = 96, 16_000


def cropped(share: float, each: bool = False) -> Edit:
    """A share of both sides is cut off at a random place, or at each of the four edges."""

    def edit(picture: Image.Image, rng: Rng) -> Image.Image:
        """What is left of the picture."""
        lost = round(PX * share)
        left, upper = (lost, lost) if each else (int(rng.integers(lost + 1)) for _ in range(2))
        right, lower = (lost, lost) if each else (lost - left, lost - upper)
        return picture.crop((left, upper, PX - right, PX - lower))

    return edit


def mirrored(picture: Image.Image, rng: Rng) -> Image.Image:
    """Left is right."""
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def recompressed(picture: Image.Image, rng: Rng) -> Image.Image:
    """JPEG at quality 40."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=40)
    return Image.open(out).convert("RGB")


def captioned(share: float, added: bool) -> Edit:
    """A bar with white words over the lower part, or below the picture."""

    def edit(picture: Image.Image, rng: Rng) -> Image.Image:
        """The picture with its bar."""
        bar = round(PX * share)
        copy = Image.new("RGB", (PX, PX + bar if added else PX))
        copy.paste(picture)
        draw = ImageDraw.Draw(copy)
        draw.rectangle((0, copy.height - bar, PX, copy.height), fill="black")
        draw.text((4, copy.height - bar), f"caption {rng.integers(1000)}", fill="white")
        return copy

    return edit


def after(*edits: Edit) -> Edit:
    """One edit after another."""

    def edit(medium: Any, rng: Rng) -> Any:
        """The medium after all of them."""
        for one in edits:
            medium = one(medium, rng)
        return medium

    return edit


def cut(share: float) -> Edit:
    """A share is cut off, at the two ends together."""

    def edit(sound: np.ndarray, rng: Rng) -> np.ndarray:
        """What is left of the sound."""
        lost = round(len(sound) * share)
        start = int(rng.integers(lost + 1))
        return sound[start : len(sound) - (lost - start)]

    return edit


def sped(speed: float) -> Edit:
    """Played at this speed."""
    return lambda sound, rng: np.asarray(soxr.resample(sound.astype(np.float32), HZ * speed, HZ)).astype(np.int16)


def encoded(sound: np.ndarray, rng: Rng) -> np.ndarray:
    """Vorbis at a third of the level."""
    out = io.BytesIO()
    soundfile.write(out, sound // 3, HZ, format="OGG", subtype="VORBIS")
    out.seek(0)
    return np.asarray(soundfile.read(out, dtype="int16")[0])


def one_word_changed(text: str, rng: Rng) -> str:
    """A word of twelve is another."""
    words = text.split()
    words[int(rng.integers(len(words)))] = "changed"
    return " ".join(words)


PICTURES: dict[str, Edit] = {
    "recompressed": recompressed,
    "cropped by 5 %": cropped(0.05),
    "cropped by 10 %": cropped(0.1),
    "cropped by 10 % at each edge": cropped(0.1, each=True),
    "mirrored": mirrored,
    "caption over 15 %": captioned(0.15, added=False),
    "caption of 15 % added": captioned(0.15, added=True),
    "cropped by 10 %, mirrored, recompressed": after(cropped(0.1), mirrored, recompressed),
}
SOUNDS: dict[str, Edit] = {
    "encoded": encoded,
    "sped up by 3 %": sped(1.03),
    "slowed down by 3 %": sped(0.97),
    "sped up by 5 %": sped(1.05),
    "cut by 15 %": cut(0.15),
    "cut by 10 %, sped up by 3 %": after(cut(0.1), sped(1.03)),
}


def measure(
    name: str,
    media: Sequence[Any],
    copies: int,
    edits: Mapping[str, Edit],
    sign: Callable[[Any], Signature | None],
    match: Match,
) -> None:
    """Prints a line of the table for every edit, and one for the originals among each other."""
    start = time.process_time()
    signed = [(medium, found) for medium in media if (found := sign(medium)) is not None]
    signing_s = time.process_time() - start
    originals = [found for _, found in signed]
    start = time.process_time()
    among = len(match(stack(originals), [medium for medium, _ in signed]))
    matching_s = time.process_time() - start
    print(f"{name}: {len(signed)} different, {among} pairs among them")
    print(f"  CPU s: signatures {signing_s:.1f}, search {matching_s:.1f}")
    for title, edit in edits.items():
        rng = np.random.default_rng(0)
        changed = [edit(medium, rng) for medium, _ in signed[:copies]]
        edited = [sign(one) for one in changed]
        owners = [place for place, found in enumerate(edited) if found is not None]
        media = [medium for medium, _ in signed] + [changed[place] for place in owners]
        found = match(stack(originals + [one for one in edited if one is not None]), media).tolist()
        across = [(one, owners[other - len(originals)]) for one, other in found if one < len(originals) <= other]
        right = sum(one == owner for one, owner in across)
        print(f"  {title:42} {right / len(edited):7.1%}   false {len(across) - right}")


def read_pictures(folder: Path, count: int) -> list[Image.Image]:
    """Pictures drawn at random, at 96 px."""
    files = sorted(folder.rglob("*.jpg"))
    drawn = np.random.default_rng(0).choice(len(files), min(count, len(files)), replace=False)
    return [Image.open(files[place]).convert("RGB").resize((PX, PX), Image.Resampling.BICUBIC) for place in drawn]


def read_sounds(folder: Path) -> list[np.ndarray]:
    """All spoken digits in random order, at 16 kHz, as int16."""
    files = sorted(folder.rglob("*.wav"))
    order = np.random.default_rng(0).permutation(len(files))
    raw = (soundfile.read(files[place], dtype="float32") for place in order)
    return [(soxr.resample(sound, rate_hz, HZ) * 32767).clip(-32768, 32767).astype(np.int16) for sound, rate_hz in raw]


def sentences(words: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of 5 to 20 words each, with pauses of up to 0.2 s; no word is in two."""
    rng, made, at = np.random.default_rng(1), [], 0
    while at + 20 <= len(words):
        count = int(rng.integers(5, 21))
        pauses = [np.zeros(int(rng.integers(HZ // 5)), np.int16) for _ in range(count)]
        made.append(
            np.concatenate([part for pair in zip(words[at : at + count], pauses, strict=True) for part in pair])
        )
        at += count
    return made


def texts(count: int) -> list[str]:
    """Of twelve words each, drawn from two thousand."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnoprstuvw"), int(rng.integers(3, 9)))) for _ in range(2000)]
    return [" ".join(rng.choice(words, 12)) for _ in range(count)]


def commands(count: int) -> list[str]:
    """Of the 10,000 that a template gives."""
    rng = np.random.default_rng(2)
    fillings = [["".join(rng.choice(list("abcdefgh"), 6)) for _ in range(10)] for _ in range(4)]
    every = list(itertools.product(*fillings))
    chosen = (every[place] for place in rng.permutation(len(every))[:count])
    return ["please {} the {} in the {} for me at {} today".format(*words) for words in chosen]


def measure_growth(name: str, signed: list[Signature], sizes: Sequence[int], match: Match) -> None:
    """Prints a line for every size: CPU seconds of the search, and its memory."""
    for size in [size for size in sizes if size <= len(signed)]:
        signatures = stack(signed[:size])
        start = time.process_time()
        found = len(match(signatures, ()))
        search_s = time.process_time() - start
        tracemalloc.start()
        match(signatures, ())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        kept = sum(matrix.nbytes for matrix in signatures)
        print(
            f"{size:7,} {name}: search {search_s:6.2f} s, {found} pairs; "
            f"{kept / size / 1e3:.2f} kB each, and {peak / 1e6:.0f} MB ({peak / size / 1e3:.2f} kB each) in the search"
        )


def many_pictures(table: Path, count: int) -> list[Signature]:
    """Signatures of pictures of 32 px, at 96 px."""
    signed: list[Signature] = []
    for part in pq.ParquetFile(table).iter_batches(1024, columns=["img"]):
        for cell in part["img"].to_pylist()[: count - len(signed)]:
            picture = Image.open(io.BytesIO(cell["bytes"])).convert("RGB").resize((PX, PX), Image.Resampling.BICUBIC)
            found = sign_image(np.asarray(picture))
            signed += [] if found is None else [found]
    return signed


def match_all_texts(signatures: Signatures, media: Sequence[Any]) -> Any:
    """As rows of one label are paired."""
    return np.unique(np.concatenate([match_texts(signatures), match_all_but_one_word(signatures)]), axis=0)


def match_recordings(signatures: Signatures, media: Sequence[Any]) -> Any:
    """Reads the media from memory."""
    return match_sounds(signatures, lambda places: ((place, media[place], HZ) for place in places))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Edited copies that are found, and false pairs")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--copies", type=int, default=500)
    parser.add_argument("--unrelated", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 10_000, 50_000])
    options = parser.parse_args()
    print(machine("numpy", "pillow"))
    match_all_pictures: Match = lambda signatures, media: match_images(signatures)  # noqa: E731
    pictures = read_pictures(options.data / "cifar10_12k", options.unrelated)
    sign_picture: Callable[[Image.Image], Signature | None] = lambda picture: sign_image(np.asarray(picture))  # noqa: E731
    sign_heard: Callable[[np.ndarray], Signature | None] = lambda sound: sign_sound(sound, HZ)  # noqa: E731
    measure("pictures", pictures, options.copies, PICTURES, sign_picture, match_all_pictures)
    words = read_sounds(options.data / "avdigits")
    measure("spoken digits", words[: options.unrelated], options.copies, SOUNDS, sign_heard, match_recordings)
    measure("sentences", sentences(words), options.copies, SOUNDS, sign_heard, match_recordings)
    changed = {"one word of twelve changed": one_word_changed}
    measure("texts", texts(options.unrelated), options.copies, changed, sign_text, match_all_texts)
    measure("commands", commands(options.unrelated), options.copies, {}, sign_text, match_all_texts)
    most = max(options.sizes, default=0)
    many = many_pictures(options.data / "cifar10" / "train.parquet", most)
    measure_growth("pictures", many, options.sizes, match_all_pictures)
    many = [found for text in texts(most) if (found := sign_text(text)) is not None]
    measure_growth("texts", many, options.sizes, match_all_texts)


if __name__ == "__main__":
    main()
