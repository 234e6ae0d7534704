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

from api.job_types import JobState
from api.requests import Term, Upload
from api.wire import check_metadata, decode_media
from embed.errors import BadInput, InvalidQuery, InvalidVector
from embed.types import Floats, Modality
from index.types import Storage

MAX_BATCH = 256
MAX_INPUTS = 2048


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


INDEX = "Address of the engine: exact, auto, faiss:hnsw?recall=0.99, qdrant-edge, …"


class CollectionBody(Wire):
    space: str = Field("builtin", description="Name of a space; GET /v1/models lists them.")
    index: str = Field("exact", description=INDEX)
    storage: Storage = Field(
        Storage.FLOAT32, description="Of vectors; float16 takes half the room. It is for good."
    )


class IndexBody(Wire):
    index: str = Field(description=INDEX)


class ItemBody(Wire):
    """One item: exactly one of `text` and `data`, or a `vector`, alone or with one of them."""

    id: Id | None = None
    record: Id | None = None
    name: str | None = Field(None, max_length=255, description="File name, for the title.")
    text: str | None = None
    data: str | None = Field(None, description="A data URI or base64.")
    uri: str | None = Field(None, description="Refused: fetching URLs is not enabled.")
    vector: list[float] | None = Field(
        None,
        description="Its own, in the collection's space, instead of one that the space makes; with "
        "data only in a space vectors:DIM.",
    )
    modality: Literal["text", "image", "audio", "video"] | None = Field(
        None, description="Of what is a vector and no data; text by default."
    )
    metadata: MetadataField = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_medium(self) -> Self:
        given = [name for name in ("text", "data", "uri") if getattr(self, name) is not None]
        if len(given) != 1 and (given or self.vector is None):
            raise ValueError(f"exactly one of text and data is wanted, not {given or 'none'}")
        if self.modality is not None and (self.vector is None or self.data is not None):
            raise ValueError("modality is told by the data; it goes with a vector without data")
        return self

    def upload(self) -> Upload:
        """Raises BadInput when there is nothing in it, or `data` cannot be decoded."""
        if self.text is not None:
            if not self.text.strip():
                raise BadInput("text is blank; there is nothing to index", param="text")
            data = self.text.encode()
        elif self.vector is not None and self.data is None:
            data = b""
        else:
            data = decode_media(self.data or "", "data")
        return Upload(
            data=data,
            id=self.id,
            record=self.record,
            name=self.name,
            metadata=self.metadata,
            vector=None if self.vector is None else floats(self.vector),
            text=self.text,
            modality=None if self.modality is None else Modality(self.modality),
        )


def floats(numbers: list[float]) -> Floats:
    """Raises InvalidVector for what float32 does not hold."""
    with np.errstate(over="ignore"):
        vector = np.asarray(numbers, dtype=np.float32)
    if not np.isfinite(vector).all():
        raise InvalidVector("vector has numbers beyond float32", param="vector")
    return vector


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
    filter: str | None = Field(None, description="Only those that this is true of, as text.")


class FailuresPage(Wire):
    model_config = ConfigDict(strict=False)

    limit: int = Field(100, ge=1, le=1000)
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")


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
    page: int | None = Field(None, ge=1, le=1e6, description="Page of a document.")


def medium_term(kind: Any, value: str, weight: float = 1.0) -> Term:
    """A term of words or of decoded bytes. Raises InvalidQuery for blank words."""
    if kind != "text":
        return Term(kind=kind, value=decode_media(value, kind), weight=weight)
    if not value.strip():
        raise InvalidQuery(f"text is {value!r}; say what to look for", param="text")
    return Term(kind="text", value=value, weight=weight)


def _as_query(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


def as_list(value: Any) -> Any:
    return [_as_query(entry) for entry in value] if isinstance(value, list) else [_as_query(value)]


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
    inputs = as_list(value)
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
