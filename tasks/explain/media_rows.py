"""The explained model and its rows out of the store: features of many rows, media of the few that are shown."""

from __future__ import annotations

from typing import Any

import numpy as np

from data_contracts.modalities import modality_of
from data_contracts.refs import CleanRef, InputName, Modality, PreparedChampion
from tasks.config import RunConfig
from tasks.encoder_ids import BUILT_IN
from tasks.errors import DataError
from tasks.explain.explainer import Explainer, MediaRow
from tasks.media.media_store import MediaReader
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.encoder_reading import params_of, preparer
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.package import load_model
from tasks.modeling.pretrained.describe import complete_encoder, identify_encoder
from tasks.samples import Samples
from tasks.store import Store


def specs_of(card: ModelCard, config: RunConfig) -> dict[Modality, EncoderSpec]:
    """The encoder of each modality, under the id where `config` says that its files lie; a table's as the card fitted it."""
    found = {}
    for name in card.modalities:
        modality, own = modality_of(name), card.encoders[name]
        if own.encoder == "tiny":
            found[modality] = own
            continue
        encoder = config.encoders.of(modality)
        identity = identify_encoder(modality, encoder, config.train.regime, config.encoders)
        found[modality] = complete_encoder(modality, encoder, identity)
    return found


def load_explainer(prepared: PreparedChampion, config: RunConfig, store: Store) -> Explainer:
    """The model with what is asked of it."""
    champion = prepared.champion
    folder = store.path(champion.uri)
    card = read_card(folder, champion.card_sha256)
    model = load_model(folder, card, champion.model_sha256)
    asked = config.explain
    return Explainer(model, card, specs_of(card, config), asked.label, asked.n_steps)


def read_media_rows(rows: Samples, prepared: PreparedChampion, config: RunConfig, store: Store) -> list[MediaRow]:
    """The rows' media, and what their encoders read of them."""
    card = read_card(store.path(prepared.champion.uri), prepared.champion.card_sha256)
    return media_rows(rows, prepared.valid.clean, card, config, store)


def media_rows(rows: Samples, clean: CleanRef, card: ModelCard, config: RunConfig, store: Store) -> list[MediaRow]:
    """The same of rows that need no label. DataError where a medium is not in the store any more."""
    specs = specs_of(card, config)
    media: list[dict[InputName, Any]] = [{} for _ in range(len(rows))]
    features: list[dict[InputName, np.ndarray]] = [{} for _ in range(len(rows))]
    for name in card.modalities:
        if name not in rows.names or name not in clean.media:  # of a manifest without such a column
            continue
        modality = modality_of(name)
        spec = specs[modality]
        prepare = preparer(
            modality, spec, params_of(modality, config.extract, pretrained=card.encoders[name].encoder not in BUILT_IN)
        )
        cells = rows.digests(name)
        reader = MediaReader(store, modality, clean.media[name])
        known = {digest: (medium, reader.rate_hz) for digest, medium in reader.read(filter(None, cells))}
        for row, digest in enumerate(cells):
            if digest is None:
                continue
            if digest not in known:
                raise DataError(f"{name} {digest[:12]}: not in the store; run again to decode it anew")
            media[row][name] = known[digest][0]
            features[row][name] = prepare(*known[digest])
    return [MediaRow(medium, feature) for medium, feature in zip(media, features, strict=True)]
