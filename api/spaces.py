"""The spaces and generators of a service: listed, warmed, embedded with, exported, trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from api.parts import DEFAULT_SPACE, Parts
from api.query import embed_queries
from api.requests import Embeddings, ModelSummary, Term
from embed import registry

if TYPE_CHECKING:  # they load torch, or what few commands need
    from api.training import Told
    from api.voices import GeneratorSummary
    from embed.backends.onnx_runtime.export import ExportReport

EMBEDDED_AT_ONCE = 64  # inputs of one request: what bounds the decoded pictures in memory


class Spaces(Parts):
    """What embeds and what answers, by name."""

    def models(self) -> list[ModelSummary]:
        """The spaces that need no weights of one's own, and those in use here."""
        return [self._towers.listed(name) for name in sorted({*self.spaces(), *registry.listed()})]

    def model(self, name: str) -> ModelSummary:
        """Any space, before it is loaded. Raises NotFound, MissingWeights, MissingDependency."""
        return self._towers.summary(name)

    def spaces(self) -> list[str]:
        """Those that strangers may name: a name can be a path, or start a download."""
        used = {info.space.name for info in self._catalog.collections()}
        return sorted({DEFAULT_SPACE, *self.settings.spaces, *used})

    def warm(self, model: str = DEFAULT_SPACE) -> None:
        """Loads a space and its networks now, so that the first caller does not wait."""
        self._towers.get(model).embedder.warm()

    def embed(self, model: str, inputs: Sequence[Sequence[Term]]) -> Embeddings:
        """One `(D,)` vector per input; an input of several terms is fused into one."""
        batcher = self._towers.get(model)
        vectors = [
            query.joint
            for first in range(0, len(inputs), EMBEDDED_AT_ONCE)
            for query in embed_queries(inputs[first : first + EMBEDDED_AT_ONCE], batcher, None)
        ]
        words = [term.value for terms in inputs for term in terms if isinstance(term.value, str)]
        tokens = sum(batcher.embedder.count_tokens(text) for text in words)
        return Embeddings(vectors=np.stack(vectors), prompt_tokens=tokens)

    def export(
        self, space: str, folder: Path, *, precision: str = "fp32", check: Path | None = None
    ) -> ExportReport:
        """Writes a space as ONNX graphs into `folder`. Raises what `onnx_runtime.export` raises."""
        from embed.backends.onnx_runtime import export as onnx_export  # noqa: PLC0415 (loads torch)

        return onnx_export.export_space(
            space, folder, self._towers.options, precision=precision, check=check
        )

    def train(
        self,
        config: Path,
        tell: Callable[[Told], None],
        *,
        resume: bool = False,
        collection: str | None = None,
    ) -> dict[str, Any]:
        """A space of one's own, from what a config or a collection holds. Raises what
        `training.train` raises."""
        from api import training  # noqa: PLC0415 (loads torch)

        return training.train(
            config,
            tell,
            options=self._towers.options,
            resume=resume,
            collection=collection,
            open_collection=self._shelves.open,
            blobs=self._blobs,
        )

    def generators(self) -> list[str]:
        """Those that strangers may name, for the same reasons."""
        return self.asking.voices.generators()

    def generator(self, name: str) -> GeneratorSummary:
        """What one can do, before it is loaded."""
        return self.asking.voices.summary(name)

    def rerankers(self) -> list[str]:
        """As `generators`."""
        return self.asking.voices.rerankers()
