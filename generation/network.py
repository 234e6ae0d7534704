"""A transformers network that writes: loaded once, one generation at a time, token by token.

`generate` runs in a thread of its own and hands out each token as it is made. Words are drawn with
a generator of our own, so equal seeds give equal words and nobody's random numbers are touched.
It knows neither tokenizers nor conversations.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import torch
import transformers
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer
from transformers.models.auto import modeling_auto

from embed.backends import packed
from embed.backends.huggingface.loading import quiet
from embed.errors import BackendFailed, MissingDependency, MissingWeights
from generation.folder import Card
from generation.script import Inputs
from generation.turns import Turns
from generation.types import Sampling

log = logging.getLogger(__name__)

WAITING = 8
"""Callers that may wait for one network."""

_COLDEST = 1e-3  # below it quotients overflow, and the likeliest word is drawn anyway
_CLASSES = ("ImageTextToText", "MultimodalLM", "CausalLM")
_MAPPINGS = {
    "ImageTextToText": "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "MultimodalLM": "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
    "CausalLM": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
}
_DRAWING = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")


class Network:
    """Weights on the device that is there, a GPU or the CPU, in a precision that it likes."""

    def __init__(self, card: Card, *, threads: int) -> None:
        """Raises MissingWeights, MissingDependency, BackendFailed where it does not fit."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._name = card.name
        self._threads = threads
        self._turns = Turns(WAITING)
        model: Any = _loaded(card, _precision(card, self.device))
        with _blamed(f"{card.name} does not fit into the memory of {self.device}"):
            self._model = model.to(self.device)
        self.ends = _draw_ourselves(self._model.generation_config)
        text = self._model.config.get_text_config()
        self.context = int(getattr(text, "max_position_embeddings", 0) or card.taste.context)

    def start(self, inputs: Inputs, sampling: Sampling, *, room: int) -> Tokens:
        """Begins to write at most `room` tokens, when it is this caller's turn.

        Raises Overloaded when too many wait already. Close what is returned.
        """
        self._turns.take()
        try:
            return Tokens(lambda tokens: self._write(tokens, inputs, sampling, room))
        except BaseException:  # no thread could be started to give the turn back
            self._turns.give_back()
            raise

    def _write(self, tokens: Tokens, inputs: Inputs, sampling: Sampling, room: int) -> None:
        try:
            if self.device.type == "cpu":
                torch.set_num_threads(self._threads)
            with _blamed(f"{self._name} failed while it wrote"):
                self._model.generate(
                    **self._taken(inputs),
                    max_new_tokens=room,
                    logits_processor=LogitsProcessorList(_drawing(sampling, self.device)),
                    stopping_criteria=StoppingCriteriaList([tokens.stopping]),
                    streamer=tokens.streamer,
                )
        finally:
            self._turns.give_back()

    def _taken(self, inputs: Inputs) -> Inputs:
        """`inputs` on the device; some tokenizers give kinds of tokens to networks without such."""
        kinds = "token_type_ids" in inspect.signature(self._model.forward).parameters
        return {
            name: self._placed(value)
            for name, value in inputs.items()
            if kinds or name != "token_type_ids"
        }

    def _placed(self, value: Any) -> Any:
        """Numbers that are no ids in the network's own precision, all on its device."""
        if not isinstance(value, torch.Tensor):
            return value
        dtype = self._model.dtype if value.is_floating_point() else value.dtype
        return value.to(self.device, dtype)


