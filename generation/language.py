"""Models of transformers that read pictures, films, sounds and words, and write words: `hf:FOLDER`.

LLaVA and its kin, through the library's Auto classes and each model's own chat template. Code of a
repository is never run, weights are safetensors. Nothing heavy is imported until something is
asked. Tools are not offered to these models: their ways of calling differ, and are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from embed.backends.tower import Once
from embed.errors import MissingWeights, NotAvailable, TooLarge
from embed.types import Modality
from generation import folder
from generation.folder import Card
from generation.registry import Capabilities, GeneratorOptions
from generation.types import Chunk, Finish, Prompt, Taste, Usage
from generation.words import Until, Words

if TYPE_CHECKING:
    from generation.network import Network
    from generation.script import Script

_WORDS = frozenset({Modality.TEXT})


class _Parts:
    """A script and a network, each loaded when it is first needed: counting needs no weights."""

    def __init__(self, card: Card, threads: int) -> None:
        self._card = card
        self._threads = threads
        self.script = Once(self._open_script)
        self.network = Once(self._open_network)

    def _open_script(self) -> Script:
        from generation.script import Script  # noqa: PLC0415 (loads transformers)

        return Script(self._card)

    def _open_network(self) -> Network:
        from generation.network import Network  # noqa: PLC0415 (loads torch and transformers)

        return Network(self._card, threads=self._threads)


def describe(detail: str, options: GeneratorOptions) -> Capabilities:
    """What the folder or repository says of itself; of what is not here, what to do."""
    try:
        card = folder.read(detail, options.load, describing=True)
    except MissingWeights as error:
        return _unknown(detail, error.message)
    return Capabilities(
        name=card.name,
        summary=f"{card.folder.model_type} by transformers",
        inputs=card.inputs,
        outputs=_WORDS,
        taste=card.taste,
        licence=card.licence,
        source=detail,
        missing=folder.missing(card),
    )


def load(detail: str, options: GeneratorOptions) -> Language:
    """The generator; its weights are loaded when it is first asked. Raises MissingWeights."""
    card = folder.read(detail, options.load)
    if (wanting := folder.missing(card)) is not None:
        raise MissingWeights(wanting)
    return Language(card, threads=options.load.threads)


class Language:
    """Implements `generation.types.Generator` over one folder."""

    def __init__(self, card: Card, *, threads: int) -> None:
        self._card = card
        self._parts: _Parts | None = _Parts(card, threads)

    @property
    def name(self) -> str:
        return self._card.name

    @property
    def inputs(self) -> frozenset[Modality]:
        return self._card.inputs

    @property
    def outputs(self) -> frozenset[Modality]:
        return _WORDS

    @property
    def taste(self) -> Taste:
        return self._card.taste

    def count_tokens(self, text: str) -> int:
        return self._open().script().count(text)

    def generate(self, prompt: Prompt) -> Iterator[Chunk]:
        """As `Generator.generate`. Raises Overloaded when too many wait for it, MissingWeights."""
        parts = self._open()
        script, network = parts.script(), parts.network()
        inputs = script.read(prompt.messages)
        asked = int(inputs["input_ids"].shape[-1])
        room = self._room(asked, prompt.sampling.max_tokens, network.context)
        tokens = network.start(inputs, prompt.sampling, room=room)
        words, until = Words(script.spell), Until((*prompt.sampling.stop, *script.stops))
        count, ended, begun = 0, False, False
        try:
            for token in tokens:
                count, ended = count + 1, token in network.ends
                text = until.feed(words.feed(token))
                text = text if begun else text.lstrip()
                if text:
                    begun = True
                    yield Chunk(text=text)
                if until.hit:
                    break
        finally:
            tokens.close()
        rest = until.feed(words.rest()) + until.rest()
        if rest:
            yield Chunk(text=rest if begun else rest.lstrip())
        finish: Finish = "length" if count == room and not (ended or until.hit) else "stop"
        yield Chunk(finish=finish, usage=Usage(asked, count))

    def close(self) -> None:
        """Lets go of the weights; what is being written is finished."""
        self._parts = None

    def _open(self) -> _Parts:
        if (parts := self._parts) is None:
            raise NotAvailable(f"{self.name} was closed; open it again")
        return parts

    def _room(self, asked: int, wanted: int, context: int) -> int:
        """Tokens that may be written: what is wanted, or what the context leaves."""
        if asked >= context:
            raise TooLarge(
                f"the prompt has {asked:,} tokens, and {self.name} holds {context:,} with its "
                "answer: ask with fewer passages (k), or choose a generator that holds more"
            )
        return max(1, min(wanted, context - asked))


def _unknown(detail: str, missing: str) -> Capabilities:
    return Capabilities(
        name=f"hf:{detail}",
        summary="a model by transformers that is not here",
        inputs=_WORDS,
        outputs=_WORDS,
        taste=Taste(context=0),
        licence="unknown: see the model's page",
        source=detail,
        missing=missing,
    )
