"""Near duplicates: what counts as one, over all modalities, kept together, and never a reason to move what is alone."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import soxr
from PIL import Image

from tasks.config import load_config
from tasks.config_sections import SplitConfig
from tasks.errors import EnvironmentFailed
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.ingest.near_duplicates.clusters import describe_near_duplicates
from tasks.ingest.splits import assign_splits
from tasks.isolation import own_process
from tasks.media.near_duplicates.candidates import join_pairs, match_groups_again, similar_codes
from tasks.media.near_duplicates.clips import match_clips, sign_clip
from tasks.media.near_duplicates.signatures import Signatures, match_images, sign_image, stack
from tasks.media.near_duplicates.sounds import match_sounds, sign_sound
from tasks.media.near_duplicates.texts import match_all_but_one_word, match_texts, sign_text, sign_texts
from tasks.media.video import decode_video
from tasks.store import Store
from tests.support.data import write_manifest
from tests.support.near_copies import STORY, clusters_of, photograph, recompressed, write_pairs


def speech(number: int, seconds: float = 0.6, rate_hz: int = 16_000) -> np.ndarray:
    """Noise whose loudness and colour change, as no other number's."""
    rng = np.random.default_rng(number)
    noise = rng.normal(size=int(seconds * rate_hz))
    tone = np.sin(2 * np.pi * rng.uniform(150, 2000) * np.arange(len(noise)) / rate_hz)
    loudness = np.interp(np.arange(len(noise)), np.linspace(0, len(noise), 8), rng.uniform(0.05, 1, 8))
    return ((noise * 0.2 + tone) * loudness * 6000).astype(np.int16)


def matched(signatures: list[Any], match: Callable[[Signatures], Any]) -> set[tuple[int, int]]:
    assert all(signatures)
    return {(int(one), int(other)) for one, other in match(stack(signatures))}


def matched_sounds(sounds: list[np.ndarray]) -> set[tuple[int, int]]:
    signatures = [sign_sound(sound, 16_000) for sound in sounds]
    return matched(signatures, lambda found: match_sounds(found, lambda at: ((n, sounds[n], 16_000) for n in at)))


def test_copies_of_a_picture_match_and_other_pictures_do_not() -> None:
    original = photograph(0)
    brighter = Image.fromarray((np.asarray(original) * 1.1).clip(0, 255).astype(np.uint8))
    smaller = original.resize((90, 90))
    red = np.asarray(original).copy()
    red[..., 0] = 255 - red[..., 0]
    copies = [original, recompressed(original), smaller, brighter, original.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    others = [Image.fromarray(red), *map(photograph, range(1, 30))]
    signatures = [sign_image(np.asarray(picture)) for picture in copies + others]
    assert matched(signatures, match_images) == {(a, b) for b in range(5) for a in range(b)}


def scenery(number: int) -> Image.Image:
    """A picture with details, as a photograph has them; no other number gives it."""
    rng = np.random.default_rng(number)
    sizes = ((5, 120.0), (12, 80.0), (24, 50.0))
    layers = [Image.fromarray((rng.random((n, n, 3)) * scale).astype(np.uint8)) for n, scale in sizes]
    return Image.fromarray(sum(np.asarray(one.resize((96, 96), Image.Resampling.BICUBIC)) for one in layers))


def captioned(picture: Image.Image, share: float = 0.15) -> Image.Image:
    """With a black bar over its lower part."""
    copy = picture.copy()
    copy.paste((0, 0, 0), (0, round(96 * (1 - share)), 96, 96))
    return copy


@pytest.mark.parametrize(
    "edit",
    [
        lambda one: one.crop((0, 5, 91, 96)),
        lambda one: one.crop((9, 3, 96, 90)).resize((96, 96)),
        lambda one: one.crop((5, 5, 91, 91)).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        captioned,
    ],
    ids=["cropped by 5 %", "cropped by 10 %", "cropped and mirrored", "caption"],
)
def test_crops_mirror_images_and_captioned_copies_match_their_own_picture_only(edit: Callable[..., Any]) -> None:
    pictures = [scenery(number) for number in range(20)]
    signatures = [sign_image(np.asarray(one)) for one in [*pictures, *map(edit, pictures)]]
    found = matched(signatures, match_images)
    assert found <= {(number, number + 20) for number in range(20)}
    assert len(found) >= 18


def test_drawings_on_a_plain_ground_are_compared_as_a_whole_only() -> None:
    drawing = Image.new("RGB", (96, 96))
    drawing.paste(scenery(1).crop((0, 0, 40, 40)), (28, 28))
    moved = drawing.crop((4, 4, 92, 92))
    assert matched([sign_image(np.asarray(one)) for one in (drawing, moved)], match_images) == set()


def test_small_pictures_are_not_judged() -> None:
    assert sign_image(np.asarray(photograph(0, 63))) is None
    assert sign_image(np.zeros((200, 30, 3), np.uint8)) is None


def test_blank_pictures_match_by_tone_and_many_of_them_cost_little() -> None:
    tones = [sign_image(np.full((64, 64, 3), tone, np.uint8)) for tone in (250, 250, 20)]
    assert (0, 1) in matched(tones, match_images)
    codes = np.zeros(20_000, np.uint64)
    pairs = similar_codes(codes, 6)
    assert len(pairs) <= 2 * len(codes), "each with its neighbours, not with all others"
    names = [f"{place:05}" for place in range(len(codes))]
    assert set(join_pairs(names, pairs.tolist()).values()) == {"00000"}


def test_every_pair_within_six_bits_is_found() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**63, 500, dtype=np.uint64)
    flips = np.array([sum(1 << int(bit) for bit in rng.choice(64, 6, replace=False)) for _ in codes], np.uint64)
    found = {tuple(pair) for pair in similar_codes(np.concatenate([codes, codes ^ flips]), 6).tolist()}
    assert {(place, place + 500) for place in range(500)} <= found


