"""The wire shapes of searching: queries, what narrows them, what is made of their hits.

Filters come as JSON or as the text that the command line takes. Nothing here calls the service.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from api.requests import MAX_K, MAX_MOMENTS, SearchRequest, Term
from api.schemas import MAX_BATCH, Wire, as_list, floats, medium_term
from embed.errors import InvalidQuery
from embed.types import Modality
from index.metadata.filter_text import parse_filter
from index.metadata.filters import Filter, filter_from_json
from index.search.query import EVEN, MAX_DEPTH, Balance

MAX_TERMS = 32

Modalities = Annotated[
    list[Literal["text", "image", "audio", "video"]],
    Field(min_length=1, description="Only items of these kinds."),
]
FilterField = Annotated[
    str | dict[str, Any],
    Field(
        description='What must be true: {"field": "year", "gte": 2020}, joined by {"and": […]}, '
        '{"or": […]}, {"not": …}; or text, as in year >= 2020 and not has(text).'
    ),
]


def filter_of(given: str | dict[str, Any] | None) -> Filter | None:
    """Of either form. Raises InvalidQuery."""
    if given is None:
        return None
    return parse_filter(given) if isinstance(given, str) else filter_from_json(given)


class QueryBody(Wire):
    """One part of a query: exactly one medium, item or vector. A negative weight means minus."""

    text: str | None = None
    image: str | None = Field(None, description="A data URI or base64.")
    audio: str | None = Field(None, description="A data URI or base64.")
    video: str | None = Field(None, description="A data URI or base64.")
    item: str | None = Field(None, description="The id of an item of this collection.")
    vector: list[float] | None = None
    weight: float = 1.0

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = self.model_fields_set - {"weight"}
        if len(given) != 1:
            known = [name for name in type(self).model_fields if name != "weight"]
            raise ValueError(
                f"exactly one of {', '.join(known)} is wanted, not {sorted(given) or 'none'}; "
                "a list of queries is one fused query"
            )
        return self

    def term(self) -> Term:
        """Raises BadInput, InvalidQuery, InvalidVector."""
        if self.vector is not None:
            return Term(kind="vector", value=floats(self.vector), weight=self.weight)
        if self.item is not None:
            return Term(kind="item", value=self.item, weight=self.weight)
        (kind,) = self.model_fields_set - {"weight"}
        value = getattr(self, kind)
        if value is None:
            raise InvalidQuery(f"{kind} is null; leave it out or give it a value", param=kind)
        return medium_term(kind, value, self.weight)


# One query or several to fuse; plain words stand for {"text": words}.
FusedQuery = Annotated[
    list[QueryBody],
    BeforeValidator(as_list, json_schema_input_type=str | QueryBody | list[str | QueryBody]),
    Field(min_length=1, max_length=MAX_TERMS),
]


class Weights(Wire):
    """How much vectors and words count."""

    dense: float = Field(1.0, ge=0)
    words: float = Field(1.0, ge=0)


class Narrowed(Wire):
    """What narrows a search, and what is made of its hits."""

    k: int = Field(10, ge=1, le=MAX_K)
    offset: int = Field(0, ge=0, le=MAX_DEPTH, description="Hits to pass over.")
    cursor: str | None = Field(
        None, description="`next_cursor` of the page before: the best of what it left."
    )
    modalities: Modalities | None = None
    filter: FilterField | None = None
    hybrid: bool | Weights = Field(
        False, description="Look for the words in titles and texts too (BM25), fused by rank."
    )
    min_score: float | None = Field(None, ge=-1, le=1, description="Cosine; worse is dropped.")
    min_probability: float | None = Field(
        None, ge=0, le=1, description="Of being what is looked for; less is dropped."
    )
    group_by: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Only the best of each `record`, of each file (`uri`), or of each value of a "
        "field of the metadata.",
    )
    collapse: float | None = Field(
        None, ge=0, le=1, description="Leave out what is this like a better hit (cosine): 0.98."
    )
    diversity: float = Field(
        0.0, ge=0, le=1, description="0: the most like; towards 1: unlike each other (MMR)."
    )
    rerank: Literal["maxsim"] | None = Field(
        None, description="Rank the best anew, each piece of the query by its best place."
    )
    moments: int = Field(1, ge=1, le=MAX_MOMENTS, description="Places told of each item.")
    include: list[Literal["vector", "contributions"]] = Field(
        default_factory=list, description="More of each hit."
    )

    def request(
        self, terms: tuple[Term, ...], collection: str, *, together: bool = False
    ) -> SearchRequest:
        """Raises InvalidQuery for a filter that is none."""
        return SearchRequest(
            terms=terms,
            collection=collection,
            k=self.k,
            offset=self.offset,
            cursor=self.cursor,
            modalities=None
            if self.modalities is None
            else frozenset(map(Modality, self.modalities)),
            filter=filter_of(self.filter),
            hybrid=_balance(self.hybrid),
            min_score=self.min_score,
            min_probability=self.min_probability,
            together=together,
            group_by=self.group_by,
            collapse=self.collapse,
            diversity=self.diversity,
            rerank=self.rerank is not None,
            moments=self.moments,
            include=frozenset(self.include),
        )


class SearchBody(Narrowed):
    """`query`: one search (a list is one fused query). `queries`: a batch of them."""

    query: FusedQuery | None = None
    queries: list[FusedQuery] | None = Field(None, min_length=1, max_length=MAX_BATCH)
    together: bool = Field(
        False, description="Read the media of a query as one, in a space that can."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.query is None) == (self.queries is None):
            raise ValueError("give either query (one search) or queries (a batch)")
        if self.queries is not None and self.cursor is not None:
            raise ValueError("a cursor goes on with one search; ask it as query")
        return self

    def requests(self, collection: str) -> list[SearchRequest]:
        """Raises what `QueryBody.term` raises, InvalidQuery for a filter that is none."""
        batch = self.queries if self.query is None else [self.query]
        return [
            self.request(tuple(query.term() for query in fused), collection, together=self.together)
            for fused in batch or []
        ]


def _balance(hybrid: bool | Weights) -> Balance | None:
    if isinstance(hybrid, bool):
        return EVEN if hybrid else None
    return Balance(hybrid.dense, hybrid.words)
