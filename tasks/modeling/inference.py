"""Probabilities from a trained model. On a CPU, the same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from data_contracts.refs import FeatureRef, InputName
from tasks.errors import DataError, EnvironmentFailed
from tasks.modeling.batches import to_tensors
from tasks.modeling.conformal import energy
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.features import Inputs
from tasks.modeling.fusion.classifier import FusedClassifier, Output, Present
from tasks.problems.registry import problem_of
from tasks.samples import Samples
from tasks.store import Store

Encode = Callable[[Mapping[InputName, Present]], Mapping[InputName, torch.Tensor]]
THREADS = 2  # fixed, because the order of a sum depends on it


def predict_probabilities(
    model: FusedClassifier,
    samples: Samples,
    features: Mapping[InputName, FeatureRef],
    store: Store,
    present: tuple[InputName, ...] | None = None,
    batch_size: int = 256,
) -> npt.NDArray[np.float32]:
    """(N, outputs), rows in the samples' order: shares that sum to 1, a share per label, numbers in the user's unit, by what
    the model's label columns are; `present` hides every other modality.

    Raises DataError where a sample's feature is not there, or the output is not finite.
    """
    return predict_inputs(model, load_inputs(model, samples, features, store, present), batch_size)


def load_inputs(
    model: FusedClassifier,
    samples: Samples,
    features: Mapping[InputName, FeatureRef],
    store: Store,
    present: tuple[InputName, ...] | None = None,
) -> Inputs:
    """What the model reads of these samples to answer them: under test_time_flip the features averaged so.

    EnvironmentFailed where features were not extracted as the model reads them.
    """
    known = {name: answered_ref(model.specs[name], ref) for name, ref in features.items() if name in model.modalities}
    return Inputs.load(samples, known, store, present)


def answered_ref(spec: EncoderSpec, ref: FeatureRef) -> FeatureRef:
    """The features that rows are answered by."""
    flips = spec.reads == "embedding" and spec.test_time_flip
    if flips and not ref.is_flip_averaged and ref.test_time is not None:
        return ref.test_time
    if flips != ref.is_flip_averaged:
        how = "with" if flips else "without"
        raise EnvironmentFailed(
            f"{ref.modality} features {ref.uri}: the model reads embeddings {how} their mirror images; extract them so"
        )
    return ref


def predict_inputs(
    model: FusedClassifier, inputs: Inputs, batch_size: int = 256, threads: int = THREADS
) -> npt.NDArray[np.float32]:
    """The same for features that are loaded already. Another number of threads may change the last bits."""
    return to_outputs(model, predict_logits(model, inputs, batch_size, threads))


def predict_logits(
    model: FusedClassifier,
    inputs: Inputs,
    batch_size: int = 256,
    threads: int = THREADS,
    encode: Encode | None = None,
) -> npt.NDArray[np.float32]:
    """(N, outputs) what the network gives out before it becomes shares and numbers, see `to_outputs`.

    `encode` runs encoders in another way than one after the other.
    """
    found = np.zeros((inputs.rows, model.outputs), np.float32)

    def keep(rows: npt.NDArray[np.int64], output: Output) -> None:
        """The logits of a batch stand at their places."""
        found[rows] = output.logits.float().cpu().numpy()

    for_each_batch(model, inputs, keep, batch_size, threads, encode)
    return found


def for_each_batch(
    model: FusedClassifier,
    inputs: Inputs,
    keep: Callable[[npt.NDArray[np.int64], Output], None],
    batch_size: int = 256,
    threads: int = THREADS,
    encode: Encode | None = None,
) -> None:
    """`keep` has had the places and the output of every batch, in their order."""
    device = next(model.parameters()).device
    if model.training:  # to set every layer anew took a tenth of the time of one row
        model.eval()
    with torch.inference_mode(), _threads(threads):
        for start in range(0, inputs.rows, batch_size):
            rows = np.arange(start, min(start + batch_size, inputs.rows))
            batch = to_tensors(inputs.batch(rows), device)
            keep(rows, model(batch, len(rows), encoded=encode(batch) if encode else None))


def to_outputs(model: FusedClassifier, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N, outputs) logits as shares and numbers. Raises DataError where one is not finite."""
    found = model.targets.activate(torch.from_numpy(logits)).numpy()
    broken = int((~np.isfinite(found)).any(axis=1).sum())
    if broken:
        raise DataError(f"model: {broken} of {len(found)} samples get a probability that is not finite; train again")
    return found


def energies_of(model: FusedClassifier, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64] | None:
    """(N,) the energy scores of the first label column; None where it holds numbers."""
    target = model.targets.columns[0]
    problem = problem_of(target)
    return None if problem.is_numeric else energy(logits[:, model.targets.slices[0]], excluding=problem.has_classes)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if before == count:  # to set it, to the same number as well, has torch prepare every convolution anew
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