class Tokens:
    """Ids as a thread makes them; what breaks there is raised here. Close it."""

    def __init__(self, work: Callable[[Tokens], None]) -> None:
        self._queue: SimpleQueue[int | BaseException | None] = SimpleQueue()
        self._closed = threading.Event()
        self.streamer = _Streamer(self._queue.put)
        self.stopping = _Stopping(self._closed)
        self._thread = threading.Thread(target=self._run, args=(work,), name="write", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[int]:
        while (found := self._queue.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found

    def close(self) -> None:
        """Ends the work, with the token that is being made."""
        self._closed.set()
        self._thread.join()

    def _run(self, work: Callable[[Tokens], None]) -> None:
        try:
            work(self)
        except BaseException as error:  # noqa: BLE001  it is the reader's to hear of it
            self._queue.put(error)
        self._queue.put(None)


class _Streamer(BaseStreamer):
    """Passes on each new id. What is put first is the prompt."""

    def __init__(self, put: Callable[[int], None]) -> None:
        self._put = put
        self._begun = False

    def put(self, value: torch.Tensor) -> None:
        if self._begun:
            for token in value.flatten().tolist():
                self._put(int(token))
        self._begun = True

    def end(self) -> None:
        """The thread's end says so."""


class _Stopping(StoppingCriteria):
    def __init__(self, closed: threading.Event) -> None:
        self._closed = closed

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> Any:
        return torch.full((len(input_ids),), self._closed.is_set(), device=input_ids.device)


class _Draw(LogitsProcessor):
    """One token of the nucleus (Holtzman et al., 2020, https://arxiv.org/abs/1904.09751): the
    likeliest ones whose probabilities reach `top_p`, at a temperature. All others get -inf, and so
    the greedy choice that follows is the drawn one."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self._temperature = max(sampling.temperature, _COLDEST)
        self._top_p = sampling.top_p
        self._random = torch.Generator(device).manual_seed(sampling.seed % 2**63)

    def __call__(self, _ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        chances = torch.softmax(scores.float() / self._temperature, -1)
        ordered, order = chances.sort(descending=True)
        outside = ordered.cumsum(-1) - ordered > self._top_p
        chances = chances.masked_fill(outside.gather(-1, order.argsort(-1)), 0.0)
        drawn = torch.multinomial(chances, 1, generator=self._random)
        return torch.full_like(scores, -torch.inf).scatter(-1, drawn, 0.0)


@contextmanager
def _blamed(what: str) -> Iterator[None]:
    """What a network raises becomes BackendFailed, which says that."""
    try:
        yield
    except Exception as error:  # each runtime has its own, out of memory among them
        reason = str(error).strip().partition("\n")[0][:300]
        raise BackendFailed(f"{what}: {type(error).__name__}: {reason}") from error


def _drawing(sampling: Sampling, device: torch.device) -> list[LogitsProcessor]:
    return [_Draw(sampling, device)] if sampling.temperature > 0 else []


def _draw_ourselves(config: Any) -> frozenset[int]:
    """Takes drawing out of a generation configuration; returns the ids that end an answer."""
    config.do_sample = False
    config.num_beams = 1
    for name in _DRAWING:
        setattr(config, name, None)
    ends = config.eos_token_id
    found = frozenset([ends] if isinstance(ends, int) else ends or [])
    if config.pad_token_id is None and found:
        config.pad_token_id = min(found)
    return found


def _precision(card: Card, device: torch.device) -> torch.dtype:
    """bf16 where the device is good at it; on a CPU only for weights that are no finer."""
    if device.type != "cpu":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    coarse = card.stored in ("bfloat16", "float16") and packed.usable(torch.bfloat16)
    return torch.bfloat16 if coarse else torch.float32


def _class_of(kind: str) -> str:
    """The Auto class whose models include this one. Raises MissingDependency."""
    for name in _CLASSES:
        if kind in getattr(modeling_auto, _MAPPINGS[name], {}):
            return f"AutoModelFor{name}"
    raise MissingDependency(
        f"transformers {transformers.__version__} has no {kind} models that write, and code of "
        "repositories is never run; a later one may: pip install --upgrade transformers"
    )


def _loaded(card: Card, dtype: torch.dtype) -> PreTrainedModel:
    """The network, whole: weights that are missing would be random numbers."""
    path = card.folder.path
    auto = getattr(transformers, _class_of(card.folder.model_type))
    try:
        with quiet():
            model, found = auto.from_pretrained(
                path,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # the library raises what its file formats raise
        raise MissingWeights(f"the weights in {path} cannot be loaded: {error}") from error
    if found["missing_keys"]:
        raise MissingWeights(
            f"the weights in {path} lack {len(found['missing_keys'])} tensors, "
            f"{min(found['missing_keys'])!r} among them: fetch them again"
        )
    log.info("weights of %s: %s", card.name, card.licence)
    loaded: PreTrainedModel = model.eval().requires_grad_(False)
    return loaded