def test_texts_that_differ_by_little_match() -> None:
    other = "we regret that the parcel could not be handed over, since nobody was at home when the driver came by"
    texts = [STORY, STORY.upper().replace(" ", "  "), STORY.replace("warm", "hot"), STORY[: len(STORY) // 2], other]
    assert matched([sign_text(text) for text in texts], match_texts) == {(0, 1), (0, 2), (1, 2)}
    assert sign_text("words of 7") is None


def test_texts_signed_together_have_the_signatures_that_each_has_alone() -> None:
    texts = [
        STORY,
        "short",
        NOTE,
        "",
        f"{STORY} 7 {NOTE}" * 300,
        "\u00c4rger \u00fcber 2 gro\u00dfe Pakete, die nie ankamen",
        NOTE.upper(),
    ]
    together = sign_texts(texts)
    assert together == [sign_text(text) for text in texts]
    assert [found is None for found in together] == [False, True, False, True, False, False, False]
    assert together[2] == together[6]
    forms = b"".join(found.form for found in together if found)
    assert hashlib.sha256(forms).hexdigest()[:16] == "017e0fd367d2215c"  # as each was computed by itself before


NOTE = "please send the blue parcel back to the old shop near our station today"


def one_label_pairs(*texts: str) -> set[tuple[int, int]]:
    return matched([sign_text(text) for text in texts], match_all_but_one_word)


def test_short_texts_that_differ_in_one_word_match() -> None:
    typo, moved = NOTE.replace("parcel", "parcle"), "today " + NOTE.removesuffix(" today")
    assert one_label_pairs(NOTE, NOTE.upper() + "!", typo, moved, typo.replace("shop", "store")) == {(0, 2), (2, 4)}
    seven = NOTE.rsplit(" ", 7)[0]
    assert one_label_pairs(seven, seven.replace("blue", "green")) == set()


def test_texts_that_differ_in_a_number_do_not_match() -> None:
    assert one_label_pairs(*(NOTE.replace("old", number) for number in ("4th", "5th"))) == set()


def test_sentences_of_a_template_do_not_match() -> None:
    colours, places = ("blue", "green", "red", "grey"), ("shop", "store", "school", "mill")
    filled = [NOTE.replace("blue", colour).replace("shop", place) for colour in colours for place in places]
    assert one_label_pairs(*filled) == set()
    assert one_label_pairs(*filled, STORY, STORY.replace("warm", "hot")) == {(16, 17)}


def test_one_other_word_counts_under_one_label_only(tmp_path: Path, store: Store, run_ingest: Any) -> None:
    texts = {
        "p0": NOTE,
        "p1": NOTE.replace("blue", "large"),
        "q0": STORY[:60],
        "q1": STORY[:60].replace("brown", "grey"),
    }
    rows = [{"id": key, "text": text, "label": "b" if key == "q1" else "a"} for key, text in texts.items()]
    rows.append({"id": "r", "text": "something else that is long enough to be compared", "label": "b"})
    assert set(clusters_of(store, run_ingest(write_manifest(tmp_path / "m.csv", rows)))) == {"p0", "p1"}


def test_many_copies_are_one_group_where_each_is_compared_with_few() -> None:
    """Neighbours up to the next multiple of three are found; then one of each group, and so on."""

    def match(chosen: np.ndarray) -> np.ndarray:
        pairs = [(a, a + 1) for a in range(len(chosen) - 1) if (a + 1) % 3]
        return chosen[np.array(pairs, np.int64).reshape(-1, 2)]

    found = match_groups_again(match, 27)
    assert set(join_pairs(range(27), found.tolist()).values()) == {0}
    assert len(match_groups_again(match, 2)) == 1


def test_copies_of_a_sound_match_and_other_sounds_do_not() -> None:
    original = speech(0)
    encoded = io.BytesIO()
    soundfile.write(encoded, original, 16_000, format="OGG", subtype="VORBIS")
    encoded.seek(0)
    copies = [original, original // 3, np.pad(original, (900, 0)), soundfile.read(encoded, dtype="int16")[0]]
    assert matched_sounds([*copies, *(speech(number) for number in range(1, 30))]) == {
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 2),
        (1, 3),
        (2, 3),
    }
    assert sign_sound(original[:2000], 16_000) is None
    assert sign_sound(np.zeros(16_000, np.int16), 16_000) is None
    assert sign_sound(np.zeros(0, np.int16), 16_000) is None


def melody(number: int, seconds: float = 0.8, rate_hz: int = 16_000) -> np.ndarray:
    """Six tones, each of which swells and fades as in no other number's."""
    rng, count = np.random.default_rng(number), int(seconds * rate_hz)
    tones = np.sin(2 * np.pi * rng.uniform(120, 1000, (6, 1)) * np.arange(count) / rate_hz)
    loudness = [np.interp(np.arange(count), np.linspace(0, count, 9), rng.uniform(0, 1, 9) ** 2) for _ in range(6)]
    return ((tones * loudness).sum(axis=0) * 5000).astype(np.int16)


def sped(sound: np.ndarray, speed: float) -> np.ndarray:
    return np.asarray(soxr.resample(sound.astype(np.float32), 16_000 * speed, 16_000)).astype(np.int16)


@pytest.mark.parametrize(
    "edit",
    [
        lambda one: one[round(0.15 * len(one)) :],
        lambda one: one[: round(0.85 * len(one))],
        lambda one: sped(one, 1.03),
        lambda one: sped(one, 0.97) // 2,
    ],
    ids=["start cut", "end cut", "sped up", "slowed down, less loud"],
)
def test_cut_and_sped_sounds_match_their_own_recording_only(edit: Callable[..., Any]) -> None:
    sounds = [melody(number) for number in range(12)]
    found = matched_sounds([*sounds, *map(edit, sounds)])
    assert found <= {(number, number + 12) for number in range(12)}
    assert len(found) >= 9  # of speech, benchmarks.near_duplicates says how many


# -- samples ---


def scene(number: int, moves: int = 0, side: int = 96, frames: int = 8) -> list[np.ndarray]:
    """A clip of one background per `number`, before which a bright disc goes the way that `moves` says."""
    ground = np.asarray(photograph(number, side), np.float32)
    path = np.random.default_rng(1000 + moves).uniform(0.15, 0.85, (frames, 2)) * side
    y, x = np.mgrid[:side, :side]
    discs = [(np.hypot(y - a, x - b) < side / 10)[..., None] for a, b in path]
    return [np.where(disc, 255, ground).astype(np.uint8) for disc in discs]


def clip_print(clip: bytes) -> Any:
    found = decode_video(clip, load_config({}, []).media.model_dump())
    return sign_clip(np.frombuffer(found.data, np.uint8).reshape(found.shape))


def test_copies_of_a_clip_match_and_other_clips_do_not(make_clip: Callable[..., bytes]) -> None:
    original = scene(0)
    brighter = [(frame * 1.1).clip(0, 255).astype(np.uint8) for frame in original]
    smaller = [np.asarray(Image.fromarray(frame).resize((80, 80))) for frame in original]
    copies = [make_clip(brighter), make_clip(smaller), make_clip(original, codec="libx264", rate=30)]
    others = [make_clip(scene(0, moves=1)), make_clip(scene(1)), make_clip(scene(0)[::-1]), make_clip(scene(0)[:1] * 8)]
    found = matched([clip_print(clip) for clip in [make_clip(original), *copies, *others]], match_clips)
    assert {pair for pair in found if min(pair) < 4} == {(a, b) for b in range(4) for a in range(b)}
    assert not any(max(pair) >= 4 for pair in found)


def test_still_clips_match_by_their_picture_and_small_ones_are_not_judged(make_clip: Callable[..., bytes]) -> None:
    still = [np.asarray(photograph(3, 96))] * 8
    copy = [np.asarray(recompressed(photograph(3, 96)))] * 8
    other = [np.asarray(photograph(4, 96))] * 8
    assert matched([clip_print(make_clip(frames)) for frames in (still, copy, other)], match_clips) == {(0, 1)}
    assert clip_print(make_clip(scene(0, side=48))) is None


def test_near_clips_are_kept_on_one_side(
    tmp_path: Path, store: Store, run_ingest: Any, make_clip: Callable[..., bytes]
) -> None:
    rows = []
    for number in range(12):
        brighter = [(frame * (1 + 0.1 * (number % 2))).clip(0, 255).astype(np.uint8) for frame in scene(number // 2)]
        (tmp_path / f"{number}.mp4").write_bytes(make_clip(brighter, sound_s=0.0))
        rows.append({"id": f"v{number:02}", "video": f"{number}.mp4", "label": "ab"[number // 2 % 2]})
    rows[11]["text"] = "another modality, so it is another sample"
    done = run_ingest(write_manifest(tmp_path / "m.csv", rows))
    clusters = clusters_of(store, done)
    assert set(clusters) == {f"v{n:02}" for n in range(10)}
    for number in range(0, 10, 2):
        one, other = f"v{number:02}", f"v{number + 1:02}"
        assert clusters[one] == clusters[other]
        assert done.samples[one]["split"] == done.samples[other]["split"]
    assert len(set(clusters.values())) == 5


@pytest.mark.shared
def test_no_clip_of_grid_mini_repeats_another(shared_data: Path) -> None:
    clips = sorted((shared_data / "grid_mini" / "video").iterdir())
    assert matched([clip_print(clip.read_bytes()) for clip in clips], match_clips) == set()


def test_near_duplicates_are_kept_on_one_side_and_told_of(tmp_path: Path, store: Store, run_ingest: Any) -> None:
    done = run_ingest(write_pairs(tmp_path / "d", 60, lambda row, n: row))
    clusters = clusters_of(store, done)
    assert len(clusters) == 60
    assert all(clusters[f"p{n}"] == clusters[f"p{n + 1}"] for n in range(0, 60, 2))
    assert len(set(clusters.values())) == 30
    sides = {key: row["split"] for key, row in done.samples.items()}
    assert all(sides[f"p{n}"] == sides[f"p{n + 1}"] for n in range(0, 60, 2))
    assert set(sides.values()) == {"train", "val", "test"}
    assert any("near duplicates: 60 samples in 30 clusters, the largest of 2" in note for note in done.clean.notes)


def test_all_modalities_must_be_near(tmp_path: Path, store: Store, run_ingest: Any) -> None:
    def change(row: dict[str, Any], number: int) -> dict[str, Any]:
        if number in (1, 3):
            row["text"] = f"{number} is described in words that nobody else in this table has ever used, not even once"
        return row | ({"text": ""} if number == 5 else {}) | ({"text": "the same"} if number in (6, 7) else {})

    clusters = clusters_of(store, run_ingest(write_pairs(tmp_path / "d", 10, change)))
    assert set(clusters) == {"p6", "p7", "p8", "p9"}


def test_a_sound_is_compared_only_where_the_words_leave_a_question(
    tmp_path: Path, store: Store, run_ingest: Any
) -> None:
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", speech(number // 2), 16_000, subtype=("PCM_16", "ULAW")[number % 2])
    rows = [{"id": f"s{n}", "audio": f"{n}.wav", "text": f"word {n}", "label": "ab"[n % 2]} for n in range(4)]
    assert clusters_of(store, run_ingest(write_manifest(tmp_path / "m.csv", rows))) == {}
    assert not list(store.root.glob("signatures/audio/*/*"))
    rows[1]["text"] = rows[0]["text"]
    assert set(clusters_of(store, run_ingest(write_manifest(tmp_path / "m.csv", rows)))) == {"s0", "s1"}
    (part,) = store.root.glob("signatures/audio/*/*")
    assert pq.read_table(part).num_rows == 2


def test_off_means_off(tmp_path: Path, store: Store, run_ingest: Any) -> None:
    path = write_pairs(tmp_path / "d", 6, lambda row, n: row)
    off = run_ingest(path, "split.near_duplicates=false")
    assert clusters_of(store, off) == {}
    assert store.parts("signatures/image") == []
    assert off.clean.sha256 != run_ingest(path).clean.sha256


def test_given_splits_are_not_rewritten(tmp_path: Path, store: Store, run_ingest: Any) -> None:
    sides = ["train", "test", "val"]
    done = run_ingest(write_pairs(tmp_path / "d", 6, lambda row, n: row | {"split": sides[n % 3]}))
    assert {key: row["split"] for key, row in done.samples.items()} == {f"p{n}": sides[n % 3] for n in range(6)}
    assert len(clusters_of(store, done)) == 6


def test_equal_rows_on_two_given_sides_are_no_near_duplicates(tmp_path: Path, store: Store, run_ingest: Any) -> None:
    """They are leakage, which validate judges; a cluster is rows that differ."""
    same = {"image": "0.png", "text": "the very same words"}

    def change(row: dict[str, Any], number: int) -> dict[str, Any]:
        return row | {"label": "a", "split": ["train", "test"][number % 2]} | (same if number < 2 else {})

    done = run_ingest(write_pairs(tmp_path / "d", 4, change))
    assert set(done.samples) == {"p0", "p1", "p2", "p3"}
    assert set(clusters_of(store, done)) == {"p2", "p3"}


def test_only_new_media_are_compared(
    tmp_path: Path, store: Store, run_ingest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_ingest(write_pairs(tmp_path / "d", 6, lambda row, n: row))
    from tasks.ingest.near_duplicates import signature_store

    counted: list[int] = []
    keep = signature_store._keep
    monkeypatch.setattr(signature_store, "_keep", lambda rows, *to: counted.append(len(rows)) or keep(rows, *to))
    done = run_ingest(write_pairs(tmp_path / "d", 8, lambda row, n: row))
    assert sum(counted) == 4  # two pictures, two texts
    assert len(clusters_of(store, done)) == 8


def test_many_media_are_matched_in_a_process_of_their_own(
    tmp_path: Path, store: Store, run_ingest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_pairs(tmp_path / "d", 6, lambda row, n: row)
    expected = clusters_of(store, run_ingest(data))
    assert expected
    monkeypatch.setattr(own_process, "LARGE_ROWS", 1)
    done = run_ingest(data, "split.val=0.2")  # another key: it is computed anew
    assert clusters_of(store, done) == expected


def end_process(*_: object) -> None:
    os._exit(9)


def test_a_process_that_dies_says_how_many_media_it_compared(
    tmp_path: Path, run_ingest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_process, "LARGE_ROWS", 1)
    monkeypatch.setattr("tasks.ingest.near_duplicates.clusters._match", end_process)
    with pytest.raises(EnvironmentFailed, match=r"the process that compared 6 media \(text\) died; .*data\.max_rows"):
        run_ingest(write_pairs(tmp_path / "d", 6, lambda row, n: row))


def test_a_row_that_is_alone_stays_when_near_duplicates_of_others_come() -> None:
    ids = [f"id{number}" for number in range(300)]
    nothing: list[str | None] = [None] * 300
    alone = assign_splits(nothing, nothing, ids, SplitConfig())
    clusters = [0 if number in (3, 4) else 1 if number in (5, 6, 7) else None for number in range(300)]
    together = assign_splits(nothing, nothing, ids, SplitConfig(), None, clusters)
    assert [a for a, t in zip(alone, clusters, strict=True) if t is None] == [
        a for a, t in zip(together, clusters, strict=True) if t is None
    ]
    assert len(set(together[5:8])) == 1


def test_the_oldest_leads_so_that_a_newer_near_duplicate_moves_nothing() -> None:
    ids = [f"id{number}" for number in range(400)]
    nothing: list[str | None] = [None] * 400
    times = [float(number) for number in range(400)]
    before = assign_splits(nothing[:200], nothing[:200], ids[:200], SplitConfig(), times[:200])
    clusters = [number % 200 for number in range(400)]
    after = assign_splits(nothing, nothing, ids, SplitConfig(), times, clusters)
    assert after[:200] == after[200:] == before


@pytest.mark.parametrize(
    ("alike", "rows", "together"),
    [(15, 100, True), (20, 100, True), (21, 100, False), (30, 300, True), (31, 300, False)],
)
def test_near_duplicates_that_are_more_than_20_and_a_tenth_of_the_rows_go_their_own_ways(
    alike: int, rows: int, together: bool
) -> None:
    ids, nothing = [f"id{number}" for number in range(rows)], [None] * rows
    clusters = [0 if number < alike else None for number in range(rows)]
    sides = assign_splits(nothing, nothing, ids, SplitConfig(val=0.3, test=0.3), None, clusters)
    assert (len(set(sides[:alike])) == 1) is together


def test_of_near_duplicates_without_a_time_the_one_with_the_smallest_hash_leads() -> None:
    """By another hash than the one that decides on the side."""
    ids, nothing = [f"id{number}" for number in range(400)], [None] * 400
    alone = dict(zip(ids, assign_splits(nothing, nothing, ids, SplitConfig()), strict=True))
    together = assign_splits(nothing, nothing, ids, SplitConfig(), None, [number // 2 for number in range(400)])
    for number in range(0, 400, 2):
        hashes = {name: hashlib.sha256(f"crossmodal leader 1:id:{name}".encode()).digest() for name in ids[number:][:2]}
        assert together[number] == together[number + 1] == alone[min(hashes, key=lambda name: hashes[name])]


def test_near_duplicates_tie_groups_together_but_not_most_of_the_data() -> None:
    groups: list[str | None] = [f"speaker {number % 50}" for number in range(500)]
    ids, nothing = [f"id{number}" for number in range(500)], [None] * 500
    clusters = [7 if number in (0, 1) else None for number in range(500)]
    splits = assign_splits(nothing, groups, ids, SplitConfig(), None, clusters)
    assert len({split for split, group in zip(splits, groups, strict=True) if group in ("speaker 0", "speaker 1")}) == 1
    everything = assign_splits(nothing, groups, ids, SplitConfig(), None, [7] * 500)
    assert everything == assign_splits(nothing, groups, ids, SplitConfig())


def test_prediction_compares_nothing(tmp_path: Path, store: Store, run_ingest: Any) -> None:
    done = run_ingest(write_pairs(tmp_path / "d", 4, lambda row, n: row), purpose="predict")
    assert clusters_of(store, done) == {}


@pytest.mark.shared
def test_no_spoken_digit_with_its_picture_repeats_another(shared_data: Path, store: Store) -> None:
    config = load_config({}, ["data.max_rows=600"])
    clean = ingest(scan(config, store, shared_data / "avdigits"), config, store)
    assert pq.read_table(store.path(clean.uri) / "near_duplicates.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("clusters", "kept"),
    [
        ([0] * 20 + [None] * 5, "keep them together"),
        ([0] * 21 + [1, 1], "keep those of up to 20 samples together"),
        ([0] * 30 + [None] * 270, "keep them together"),
        ([0] * 31 + [None] * 269, "keep those of up to 30 samples together"),
    ],
)
def test_the_note_claims_no_more_than_the_split_does(clusters: list[int | None], kept: str) -> None:
    """Of n rows with near duplicates, all of one cluster: divided exactly where the note does not say that it is kept."""
    (note,) = describe_near_duplicates(clusters)
    assert kept in note
    ids = [f"r{number}" for number in range(len(clusters))]
    sides = assign_splits([None] * len(ids), [None] * len(ids), ids, SplitConfig(val=0.4, test=0.4), clusters=clusters)
    sides_of_first = {side for side, cluster in zip(sides, clusters, strict=True) if cluster == 0}
    assert (len(sides_of_first) == 1) == ("keep them" in kept)


def test_without_near_duplicates_there_is_no_note() -> None:
    assert describe_near_duplicates([None, None]) == []
