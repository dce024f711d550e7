"""A student of a published model: the same inputs and labels, `tiny` encoders, trained on what the model says of its rows."""

from __future__ import annotations

from data_contracts.compression import CompressedRef, Distillation
from data_contracts.modalities import ALL_MODALITIES, modality_of
from data_contracts.refs import PreparedChampion
from flows.compress_request import Compression
from flows.data_stages import extract_features
from flows.run_state import RunState
from flows.stages import Stages
from tasks.compress.compress import keep_trained
from tasks.compress.teacher import ask_teacher
from tasks.config import EncodersConfig, RunConfig
from tasks.modeling.card import ModelCard
from tasks.train.request import TrainRequest


def student_config(config: RunConfig, card: ModelCard) -> RunConfig:
    """The config with a small network for each input of the model; what it asks for of fusion and training stays.

    Rows are not blended: the teacher has said nothing of blends.
    """
    read = set(map(modality_of, card.modalities))
    encoders = EncodersConfig.model_validate(
        {name: "tiny" if name in read else "off" for name in ALL_MODALITIES} | {"shared": card.shared}
    )
    train = config.train.model_copy(update={"regime": "auto", "mixup": 0.0, "cutmix": 0.0, "continue_from": "none"})
    extract = config.extract.model_copy(update={"image_px": None, "video_px": None})
    return config.model_copy(update={"encoders": encoders, "train": train, "extract": extract})


def distill(
    asked: Compression, config: RunConfig, prepared: PreparedChampion, stages: Stages, run_state: RunState
) -> CompressedRef:
    """The trained student; `config` is that under which the model reads its rows. Stopped, its training resumes where it was.

    DataError where the rows have other labels than the model.
    """
    store, settings = asked.request.store, asked.request.config.compress
    config = student_config(config, asked.card)
    with run_state.timed("train"):
        distillation = Distillation(
            teacher=ask_teacher(prepared, store),
            temperature=settings.distill_temperature,
            alpha=settings.distill_alpha,
            features_weight=settings.distill_features_weight,
        )
    features = extract_features(prepared.valid, config, store, stages, run_state)
    with run_state.timed("train"):
        training = TrainRequest(valid=prepared.valid, features=features, config=config, distillation=distillation)
        trained = stages.train(training, store)
    return keep_trained("distill", asked.champion, trained, prepared.valid, store)
