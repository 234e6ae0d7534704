"""The wire shape of a request for what a record lacks."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from api.requests_ask import MAX_SOURCES, CompleteRequest
from api.schemas import Wire, medium_term
from api.schemas_search import Modalities
from embed.types import Modality


class CompleteBody(Wire):
    """An item of the collection, or media from outside, read as one record."""

    item: str | None = Field(None, description="The id of an item of this collection.")
    text: str | None = None
    image: str | None = Field(None, description="A data URI or base64.")
    audio: str | None = Field(None, description="A data URI or base64.")
    video: str | None = Field(None, description="A data URI or base64.")
    missing: Modalities | None = Field(
        None, description="What to suppose; all that the record lacks when left out."
    )
    method: Literal["best", "mean", "synthesis"] = "best"
    k: int = Field(20, ge=1, le=MAX_SOURCES, description="Neighbours that it may rest on.")
    generator: str | None = Field(
        None, description="Of those that this server opens to clients; for synthesis."
    )

    @model_validator(mode="after")
    def _item_or_media(self) -> Self:
        if (self.item is None) != bool(self._media()):
            raise ValueError(
                "give either item or media (text, image, audio, video, several of one record); for "
                'all records of a collection: POST /v1/jobs {"kind": "complete"}'
            )
        return self

    def _media(self) -> list[tuple[str, str]]:
        given = [(kind, getattr(self, kind)) for kind in ("text", "image", "audio", "video")]
        return [(kind, value) for kind, value in given if value is not None]

    def request(self, collection: str) -> CompleteRequest:
        """Raises BadInput, InvalidQuery, Forbidden for a URL."""
        return CompleteRequest(
            item=self.item,
            terms=tuple(medium_term(kind, value) for kind, value in self._media()),
            missing=None if self.missing is None else tuple(map(Modality, self.missing)),
            method=self.method,
            k=self.k,
            collection=collection,
            generator=self.generator,
        )
