"""Sentences of mixed length to vectors, against sentence-transformers with the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.extraction.timing import Row, in_turns
from tasks.config import EncodersConfig, load_config
from tasks.modeling.embed import embed
from tasks.modeling.encoder_reading import params_of, preparer
from tasks.modeling.pretrained.describe import describe_encoder

_WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one "
    "you were her all she there would their we him been has when who will more no if out so said what up its about into than "
    "them can only other new some could time these two may then do first any my now such like our over man me even most made "
    "after also did many before must through back years where much your way well down should because each just those people"
)
_BATCH = 32  # the default of sentence-transformers


def make_sentences(rows: int) -> list[str]:
    """3 to 300 words, log-normal about 15: most are short, some are long."""
    rng, words = np.random.default_rng(0), _WORDS.split()
    counts = np.clip(rng.lognormal(2.7, 0.8, rows), 3, 300).astype(int)
    return [" ".join(rng.choice(words, count)) for count in counts]


def measure(weights: Path, rows: int, rounds: int) -> Iterator[Row]:
    """One row. Raises ImportError where sentence-transformers is not installed."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer  # type: ignore[import-not-found]

    folder = weights / "minilm"
    spec = describe_encoder("text", f"hf:{folder.absolute()}", "head", EncodersConfig())
    params = params_of("text", load_config({}).extract, pretrained=True)
    prepare = preparer("text", spec, params)
    texts = make_sentences(rows)
    loaded = {"dtype": torch.float32}  # else that of the file, 16 bits, which took four times as long here
    network = Transformer(str(folder), max_seq_length=int(params["max_tokens"]), model_kwargs=loaded)
    peer = SentenceTransformer(modules=[network, Pooling(network.get_embedding_dimension(), "mean")], device="cpu")

    def ours() -> np.ndarray:
        """(rows, width)"""
        found = dict(embed("text", spec, ((str(row), prepare(text, 0)) for row, text in enumerate(texts))))
        return np.stack([found[str(row)] for row in range(rows)])

    def theirs() -> np.ndarray:
        """(rows, width)"""
        found: np.ndarray = peer.encode(texts, batch_size=_BATCH, show_progress_bar=False)
        return found

    one, other = ours(), theirs()
    cosines = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    costs = in_turns({"ours": ours, "theirs": theirs}, rounds)
    note = f"cosine at least {cosines.min():.6f}"
    peer_name = "sentence-transformers, float32, batches of 32"
    yield Row("MiniLM, sentences of 3 to 300 words", peer_name, costs["ours"], costs["theirs"], rows, 1.5, note)
