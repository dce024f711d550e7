"""The extract stage: plans shards of what is missing, computes a shard, and joins old and new into one ref."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.modalities import modality_of
from data_contracts.refs import CleanRef, FeatureRef, InputName, Modality, Split, ValidatedRef
from data_contracts.tables import CONTRACT_VERSION, features_schema
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.encoder_ids import BUILT_IN
from tasks.errors import EnvironmentFailed
from tasks.extract.ahead import prepare_ahead
from tasks.extract.shards import ShardRef, cut_evenly, keep_shard
from tasks.fingerprint import code_fingerprint
from tasks.media.media_store import MediaReader, media_index
from tasks.modalities import MODALITIES, Dtype, Params, Prepare, spec_of
from tasks.modeling.encoder_reading import input_dtype, params_of, preparer
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.describe import Identity, complete_encoder, identify_encoder
from tasks.modeling.pretrained.locate import TIMM
from tasks.part_index import DigestPlaces, as_arrow, digest_array, parts_among, read_tables_among
from tasks.samples import Samples
from tasks.store import Store, canonical_json, digest_json

PART_BYTES = 512 << 20
"""Features that are written as one part: offsets into it are 32-bit, and it is held in memory."""
_HASHED_ROWS = 100_000
Splits = tuple[Split, ...]
"""Whose rows are extracted; (): all."""
Inputs = Iterator[tuple[str, np.ndarray]]
"""Digests of media, and what an encoder reads of each, or makes of it."""
_LIBRARIES = {
    "tiny": (),
    "classical": ("torch",),
    "torchvision": ("torch", "torchvision"),
    "hf": ("tokenizers", "torch", "transformers"),
}
_BY_MODEL_TYPE = {TIMM: ("timm",)}
_DTYPES = {"uint8": np.uint8, "int16": np.int16, "int32": np.int32, "float32": np.float32}


def features_fingerprint(name: InputName, media: str, config: RunConfig) -> str:
    """Digest of everything that shapes a modality's features besides the media themselves."""
    identity = _identify(name, config)
    embedded = ("embeddings",) if identity.reads == "embedding" else ()
    is_built_in = identity.family in BUILT_IN
    stages = ("tiny_inputs",) if is_built_in else ("pretrained_inputs",)
    spec = spec_of(name)
    modules = spec.tiny_modules if is_built_in else spec.pretrained_modules
    if identity.family == "classical":
        modules = (*modules, "tasks.modeling.classical")
    libraries = (*_LIBRARIES[identity.family], *_BY_MODEL_TYPE.get(identity.model_type or "", ()))
    code = code_fingerprint(*stages, *embedded, modules=modules, libraries=libraries)
    shaping = identity.model_dump(mode="json")
    if identity.reads == "inputs":  # the inputs do not depend on the weights, nor pixels of a given side on the network
        del shaping["weights_sha256"]
        shaping.pop("test_time_flip", None)
    return digest_json(
        {
            "modality": modality_of(name),
            "encoder": shaping,
            "media": media,
            "params": _params(name, config, identity),
            "code": code,
            "contract": CONTRACT_VERSION,
        }
    )


def _identify(name: InputName, config: RunConfig) -> Identity:
    return identify_encoder(modality_of(name), config.encoders.of(name), config.train.regime, config.encoders)


def _params(name: InputName, config: RunConfig, identity: Identity) -> Params:
    return params_of(modality_of(name), config.extract, pretrained=identity.family not in BUILT_IN)


def encoder_reading(modality: Modality, config: RunConfig) -> tuple[EncoderSpec, Prepare, Dtype]:
    """How media become features one at a time: the encoder, what makes its inputs, and the type in which features are kept.

    The features are the inputs, or where the spec reads "embedding" what tasks.modeling.embed makes of them. Raises UsageError
    where the encoder's files are not on this machine.
    """
    identity = _identify(modality, config)
    spec = complete_encoder(modality, config.encoders.of(modality), identity)
    return spec, preparer(modality, spec, _params(modality, config, identity)), _feature_dtype(modality, identity)


