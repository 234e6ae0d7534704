"""Generators and re-rankers of this process, each opened once, on first use, and who may name them.

It knows nothing of questions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from api.config import Settings
from api.discreet import discreet
from api.libraries import Opened
from api.once import Once
from embed.errors import CrossbindError
from embed.registry import LoadOptions
from embed.types import Modality
from generation.registry import (
    ENDPOINT_TASTE,
    Capabilities,
    GeneratorOptions,
    describe,
    listed,
    open_generator,
)
from generation.types import Generator
from rag.rerank import Reranker, open_reranker

BUILTIN = "builtin"
"""The re-ranker that needs no model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSummary:
    """A generator that can be asked for by `name`; in JSON without the address of its endpoint.

    known: None where even that cannot be told, and `missing` says why.
    """

    name: str
    known: Capabilities | None
    default: bool
    missing: str | None

    def to_json(self) -> dict[str, Any]:
        known = self.known
        return {
            "id": discreet(self.name),
            "object": "model",
            "created": 0,
            "owned_by": "crossbind",
            "kind": "generator",
            "default": self.default,
            "summary": known and discreet(known.summary),
            "inputs": sorted(known.inputs) if known else [],
            "outputs": sorted(known.outputs) if known else [],
            "context": known and known.taste.context,
            "licence": known and known.licence,
            "source": known and discreet(known.source),
            "state": "ready" if self.missing is None else "missing",
            "missing": self.missing and discreet(self.missing),
        }


class Voices:
    """Generators and re-rankers by name, None those of the settings. Safe from many threads."""

    def __init__(self, settings: Settings, options: LoadOptions) -> None:
        self._settings = settings
        self._options = options
        self._generators = Once[Generator]()

    def generators(self) -> list[str]:
        """Those that strangers may name, as the operator put them: a name can be a path, or start
        a download."""
        ours = (*listed(), self._settings.generator, *self._settings.generators)
        return list(dict.fromkeys(ours))

    def rerankers(self) -> list[str]:
        """Those that strangers may name."""
        return sorted({BUILTIN, self._settings.reranker})

    def summary(self, name: str) -> GeneratorSummary:
        """What a generator can do, before it is loaded. One that cannot be described breaks no
        list."""
        default = name == self._settings.generator
        try:
            known = describe(name, self._generator_options())
        except CrossbindError as error:
            return GeneratorSummary(name=name, known=None, default=default, missing=error.message)
        return GeneratorSummary(name=name, known=known, default=default, missing=known.missing)

    def generator(self, name: str | None) -> Generator:
        """Raises NotFound, MissingWeights, MissingDependency, Forbidden."""
        wanted = name or self._settings.generator
        return self._generators.get(
            wanted, lambda: open_generator(wanted, self._generator_options())
        )

    def reranker(self, name: str | None, opened: Opened) -> Reranker:
        """Raises NotFound, MissingWeights, MissingDependency."""
        wanted = name or self._settings.reranker
        return opened.rerankers.get(
            wanted, lambda: open_reranker(wanted, self._options, opened.library)
        )

    def close(self) -> None:
        """Lets go of what generators hold."""
        for generator in self._generators.clear():
            generator.close()

    def _generator_options(self) -> GeneratorOptions:
        return GeneratorOptions(
            load=self._options,
            url=self._settings.generator_url,
            api_key=self._settings.generator_api_key,
            inputs=frozenset(map(Modality, self._settings.generator_inputs)),
            taste=replace(ENDPOINT_TASTE, context=self._settings.generator_context),
        )
