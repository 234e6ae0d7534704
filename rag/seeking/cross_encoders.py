"""Cross-encoders of transformers as rerankers: a question and a candidate read together.

Two kinds, told apart by config.json. A text cross-encoder (`AutoModelForSequenceClassification` of
one logit or two, as the MS MARCO MiniLM and BGE rerankers are) reads the question beside a
candidate's words. An image-text one (BLIP's matching head, Li et al. 2022, section 3.1) reads it
beside the picture. What a model cannot read, a sound, a picture without words, the built-in
reranker judges.

A logit becomes a probability by a sigmoid, which nobody has calibrated, unless a curve is given.
Weights come by the house's rules (`embed.weights.folder`), as safetensors only; no code of a
repository is ever run. Nothing here knows a collection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, Protocol

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import nn

from embed.backends.huggingface.files import ModelFolder
from embed.backends.huggingface.loading import quiet
from embed.backends.huggingface.recipes import positions
from embed.backends.torch_core import Core
from embed.calibration import Curve
from embed.errors import BackendFailed, MissingDependency, MissingWeights
from embed.registry import LoadOptions
from embed.types import Floats, Modality
from embed.weights import folder as weights
from rag.library import Library
from rag.rerank import Builtin, Candidate

SIGMOID = Curve(1.0, 0.0)

_BATCH = 16
_MAX_TOKENS = 512
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_MATCHING = {"blip": "BlipForImageTextRetrieval"}

Ids = NDArray[np.int64]


class Reader(Protocol):
    """A model that reads a question beside some candidates."""

    def takes(self, candidate: Candidate) -> bool: ...

    def logits(self, question: str, candidates: Sequence[Candidate]) -> list[float | None]:
        """One a candidate; None for one that has gone meanwhile."""
        ...


class CrossEncoder:
    """A reader as a reranker. Safe to call from several threads.

    curve: from a logit to a probability; by default the sigmoid, and then `calibrated` is false.
    """

    def __init__(
        self, name: str, reader: Reader, library: Library, curve: Curve | None = None
    ) -> None:
        self.name = name
        self.calibrated = curve is not None
        self._reader = reader
        self._curve = curve or SIGMOID
        self._others = Builtin(library)

    def probabilities(
        self, question: str, asked_with: frozenset[Modality], candidates: Sequence[Candidate]
    ) -> list[float]:
        """As `rag.rerank.Reranker` has it. Raises BackendFailed."""
        taken = [n for n, one in enumerate(candidates) if question and self._reader.takes(one)]
        found: dict[int, float] = {}
        for start in range(0, len(taken), _BATCH):
            some = taken[start : start + _BATCH]
            logits = self._reader.logits(question, [candidates[n] for n in some])
            found |= {
                n: self._curve(logit)
                for n, logit in zip(some, logits, strict=True)
                if logit is not None
            }
        rest = [n for n in range(len(candidates)) if n not in found]
        others = [candidates[n] for n in rest]
        judged = self._others.probabilities(question, asked_with, others) if rest else []
        found |= dict(zip(rest, judged, strict=True))
        return [found[n] for n in range(len(candidates))]


class TextReader:
    """A sequence classifier over `question [SEP] words`; words too long for it are cut."""

    def __init__(self, folder: ModelFolder, options: LoadOptions) -> None:
        model = _model(folder, "AutoModelForSequenceClassification")
        classes = int(model.config.num_labels)
        if classes not in (1, 2):
            raise MissingWeights(
                f"{folder.path} tells {classes} classes apart; a reranker has one logit, or two "
                "for no and yes"
            )
        self._tokenizer = _tokenizer(folder)
        self._length = min(
            _MAX_TOKENS, int(self._tokenizer.model_max_length), positions(folder.config)
        )
        self._core = Core(_Relevance(model), precision="fp32", threads=options.threads)

    def takes(self, candidate: Candidate) -> bool:
        return bool(candidate.description.strip())

    def logits(self, question: str, candidates: Sequence[Candidate]) -> list[float | None]:
        texts = [candidate.description for candidate in candidates]
        tokens = self._tokenizer(
            [question] * len(texts),
            texts,
            padding=True,
            truncation="longest_first",
            max_length=self._length,
            return_tensors="np",
        )
        ids = np.asarray(tokens["input_ids"], np.int64)
        types = tokens.get("token_type_ids")
        kinds = np.zeros_like(ids) if types is None else np.asarray(types, np.int64)
        mask = np.asarray(tokens["attention_mask"], np.int64)
        return _run(lambda: self._core(ids, mask, kinds))


class PictureReader:
    """BLIP's image-text matching: whether a picture shows what is said."""

    def __init__(self, folder: ModelFolder, options: LoadOptions, library: Library) -> None:
        kind = _MATCHING[folder.model_type]
        model = _model(folder, kind)
        self._library = library
        self._tokenizer = _tokenizer(folder)
        self._pixels = _opened(folder, transformers.AutoImageProcessor)
        self._length = min(_MAX_TOKENS, int(model.config.text_config.max_position_embeddings))
        self._side = int(model.config.vision_config.image_size)
        self._core = Core(_Matching(model), precision="fp32", threads=options.threads)

    def takes(self, candidate: Candidate) -> bool:
        return candidate.hit.item.modality is Modality.IMAGE

    def logits(self, question: str, candidates: Sequence[Candidate]) -> list[float | None]:
        pictures = [self._picture(candidate) for candidate in candidates]
        there = [picture for picture in pictures if picture is not None]
        if not there:
            return [None] * len(pictures)
        tokens = self._tokenizer(
            [question] * len(there),
            padding=True,
            truncation=True,
            max_length=self._length,
            return_tensors="np",
        )
        pixels = self._pixels(images=there, return_tensors="np")["pixel_values"]
        ids = np.asarray(tokens["input_ids"], np.int64)
        mask = np.asarray(tokens["attention_mask"], np.int64)
        found = iter(_run(lambda: self._core(ids, mask, np.asarray(pixels, np.float32))))
        return [None if picture is None else next(found) for picture in pictures]

    def _picture(self, candidate: Candidate) -> NDArray[np.uint8] | None:
        """The whole picture, a little larger than the model reads it."""
        hit = candidate.hit
        medium = self._library.media_of(hit.item, hit.span, 2 * self._side)
        return medium.data if medium and isinstance(medium.data, np.ndarray) else None