def clean_of(samples: CleanRef | ValidatedRef) -> CleanRef:
    """What is known of the samples: modalities and where their media are. Prediction extracts without validating labels."""
    return samples.clean if isinstance(samples, ValidatedRef) else samples


def features_kind(name: InputName, fingerprint: str) -> str:
    """The store folder of the features of all inputs of a kind: a medium that two of them hold is computed once."""
    return f"features/{modality_of(name)}/{fingerprint[:16]}"


def plan_shards(
    samples: CleanRef | ValidatedRef, config: RunConfig, store: Store, splits: Splits = ()
) -> list[ShardRef]:
    """Shards that cover every medium of the samples whose feature is not in the store yet; as many as cut_evenly makes."""
    media = _media_of(samples)
    missing = {
        modality: _in_stored_order(lacking, modality, media[modality], store)
        for modality, lacking in missing_media(samples, config, store, splits).items()
    }
    least = config.extract.shard_rows
    cuts = cut_evenly({modality: ordered["values"].to_numpy() for modality, ordered in missing.items()}, least)
    return [
        keep_shard(
            store,
            modality,
            media[modality],
            features_fingerprint(modality, media[modality], config),
            ordered["digest"].slice(first, last - first),
            config.encoders.of(modality),
            identity,
            _params(modality, config, identity),
        )
        for modality, ordered in missing.items()
        for identity in [_identify(modality, config)]
        for first, last in cuts[modality]
    ]


def missing_media(
    samples: CleanRef | ValidatedRef, config: RunConfig, store: Store, splits: Splits = ()
) -> dict[Modality, pa.Array]:
    """Modality to the media of the samples whose feature is not in the store yet."""
    columns: dict[Modality, list[pa.Array]] = defaultdict(list)
    for name in clean_of(samples).modalities:
        columns[modality_of(name)].append(_digests_of(samples, name, store, splits))
    missing = {}
    for modality, arrays in columns.items():
        fingerprint = features_fingerprint(modality, _media_of(samples)[modality], config)
        wanted = pc.unique(pa.concat_arrays(arrays))
        missing[modality] = wanted.take(as_arrow(np.flatnonzero(~_is_stored(modality, fingerprint, store, wanted))))
    return missing


def _media_of(samples: CleanRef | ValidatedRef) -> dict[Modality, str]:
    clean = clean_of(samples)
    return {modality_of(name): clean.media[name] for name in clean.modalities}


def _is_stored(modality: Modality, fingerprint: str, store: Store, wanted: pa.Array) -> NDArray[np.bool_]:
    """(N,) which of these media have their features in the store."""
    known, places = np.zeros(len(wanted), bool), DigestPlaces(wanted)
    paths = [store.path(part) for part in store.parts(features_kind(modality, fingerprint))]
    for path in parts_among(paths, "digest", wanted):
        found = places.find(read_table(path, ["digest"])["digest"])
        known[found[found >= 0]] = True
    return known


def _in_stored_order(digests: pa.Array, modality: Modality, media: str, store: Store) -> pa.Table:
    """The digests as their media lie in the store, so that a shard reads few parts instead of a little of each, beside the
    number of values that each medium has; those that are not there come last."""
    index = media_index(store, modality, media, ("digest", "shape"), digests) if len(digests) else None
    if index is None or not len(index):
        order, values = np.arange(len(digests)), np.zeros(len(digests), np.int64)
    else:
        found = DigestPlaces(digests).find(index["digest"])
        places, first = np.unique(found, return_index=True)
        order = np.concatenate([found[np.sort(first)], np.setdiff1d(np.arange(len(digests)), places)])
        shapes = index["shape"].combine_chunks()
        sizes = np.multiply.reduceat(np.asarray(shapes.flatten(), np.int64), np.asarray(shapes.offsets)[:-1])
        values = np.concatenate([sizes[np.sort(first)], np.zeros(len(digests) - len(places), np.int64)])
    return pa.Table.from_arrays([digests.take(as_arrow(order)), as_arrow(values)], names=["digest", "values"])


