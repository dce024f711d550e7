"""A published model to a smaller or faster one, as a checkpoint that is evaluated, gated and published as any other."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_contracts.compression import CompressedRef, InputLoss, MethodName
from data_contracts.refs import ChampionRef, CheckpointRef, InputName, ValidatedRef
from tasks.compress.methods import METHODS
from tasks.fingerprint import code_fingerprint
from tasks.modeling.card import CARD, Compression, ModelCard, read_card, save_card
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.packaged import ENCODERS, frozen_encoders
from tasks.modeling.training_rows import ROWS
from tasks.problems.registry import width
from tasks.store import Store, digest_file, digest_json

KIND = "compressed"
WEIGHTS = "model.safetensors"


def compress_key(
    method: MethodName, champion: ChampionRef, valid: ValidatedRef, store: Store, trained: CheckpointRef | None = None
) -> str:
    """The digest of the model, of the method, and of the rows that it looks at."""
    from importlib.metadata import version

    folder = store.path(champion.uri)
    chosen = METHODS[method]
    return digest_json(
        {
            "method": method,
            "model": [champion.name, champion.version, champion.model_sha256, digest_file(folder / CARD)],
            "rows": valid.sha256 if chosen.exports else None,
            "libraries": {name: version(name) for name in chosen.packages},
            "trained": None if trained is None else [trained.train_key, trained.model_sha256],
            "code": code_fingerprint("compress"),
        }
    )


def compress(
    method: MethodName,
    champion: ChampionRef,
    places: Mapping[InputName, EncoderSpec],
    valid: ValidatedRef,
    store: Store,
) -> CompressedRef:
    """The model by this method; `places` are the specs of its frozen encoders with where their files lie.

    Raises DataError where it cannot be made so.
    """
    key = compress_key(method, champion, valid, store)
    if (found := store.find(KIND, key)) is not None:
        return CompressedRef.model_validate(found.ref)
    from tasks.compress.encoders import CompressedEncoder, compress_encoder
    from tasks.compress.quantize import pack_weights
    from tasks.modeling.package import load_model, weights_to_bytes

    folder, chosen = store.path(champion.uri), METHODS[method]
    card = read_card(folder, champion.card_sha256)
    smaller: dict[str, CompressedEncoder] = {}
    for name, spec in places.items():  # one that several inputs read is made once
        digest = str(spec.weights_sha256)
        smaller[digest] = smaller.get(digest) or compress_encoder(name, spec, chosen, card, valid, store)
    encoders = {
        name: spec.model_copy(update={"weights_sha256": smaller[str(spec.weights_sha256)].weights_sha256})
        if name in places
        else spec
        for name, spec in card.encoders.items()
    }
    weights = (folder / WEIGHTS).read_bytes()
    if chosen.bits is not None:
        weights = weights_to_bytes(
            pack_weights(load_model(folder, card, champion.model_sha256).state_dict(), chosen.bits)
        )
    differences = {name: smaller[str(spec.weights_sha256)].difference for name, spec in places.items()}
    with store.scratch_dir() as scratch:
        (scratch / WEIGHTS).write_bytes(weights)
        for file in card.files_beside():
            shutil.copyfile(folder / file, scratch / file)
        made = CompressedModel(scratch, card.model_copy(update={"encoders": encoders}), encoder_difference=differences)
        return _keep(key, method, champion, made, valid, store)


def keep_trained(
    method: MethodName,
    champion: ChampionRef,
    trained: CheckpointRef,
    valid: ValidatedRef,
    store: Store,
    inputs: tuple[InputLoss, ...] = (),
) -> CompressedRef:
    """A model that was trained for this, as the champion's smaller version; `inputs` are those tried to be left out."""
    key = compress_key(method, champion, valid, store, trained)
    if (found := store.find(KIND, key)) is not None:
        return CompressedRef.model_validate(found.ref)
    folder = store.path(trained.uri)
    return _keep(
        key, method, champion, CompressedModel(folder, read_card(folder), trained, inputs=inputs), valid, store
    )


@dataclass(frozen=True)
class CompressedModel:
    """What a method leaves."""

    files: Path
    """The folder of the weights and of what goes with them."""
    card: ModelCard
    trained: CheckpointRef | None = None
    """Where it is a model that was trained for this."""
    encoder_difference: dict[InputName, float] = field(default_factory=dict)
    inputs: tuple[InputLoss, ...] = ()


def _keep(
    key: str, method: MethodName, champion: ChampionRef, made: CompressedModel, valid: ValidatedRef, store: Store
) -> CompressedRef:
    """The files of a model, whose card says from now on what it was made of, are an artifact."""
    original, card, trained = store.path(champion.uri), made.card, made.trained
    parent = Compression(
        method=method,
        name=champion.name,
        version=champion.version,
        model_sha256=champion.model_sha256,
        card_sha256=digest_file(original / CARD),
    )
    encoders = [f"{ENCODERS}/{sha256}" for sha256 in frozen_encoders(card)]
    made_from = [champion.uri, *encoders, *([trained.uri] if trained else [])]
    with store.create(KIND, key, made_from, code_fingerprint("compress")) as draft:
        for name in (WEIGHTS, *card.files_beside()):
            shutil.copyfile(made.files / name, draft.path / name)
        if (original / ROWS).is_file():  # rows that the original learned from are known to this one, too
            shutil.copyfile(original / ROWS, draft.path / ROWS)
        save_card(card.model_copy(update={"compression": parent}), draft.path)
        weights_sha256, card_sha256 = (digest_file(draft.path / name) for name in (WEIGHTS, CARD))
        digest = digest_json({"model": weights_sha256, "card": card_sha256})
        checkpoint = CheckpointRef(
            uri=f"{KIND}/{key}",
            sha256=digest,
            rows=valid.clean.splits.get("train", 0),
            parents=(champion.sha256, *([trained.sha256] if trained else [])),
            model_sha256=weights_sha256,
            train_key=key,
            modalities=card.modalities,
            labels=card.labels,
            outputs=width(card.label_targets),
            best_epoch=trained.best_epoch if trained else 0,
            epochs=trained.epochs if trained else 0,
        )
        ref = CompressedRef(
            uri=checkpoint.uri,
            sha256=digest_json([digest, [each.model_dump(mode="json") for each in made.inputs]]),
            rows=checkpoint.rows,
            parents=checkpoint.parents,
            checkpoint=checkpoint,
            encoder_difference=made.encoder_difference,
            inputs=made.inputs,
        )
        draft.ref = ref.model_dump(mode="json")
    return ref
