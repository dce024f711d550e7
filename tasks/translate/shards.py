"""Generation in shards: what is made from a medium is stored under the digest of that medium and the generator's fingerprint.

A shard is a part of all media of the rows, the same for every run with the same rows, whatever is there already. One process
at a time works on it, and computes only what is missing then: two runs at once do nothing twice, and one that was killed
resumes after the last shard. The outputs are canonical media as ingest stores them, so all later stages read them as any.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from data_contracts.modalities import modality_of
from data_contracts.refs import CleanRef, Frozen, InputName, Modality, Sha256
from data_contracts.tables import media_schema
from tasks import progress
from tasks.config import RunConfig
from tasks.errors import EnvironmentFailed
from tasks.fingerprint import code_fingerprint
from tasks.media.canonical import Undecodable
from tasks.media.media_store import MediaReader, media_fingerprint, media_index, media_kind
from tasks.modalities import MODALITIES, Params
from tasks.samples import Samples
from tasks.store import Store, digest_json
from tasks.translate.generators.base import Asked
from tasks.translate.generators.choose import asked_of, identity_of, load_generator, require_generator

NOTHING = "nothing-generated"
"""The reason of a medium from which the generator made nothing."""


class GenerationShard(Frozen):
    """Media of one input, for each of which something is to be generated."""

    source: InputName
    media: str
    """Fingerprint of the canonical form that is read."""
    target: Modality
    target_media: str
    """The same of what is made."""
    generator: str
    asked: Asked
    fingerprint: Sha256
    limits: Params
    """Of MediaConfig, for the canonical form."""
    digests: tuple[str, ...]

    @property
    def key(self) -> str:
        """Digest of what the shard's result depends on."""
        return digest_json([self.fingerprint, self.target_media, list(self.digests)])

    @property
    def name(self) -> str:
        """Short, for people."""
        return f"{self.key[:6]} ({len(self.digests)})"


def generator_fingerprint(config: RunConfig) -> str:
    """Digest of everything that shapes what is generated besides the media. Raises as `require_generator`."""
    return digest_json({"identity": identity_of(config.translate), "code": code_fingerprint("generate")})


def output_key(fingerprint: str, digest: str) -> str:
    """The name under which the store holds what was made from a medium."""
    return digest_json([fingerprint, digest])


def plan_generation(clean: CleanRef, digests: list[str], config: RunConfig) -> list[GenerationShard]:
    """Shards over these media of the source, those included whose outputs are in the store."""
    asked, target = config.translate, modality_of(config.translate.target)
    ordered, size = sorted(set(digests)), asked.shard_rows
    reads, fingerprint = asked_of(asked, require_generator(asked)), generator_fingerprint(config)
    return [
        GenerationShard(
            source=asked.source,
            media=clean.media[asked.source],
            target=target,
            target_media=media_fingerprint(target, config.media),
            generator=asked.generator,
            asked=reads,
            fingerprint=fingerprint,
            limits=config.media.model_dump(mode="json"),
            digests=tuple(ordered[start : start + size]),
        )
        for start in range(0, len(ordered), size)
    ]


def generate_shard(shard: GenerationShard, store: Store) -> int:
    """The store holds an output, or why there is none, for every medium of the shard; how many were made now."""
    if not _lacking(shard, store):
        return 0
    with store.work_dir("generated", shard.key):
        lacking = _lacking(shard, store)  # less, where another run has worked on it while this one waited
        if not lacking:
            return 0
        rows = sorted(_generate(shard, lacking, store), key=lambda row: str(row["source"]))
        if len(rows) != len(lacking):
            raise EnvironmentFailed(
                f"{shard.source}: {len(lacking) - len(rows)} of {len(lacking)} media are gone from the store; run "
                "it again with --refresh ingest, which decodes them anew"
            )
        key = digest_json([row["source"] for row in rows])[:16]
        store.put_part(
            media_kind(shard.target, shard.target_media), key, pa.Table.from_pylist(rows, schema=media_schema())
        )
        return len(rows)


def count_missing(shards: list[GenerationShard], store: Store) -> int:
    """Media of these shards whose outputs are not in the store."""
    return sum(len(_lacking(shard, store)) for shard in shards)


def _lacking(shard: GenerationShard, store: Store) -> list[str]:
    held = set(media_index(store, shard.target, shard.target_media, ("source",))["source"].to_pylist())
    return [digest for digest in shard.digests if output_key(shard.fingerprint, digest) not in held]


def _generate(shard: GenerationShard, digests: list[str], store: Store) -> Iterator[dict[str, object]]:
    generator = load_generator(shard.generator, shard.asked)
    reader = MediaReader(store, modality_of(shard.source), shard.media)
    decode = MODALITIES[shard.target].decoder()
    media = [(digest, medium, reader.rate_hz) for digest, medium in reader.read(digests)]
    media.sort(key=lambda each: (len(each[1]), each[0]))  # of about one length in a batch
    for start in range(0, len(media), generator.batch_rows):
        batch = media[start : start + generator.batch_rows]
        prepared = [generator.prepare(medium, rate_hz) for _, medium, rate_hz in batch]
        for (digest, _, _), made in zip(batch, generator.generate(prepared), strict=True):
            yield {"source": output_key(shard.fingerprint, digest), **_canonical(made, decode, shard.limits)}
        progress.report("generate", min(start + len(batch), len(media)), len(media), shard.name)


def _canonical(made: bytes, decode: Any, limits: Params) -> dict[str, object]:
    """The columns of a stored medium."""
    if not made.strip():
        return {"reason": NOTHING, "detail": "the generator made nothing of it"}
    try:
        found = decode(made, limits)
    except Undecodable as error:
        return {"reason": error.reason, "detail": error.detail}
    return {
        "digest": found.digest,
        "shape": list(found.shape),
        "data": found.data,
        "rate_hz": found.rate_hz,
        "warning": found.warning,
    }


def read_outputs(digests: list[str], config: RunConfig, store: Store) -> dict[str, str | None]:
    """Digest of each source medium to that of what was made from it; None where nothing came out.

    Raises EnvironmentFailed where one of them was not generated.
    """
    target = modality_of(config.translate.target)
    index = media_index(store, target, media_fingerprint(target, config.media), ("source", "digest"))
    held = dict(zip(index["source"].to_pylist(), index["digest"].to_pylist(), strict=True))
    fingerprint = generator_fingerprint(config)
    keys = {digest: output_key(fingerprint, digest) for digest in set(digests)}
    lost = sum(key not in held for key in keys.values())
    if lost:
        raise EnvironmentFailed(f"{target}: {lost} of {len(keys)} generated media are gone from the store; run again")
    return {digest: held[key] for digest, key in keys.items()}


def source_digests(samples: Samples, config: RunConfig) -> list[str]:
    """The media from which something is to be generated: with `fill` only those of rows that lack the target."""
    asked = config.translate
    cells = samples.digests(asked.source)
    if asked.mode == "fill" and asked.target in samples.names:
        real = samples.digests(asked.target)
        return [cell for cell, there in zip(cells, real, strict=True) if cell is not None and there is None]
    return [cell for cell in cells if cell is not None]