def extract_shard(shard: ShardRef, store: Store) -> str:
    """The store path of the Parquet part with the shard's features; the last one, where they fill several."""
    return write_features(shard, read_inputs(shard, store), store)[-1]


def write_features(shard: ShardRef, inputs: Inputs, store: Store) -> list[str]:
    """The store paths of the Parquet parts with the features that the inputs of the shard's media become."""
    parts: list[str] = []
    dtype = _feature_dtype(shard.modality, shard.identity)
    digests: list[str] = []
    features: list[np.ndarray] = []
    done = held = 0
    for digest, computed in _compute(shard, inputs):
        features.append(np.ascontiguousarray(computed, dtype=_DTYPES[dtype]))
        digests.append(digest)
        done, held = done + 1, held + features[-1].nbytes
        if held >= PART_BYTES and done < shard.rows:
            parts.append(_put(shard, digests, features, store))
            digests, features, held = [], [], 0
    if done != shard.rows:
        raise EnvironmentFailed(
            f"{shard.modality} features: {shard.rows - done} of {shard.rows} media are gone from "
            "the store; run it again with --refresh ingest, which decodes them anew"
        )
    return [*parts, _put(shard, digests, features, store)]


def _put(shard: ShardRef, digests: list[str], features: list[np.ndarray], store: Store) -> str:
    shapes = [list(feature.shape) for feature in features]
    sizes = [feature.size for feature in features]
    values = pa.array(np.concatenate([feature.reshape(-1) for feature in features]))
    about = {
        **shard.identity.model_dump(mode="json", exclude_none=True),
        "fingerprint": shard.fingerprint,
        "version": version("crossmodal"),
        "dtype": str(features[0].dtype),
    }
    if shard.identity.reads == "embedding":  # of one width, so that other programs read a matrix
        schema = features_schema(about["dtype"], sizes[0], about | {"shape": shapes[0]})
        lists = pa.FixedSizeListArray.from_arrays(values, sizes[0])
    else:
        schema = features_schema(about["dtype"], about=about)
        lists = pa.ListArray.from_arrays(np.cumsum([0, *sizes]).astype(np.int32), values)
    columns = [pa.array(digests, pa.string()), pa.array(shapes, pa.list_(pa.int32())), lists]
    table = pa.Table.from_arrays(columns, schema=schema)
    return store.put_part(features_kind(shard.modality, shard.fingerprint), shard.key[:16], table)


def read_inputs(shard: ShardRef, store: Store) -> Inputs:
    """Digest and prepared input of every medium of the shard that is stored."""
    modality = shard.modality
    prepare = preparer(modality, _spec(shard), shard.params)
    reader = MediaReader(store, modality, shard.media)
    media = reader.read(shard.read_digests(store).to_pylist())
    if MODALITIES[modality].has_pixels:
        return prepare_ahead(prepare, media)
    return ((digest, prepare(medium, reader.rate_hz)) for digest, medium in media)


def _compute(shard: ShardRef, inputs: Inputs) -> Inputs:
    """Digest and feature of every input."""
    spec = _spec(shard)
    if spec.reads == "inputs":
        return inputs
    from tasks.modeling.embed import embed

    return embed(shard.modality, spec, inputs)


def _spec(shard: ShardRef) -> EncoderSpec:
    return complete_encoder(shard.modality, shard.encoder, shard.identity)


def _feature_dtype(name: InputName, identity: Identity) -> Dtype:
    return (
        "float32" if identity.reads == "embedding" else input_dtype(modality_of(name), identity.family not in BUILT_IN)
    )


