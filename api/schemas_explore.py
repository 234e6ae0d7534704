"""The wire shapes of what is asked of a collection as a whole. Nothing here calls the service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from api.requests import MAX_K, SearchRequest, Term
from api.schemas import Wire
from api.schemas_search import (
    MAX_TERMS,
    FilterField,
    FusedQuery,
    Modalities,
    filter_of,
)
from embed.errors import InvalidQuery
from embed.types import Modality
from index.metadata.facets import EVERYTHING
from index.metadata.filters import Filter
from index.search.query import MAX_DEPTH
from index.search.survey import ALIKE, MOST_CLUSTERS

Format = Literal["jsonl", "npz", "parquet"]
FILE_TYPES = {
    ".jsonl": "application/x-ndjson",
    ".npz": "application/octet-stream",
    ".parquet": "application/vnd.apache.parquet",
}


class Filtered(Wire):
    """The items that a filter means, or all."""

    filter: FilterField | None = None

    @property
    def meant(self) -> Filter:
        """Raises InvalidQuery."""
        return filter_of(self.filter) or EVERYTHING


class CountBody(Filtered):
    pass


class FacetsBody(Filtered):
    fields: list[str] = Field(
        min_length=1, max_length=MAX_TERMS, description="Of the metadata, or @modality, @record, …"
    )
    limit: int = Field(10, ge=1, le=1000, description="Values told of each.")


class SampleBody(Filtered):
    count: int = Field(10, ge=1, le=MAX_K)
    seed: int = Field(0, ge=0, le=2**32, description="Another one draws others.")


class DeleteBody(Wire):
    filter: FilterField = Field(description="Which items; required, so that none go by mistake.")

    @property
    def meant(self) -> Filter:
        """Raises InvalidQuery."""
        meant = filter_of(self.filter)
        assert meant is not None
        return meant


class ExportBody(Filtered):
    format: Format = "npz"


class RecommendBody(Wire):
    """Items like the positive examples and unlike the negative ones."""

    positive: FusedQuery = Field(description="Items, media, words or vectors; one or several.")
    negative: FusedQuery | None = None
    strategy: Literal["average", "best_score", "context"] = Field(
        "average",
        description="average: one query of all. best_score: each by its nearest example alone. "
        "context: the n-th positive and the n-th negative are a pair, and found is what lies on "
        "the positive side of each.",
    )
    k: int = Field(10, ge=1, le=MAX_K)
    offset: int = Field(0, ge=0, le=MAX_DEPTH)
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")
    modalities: Modalities | None = None
    filter: FilterField | None = None
    min_score: float | None = Field(None, ge=-1, le=1)
    include: list[Literal["vector", "contributions"]] = Field(default_factory=list)

    def request(self, collection: str) -> SearchRequest:
        """Raises what `QueryBody.term` raises; InvalidQuery for a weight below 0."""
        good = [query.term() for query in self.positive]
        bad = [query.term() for query in self.negative or []]
        if any(term.weight <= 0 for term in [*good, *bad]):
            raise InvalidQuery(
                "an example has a weight that is not above 0: list it as negative instead",
                param="weight",
            )
        return SearchRequest(
            terms=(*_shared(good, 2.0 if bad else 1.0), *_shared(bad, -1.0)),
            collection=collection,
            k=self.k,
            offset=self.offset,
            cursor=self.cursor,
            modalities=None
            if self.modalities is None
            else frozenset(map(Modality, self.modalities)),
            filter=filter_of(self.filter),
            min_score=self.min_score,
            strategy=self.strategy,
            include=frozenset(self.include),
        )


def _shared(terms: list[Term], weight: float) -> list[Term]:
    """Their mean counts `weight`. With 2 for the good and -1 for the bad, the mean of the good is
    moved away from the mean of the bad by as much as they differ."""
    total = sum(term.weight for term in terms)
    return [
        Term(kind=term.kind, value=term.value, weight=weight * term.weight / total)
        for term in terms
    ]


class _Report(Wire):
    model_config = ConfigDict(strict=False)

    modality: Annotated[
        Modality | None, Field(description="Which items; by default the kind there is most of.")
    ] = None


class DuplicatesPage(_Report):
    least: float = Field(ALIKE, gt=0, le=1, description="Cosine from which two are the same.")


class ClustersPage(_Report):
    count: int | None = Field(None, ge=1, le=MOST_CLUSTERS, description="At most; default √(N/2).")


class OutliersPage(_Report):
    count: int = Field(20, ge=1, le=1000)


class MapPage(_Report):
    pass


EXPLORING = (CountBody, DeleteBody, ExportBody, FacetsBody, RecommendBody, SampleBody)
