"""The wire shapes of what comes in over REST, and how they become the nouns of the hallway.

Every model refuses what it does not know, with the list of what it does, and takes JSON types as
they are: no number is read out of a string, no NaN gets in. Nothing here calls the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api.job_store import JobState
from api.requests import MAX_K, SearchRequest, Term, Upload
from api.wire import check_metadata, decode_media
from embed.errors import BadInput, InvalidQuery, InvalidVector
from embed.types import Modality

MAX_TERMS = 32
MAX_BATCH = 256
MAX_INPUTS = 2048

_MODALITIES = Literal["text", "image", "audio", "video"]


class Wire(BaseModel):
    """What all request bodies share."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, data: Any) -> Any:
        unknown = sorted(set(data) - set(cls.model_fields)) if isinstance(data, Mapping) else []
        if unknown:
            raise PydanticCustomError(
                "unknown_field",
                "unknown field {unknown}; the known ones are: {known}",
                {"unknown": ", ".join(map(repr, unknown)), "known": ", ".join(cls.model_fields)},
            )
        return data


MetadataField = Annotated[dict[str, Any], AfterValidator(check_metadata)]
Id = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$", max_length=128)
]


class CollectionBody(Wire):
    space: str = Field("builtin", description="Name of a space; GET /v1/models lists them.")
    index: str = Field("exact", description="Address of the engine, e.g. exact or faiss:flat.")


class ItemBody(Wire):
    """One item: exactly one of `text` and `data`."""

    id: Id | None = None
    record: Id | None = None
    name: str | None = Field(None, max_length=255, description="File name, for the title.")
    text: str | None = None
    data: str | None = Field(None, description="A data URI or base64.")
    uri: str | None = Field(None, description="Refused: fetching URLs is not enabled.")
    metadata: MetadataField = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_medium(self) -> Self:
        given = [name for name in ("text", "data", "uri") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of text and data is wanted, not {given or 'none'}")
        return self

    def upload(self) -> Upload:
        """Raises BadInput when there is nothing in it, or `data` cannot be decoded."""
        if self.text is not None:
            if not self.text.strip():
                raise BadInput("text is blank; there is nothing to index", param="text")
            data = self.text.encode()
        else:
            data = decode_media(self.data or "", "data")
        return Upload(
            data=data, id=self.id, record=self.record, name=self.name, metadata=self.metadata
        )


class ItemsBody(Wire):
    items: list[ItemBody] = Field(min_length=1, max_length=MAX_BATCH)


class ItemPatch(Wire):
    """What is given replaces what was there."""

    title: str | None = Field(None, max_length=1000)
    metadata: MetadataField | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.title is None and self.metadata is None:
            raise ValueError("nothing to change; give title, metadata or both")
        return self


class ItemsPage(Wire):
    model_config = ConfigDict(strict=False)

    limit: int = Field(100, ge=1, le=1000)
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")
    modality: Modality | None = None
    record: str | None = Field(None, description="Only the items of this record.")


class JobsPage(Wire):
    model_config = ConfigDict(strict=False)

    limit: int = Field(100, ge=1, le=1000)
    state: JobState | None = None


class PreviewSize(Wire):
    model_config = ConfigDict(strict=False)

    side: int = Field(320, ge=16, le=2048, description="Longest side, in pixels.")
    at: float | None = Field(
        None, ge=0, le=1e6, description="Seconds into a film: the frame shown then."
    )


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
            with np.errstate(over="ignore"):
                vector = np.asarray(self.vector, dtype=np.float32)
            if not np.isfinite(vector).all():
                raise InvalidVector("vector has numbers beyond float32", param="vector")
            return Term(kind="vector", value=vector, weight=self.weight)
        if self.item is not None:
            return Term(kind="item", value=self.item, weight=self.weight)
        (kind,) = self.model_fields_set - {"weight"}
        value = getattr(self, kind)
        if value is None:
            raise InvalidQuery(f"{kind} is null; leave it out or give it a value", param=kind)
        return medium_term(kind, value, self.weight)


def medium_term(kind: Any, value: str, weight: float = 1.0) -> Term:
    """A term of words or of decoded bytes. Raises InvalidQuery for blank words."""
    if kind != "text":
        return Term(kind=kind, value=decode_media(value, kind), weight=weight)
    if not value.strip():
        raise InvalidQuery(f"text is {value!r}; say what to look for", param="text")
    return Term(kind="text", value=value, weight=weight)


def _as_query(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    return [_as_query(entry) for entry in value] if isinstance(value, list) else [_as_query(value)]


# One query or several to fuse; plain words stand for {"text": words}.
FusedQuery = Annotated[
    list[QueryBody],
    BeforeValidator(_as_list, json_schema_input_type=str | QueryBody | list[str | QueryBody]),
    Field(min_length=1, max_length=MAX_TERMS),
]


class SearchBody(Wire):
    """`query`: one search (a list is one fused query). `queries`: a batch of them."""

    query: FusedQuery | None = None
    queries: list[FusedQuery] | None = Field(None, min_length=1, max_length=MAX_BATCH)
    k: int = Field(10, ge=1, le=MAX_K)
    modalities: list[_MODALITIES] | None = Field(None, min_length=1)
    min_score: float | None = Field(None, ge=-1, le=1, description="Cosine; worse is dropped.")
    min_probability: float | None = Field(
        None, ge=0, le=1, description="Of being what is looked for; less is dropped."
    )
    together: bool = Field(
        False, description="Read the media of a query as one, in a space that can."
    )
    include: list[Literal["vector"]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.query is None) == (self.queries is None):
            raise ValueError("give either query (one search) or queries (a batch)")
        return self

    def requests(self, collection: str) -> list[SearchRequest]:
        """Raises what `QueryBody.term` raises."""
        wanted = None if self.modalities is None else frozenset(map(Modality, self.modalities))
        batch = self.queries if self.query is None else [self.query]
        return [
            SearchRequest(
                terms=tuple(query.term() for query in fused),
                collection=collection,
                k=self.k,
                modalities=wanted,
                min_score=self.min_score,
                min_probability=self.min_probability,
                together=self.together,
                include=frozenset(self.include),
            )
            for fused in batch or []
        ]


class EmbeddingInput(Wire):
    """One or several media; several make one fused vector."""

    text: str | None = None
    image: str | None = Field(None, description="A data URI or base64.")
    audio: str | None = Field(None, description="A data URI or base64.")
    video: str | None = Field(None, description="A data URI or base64.")

    def terms(self) -> tuple[Term, ...]:
        """Raises BadInput, InvalidQuery."""
        given = [(kind, value) for kind, value in self if value is not None]
        if not given:
            raise InvalidQuery(
                f"an input is empty; give one of {', '.join(type(self).model_fields)}",
                param="input",
            )
        return tuple(medium_term(kind, value) for kind, value in given)


def _as_inputs(value: Any) -> Any:
    inputs = _as_list(value)
    for entry in inputs:
        if _is_int(entry) or (isinstance(entry, list) and entry and all(map(_is_int, entry))):
            raise BadInput(
                "input holds token ids; they mean something only to the tokenizer that made them, "
                "and spaces here have tokenizers of their own: send the text itself",
                param="input",
            )
    return inputs


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class EmbeddingsBody(Wire):
    """OpenAI's embeddings request, where an input may also be an object of media."""

    model: str
    input: Annotated[
        list[EmbeddingInput],
        BeforeValidator(
            _as_inputs, json_schema_input_type=str | EmbeddingInput | list[str | EmbeddingInput]
        ),
        Field(min_length=1, max_length=MAX_INPUTS),
    ]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = Field(None, description="Accepted and ignored.")