def collect_features(
    samples: CleanRef | ValidatedRef, config: RunConfig, store: Store, shards: list[ShardRef], splits: Splits = ()
) -> dict[InputName, FeatureRef]:
    """One ref per modality over all stored parts; EnvironmentFailed when a medium of the samples has no feature."""
    new: dict[Modality, list[pa.Array]] = defaultdict(list)
    for shard in shards:
        new[shard.modality].append(shard.read_digests(store))
    computed = {modality: pa.concat_arrays(lists) for modality, lists in new.items()}
    features = preview_features(samples, config, store, computed, splits)
    for name, ref in features.items():
        wanted = pc.unique(_digests_of(samples, name, store, splits))
        lost = int((~_is_stored(modality_of(name), ref.fingerprint, store, wanted)).sum())
        if lost:
            raise EnvironmentFailed(f"{name} features: {lost} of {ref.rows} are missing; run again")
    return features


def preview_features(
    samples: CleanRef | ValidatedRef,
    config: RunConfig,
    store: Store,
    new: Mapping[Modality, pa.Array],
    splits: Splits = (),
) -> dict[InputName, FeatureRef]:
    """The refs as they will be once the features of the `new` media are computed."""
    return {name: _preview(name, samples, config, store, new, splits) for name in clean_of(samples).modalities}


def _preview(
    name: InputName,
    samples: CleanRef | ValidatedRef,
    config: RunConfig,
    store: Store,
    new: Mapping[Modality, pa.Array],
    splits: Splits,
) -> FeatureRef:
    fingerprint = features_fingerprint(name, clean_of(samples).media[name], config)
    cells, identity = _digests_of(samples, name, store, splits), _identify(name, config)
    distinct = pc.unique(cells)
    here = new.get(modality_of(name))
    computed = 0 if here is None else int((DigestPlaces(here).find(cells) >= 0).sum())
    return FeatureRef(
        uri=features_kind(name, fingerprint),
        sha256=_digest_of(fingerprint, distinct),
        rows=len(distinct),
        parents=(samples.sha256,),
        modality=name,
        encoder=config.encoders.of(name),
        fingerprint=fingerprint,
        parts=tuple(store.parts(features_kind(name, fingerprint))),
        dtype=_feature_dtype(name, identity),
        computed=computed,
        reused=len(cells) - computed,
        is_flip_averaged=identity.test_time_flip and identity.reads == "embedding",
    )


def sample_digests(samples: CleanRef | ValidatedRef, name: InputName, store: Store, splits: Splits = ()) -> list[str]:
    """The modality's cells of all samples that have it, in the samples' order; of those of some splits only."""
    found: list[str] = _digests_of(samples, name, store, splits).to_pylist()
    return found


def _digests_of(samples: CleanRef | ValidatedRef, name: InputName, store: Store, splits: Splits) -> pa.Array:
    rows = Samples.read(store.path(samples.uri))
    return (rows.of_split(*splits) if splits else rows).column(name).drop_null()


def _digest_of(fingerprint: str, media: pa.Array) -> str:
    """digest_json of the fingerprint and a list of the media in their order, of which a part is in memory as Python's."""
    ordered, digest = media.take(pc.array_sort_indices(media)), hashlib.sha256(f'["{fingerprint}",['.encode())
    for start in range(0, len(ordered), _HASHED_ROWS):
        names = ordered.slice(start, _HASHED_ROWS).to_pylist()
        digest.update(("," * (start > 0) + canonical_json(names)[1:-1]).encode())
    digest.update(b"]]")
    return digest.hexdigest()


def stored_digests(name: InputName, fingerprint: str, store: Store, among: Collection[str]) -> set[str]:
    """Those of these media whose features are in the store."""
    paths = [store.path(part) for part in store.parts(features_kind(name, fingerprint))]
    found = read_tables_among(paths, ["digest"], digest_array(among))
    return {digest for table in found for digest in table["digest"].to_pylist()}