class _Relevance(nn.Module):
    """The log-odds of yes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.typed = "token_type_ids" in signature(model.forward).parameters

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        typed = {"token_type_ids": kinds} if self.typed else {}
        logits: torch.Tensor = self.model(input_ids=ids, attention_mask=mask, **typed).logits
        return _log_odds(logits)


class _Matching(nn.Module):
    """The log-odds that picture and words match."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        found = self.model(
            input_ids=ids, attention_mask=mask, pixel_values=pixels, use_itm_head=True
        )
        logits: torch.Tensor = found.itm_score
        return _log_odds(logits)


def load(
    detail: str, options: LoadOptions, library: Library, curve: Curve | None = None
) -> CrossEncoder:
    """The cross-encoder in the folder or hub repository `detail`.

    Raises MissingWeights, MissingDependency.
    """
    folder = ModelFolder(weights.resolve(detail, options))
    reader: Reader = (
        PictureReader(folder, options, library)
        if folder.model_type in _MATCHING
        else TextReader(folder, options)
    )
    return CrossEncoder(f"hf:{detail}", reader, library, curve)


def _model(folder: ModelFolder, kind: str) -> Any:
    if folder.model_type not in transformers.CONFIG_MAPPING:
        raise MissingDependency(
            f"transformers {transformers.__version__} has no {folder.model_type} models; a later "
            "one may: pip install --upgrade transformers"
        )
    try:
        with quiet():
            model, found = getattr(transformers, kind).from_pretrained(
                folder.path,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # the library raises what its file formats raise
        raise MissingWeights(
            f"the weights in {folder.path} cannot be loaded as a reranker: {error}"
        ) from error
    if found["missing_keys"]:
        raise MissingWeights(
            f"the weights in {folder.path} lack {sorted(found['missing_keys'])[0]!r}: this is no "
            "reranker, or not all of one; name a cross-encoder, or fetch it again"
        )
    return model


def _tokenizer(folder: ModelFolder) -> Any:
    """Without its files the library makes one that knows no word, and says nothing."""
    if not any((folder.path / name).is_file() for name in _TOKENIZERS):
        raise MissingWeights(
            f"{folder.path} has no tokenizer; one of {', '.join(_TOKENIZERS)} is wanted: fetch it "
            "too"
        )
    return _opened(folder, transformers.AutoTokenizer)


def _opened(folder: ModelFolder, kind: Any) -> Any:
    try:
        with quiet():
            return kind.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises what its file formats raise
        raise MissingWeights(
            f"{folder.path} has no {kind.__name__.removeprefix('Auto')} that can be read: {error}"
        ) from error


def _log_odds(logits: torch.Tensor) -> torch.Tensor:
    """`(N, 1)` or `(N, 2)` to `(N,)`."""
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def _run(forward: Callable[[], tuple[Floats, ...]]) -> list[float | None]:
    try:
        (found,) = forward()
    except (RuntimeError, ValueError, IndexError) as error:
        raise BackendFailed(f"the reranker broke: {type(error).__name__}: {error}") from error
    return [float(value) for value in found]
