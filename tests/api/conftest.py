"""A service small enough to read, behind the real application: what the REST door is tested with.

Vectors are seeded by the content, so equal media have equal vectors and nothing is loaded.
"""

from __future__ import annotations

import asyncio
import colorsys
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from api.app import create_app
from api.cli import main
from api.config import Settings
from api.requests import (
    CollectionSummary,
    Embeddings,
    Health,
    MediaFile,
    ModelSummary,
    SearchAnswer,
    SearchRequest,
    Term,
    Upload,
    UploadOutcome,
)
from api.service import Service
from embed import registry
from embed.backends.tower import ImageEncoder, Rows, TextEncoder, Tower, pixels_of, text_of
from embed.errors import Conflict, InvalidVector, NotFound, UnsupportedMedia, UnsupportedModality
from embed.registry import Capabilities, Family
from embed.types import CharSpan, Floats, Item, Media, Modality, Space
from index.metadata.filters import Filter
from index.types import CollectionInfo, Failure, Hit

DIM = 8
SPACE = Space(name="builtin", revision="1", preprocessing="1", precision="fp32", dim=DIM)
CAPABILITIES = Capabilities(
    space=SPACE,
    summary="A space for tests",
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    native_dims={Modality.IMAGE: 4},
    preprocessing="none",
    licence="Apache-2.0",
    source="tests",
)


def vector_of(data: bytes) -> Floats:
    seed = int.from_bytes(hashlib.sha256(data).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(DIM)
    unit: Floats = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


class FakeService:
    """The service's signatures over dictionaries."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.reasons: list[str] = []
        self.shelves: dict[str, dict[str, Item]] = {}
        self.data: dict[str, bytes] = {}
        self.broken: Exception | None = None

    def models(self) -> list[ModelSummary]:
        return [ModelSummary(name="builtin", capabilities=CAPABILITIES, state="ready")]

    def model(self, name: str) -> ModelSummary:
        if name != "builtin":
            raise NotFound(f"no space is called {name!r}; the choices are: builtin", param="space")
        return self.models()[0]

    def spaces(self) -> list[str]:
        return sorted({"builtin", *self.settings.spaces})

    def generators(self) -> list[str]:
        return []

    def collections(self) -> list[CollectionSummary]:
        return [self.collection(name) for name in self.shelves]

    def collection(self, name: str) -> CollectionSummary:
        items = list(self._shelf(name).values())
        counts = {m: n for m in Modality if (n := sum(i.modality is m for i in items))}
        info = CollectionInfo(
            id=1, name=name, space=SPACE, chunker="none", index="exact", created="2026-01-01"
        )
        return CollectionSummary(info=info, counts=counts, failures=1)

    def create_collection(
        self, name: str, *, space: str = "builtin", index: str = "exact", storage: str = "float32"
    ) -> CollectionSummary:
        self.model(space)
        if name in self.shelves:
            raise Conflict(f"collection {name!r} is already there")
        self.shelves[name] = {}
        return self.collection(name)

    def delete_collection(self, name: str) -> None:
        self._shelf(name)
        del self.shelves[name]

    def failures(self, collection: str) -> list[Failure]:
        self._shelf(collection)
        return [Failure(uri="file:///broken.jpg", code="corrupt_media", message="cut short")]

    def add_items(self, collection: str, uploads: Sequence[Upload]) -> list[UploadOutcome]:
        self._shelf(collection)
        return [self._add(collection, upload) for upload in uploads]

    def _add(self, collection: str, upload: Upload) -> UploadOutcome:
        modality = Modality.IMAGE if upload.data.startswith((b"\xff\xd8", b"\x89PNG")) else None
        if modality is None and b"\0" in upload.data:
            error = UnsupportedMedia(f"{upload.name!r} is no medium")
            return UploadOutcome(id=upload.id, error=error)
        item_id = upload.id or hashlib.sha256(upload.data).hexdigest()[:12]
        modality = modality or Modality.TEXT
        self.shelves[collection][item_id] = Item(
            id=item_id,
            record=upload.record or item_id,
            modality=modality,
            uri=None,
            digest=hashlib.sha256(upload.data).hexdigest(),
            title=upload.name,
            text=upload.data.decode() if modality is Modality.TEXT else None,
            metadata=upload.metadata,
        )
        self.data[item_id] = upload.data
        return UploadOutcome(id=item_id, modality=modality)

    def item(self, collection: str, item_id: str) -> Item:
        try:
            return self._shelf(collection)[item_id]
        except KeyError:
            raise NotFound(f"no item {item_id!r} in {collection!r}", param="id") from None

    def items(
        self,
        collection: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
        modality: Modality | None = None,
        record: str | None = None,
        f: Filter | None = None,
    ) -> tuple[list[Item], str | None]:
        items = [i for i in self._shelf(collection).values() if modality in (None, i.modality)]
        items = [i for i in items if record in (None, i.record)]
        start = int(cursor or 0)
        end = start + limit
        return items[start:end], str(end) if end < len(items) else None

    def update_item(
        self,
        collection: str,
        item_id: str,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Item:
        item = self.item(collection, item_id)
        item = replace(item, title=item.title if title is None else title)
        item = item if metadata is None else replace(item, metadata=metadata)
        self.shelves[collection][item_id] = item
        return item

    def delete_item(self, collection: str, item_id: str) -> None:
        self.item(collection, item_id)
        del self.shelves[collection][item_id]

    def media(self, collection: str, item_id: str) -> MediaFile:
        item = self.item(collection, item_id)
        data = self.data[item_id]
        kind = "image/png" if data.startswith(b"\x89PNG") else "text/plain"
        kind = "image/svg+xml" if data.startswith(b"<svg") else kind
        kind = "text/html" if data.startswith(b"<html") else kind
        path = self.settings.home / item.digest
        path.write_bytes(data)
        return MediaFile(path=path, media_type=kind, version=item.digest, name=item.title)

    def preview(
        self,
        collection: str,
        item_id: str,
        *,
        side: int = 320,
        at: float | None = None,
        page: int | None = None,
    ) -> bytes:
        item = self.item(collection, item_id)
        if item.modality is not Modality.IMAGE:
            raise UnsupportedModality(f"only images have a preview; this is {item.modality}")
        picture = Image.open(io.BytesIO(self.data[item_id])).convert("RGB")
        picture.thumbnail((side, side))
        shown = io.BytesIO()
        picture.save(shown, "JPEG")
        return shown.getvalue()

    def search_many(self, requests: Sequence[SearchRequest]) -> list[SearchAnswer]:
        return [self.search(request) for request in requests]

    def search(self, request: SearchRequest) -> SearchAnswer:
        if self.broken is not None:
            raise self.broken
        query = self._fuse(request.terms)
        asked = {str(term.value) for term in request.terms if term.kind == "item"}
        hits = [
            self._hit(request.collection, item, query)
            for item in self._shelf(request.collection).values()
            if item.id not in asked and item.modality in (request.modalities or set(Modality))
        ]
        hits.sort(key=lambda hit: -hit.rank_score)
        kept = [hit for hit in hits if (hit.score or 0) >= (request.min_score or -1)][: request.k]
        wanted = kept if "vector" in request.include else []
        return SearchAnswer(
            query=request.terms,
            hits=kept,
            exact=True,
            recall_estimate=1.0,
            timings_ms={"embed": 4.2, "search": 1.1, "total": 5.3},
            vectors={hit.item.id: vector_of(self.data[hit.item.id]) for hit in wanted},
        )

    def _hit(self, collection: str, item: Item, query: Floats) -> Hit:
        score = float(vector_of(self.data[item.id]) @ query)
        return Hit(
            item=item,
            fragment=1,
            span=CharSpan(0, len(item.text)) if item.text else None,
            score=score,
            probability=None,
            rank_score=score,
            collection=collection,
            text=item.text,
        )

    def embed(self, model: str, inputs: Sequence[Sequence[Term]]) -> Embeddings:
        self.model(model)
        return Embeddings(
            vectors=np.stack([self._fuse(terms) for terms in inputs]),
            prompt_tokens=sum(
                len(term.value.split())
                for terms in inputs
                for term in terms
                if isinstance(term.value, str)
            ),
        )

    def _fuse(self, terms: Sequence[Term]) -> Floats:
        vectors = []
        for term in terms:
            value = term.value
            if isinstance(value, np.ndarray):
                if value.shape != (DIM,):
                    raise InvalidVector(f"vector has {len(value)} numbers; this space has {DIM}")
                vectors.append(value * term.weight)
            else:
                value = self.data[str(value)] if term.kind == "item" else value
                data = value if isinstance(value, bytes) else str(value).encode()
                vectors.append(vector_of(data) * term.weight)
        fused = np.sum(vectors, axis=0)
        unit: Floats = (fused / np.linalg.norm(fused)).astype(np.float32)
        return unit

    def health(self) -> Health:
        return Health(
            ready=not self.reasons,
            reasons=self.reasons,
            uptime_seconds=1.5,
            collections=len(self.shelves),
        )

    def _shelf(self, name: str) -> dict[str, Item]:
        try:
            return self.shelves[name]
        except KeyError:
            raise NotFound(f"no collection is called {name!r}", param="collection") from None


class Client:
    """Requests to an application in this process, one event loop each."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def request(self, method: str, path: str, **about: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return await http.request(method, path, **about)

        return asyncio.run(send())

    def get(self, path: str, **about: Any) -> httpx.Response:
        return self.request("GET", path, **about)

    def post(self, path: str, **about: Any) -> httpx.Response:
        return self.request("POST", path, **about)


def png(colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (40, 20)) -> bytes:
    shown = io.BytesIO()
    Image.new("RGB", size, colour).save(shown, "PNG")
    return shown.getvalue()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, cache=tmp_path, threads=1, max_upload_bytes=200_000)


@pytest.fixture
def service(settings: Settings) -> FakeService:
    return FakeService(settings)


@pytest.fixture
def client(service: FakeService) -> Client:
    return Client(create_app(cast("Service", service)))


@pytest.fixture
def client_of() -> Callable[[Service], Client]:
    """A client of an application around a service of the test's own."""
    return lambda service: Client(create_app(service))


@pytest.fixture
def client_with(settings: Settings) -> Callable[..., Client]:
    """A client of an application whose settings differ."""

    def make(**about: Any) -> Client:
        service = FakeService(replace(settings, **about))
        service.create_collection("shelf")
        return Client(create_app(cast("Service", service)))

    return make


@pytest.fixture
def red() -> bytes:
    """A picture of 40 by 20 pixels, as PNG."""
    return png()


@pytest.fixture
def shelf(client: Client) -> dict[str, str]:
    """A collection with a picture and two texts: their ids by what they show."""
    client.request("PUT", "/v1/collections/shelf")
    photo = client.post("/v1/collections/shelf/items", files={"files": ("red.png", png())})
    texts = {"items": [{"text": "a dog on a beach"}, {"text": "an invoice for two boats"}]}
    words = client.post("/v1/collections/shelf/items", json=texts)
    results = photo.json()["results"] + words.json()["results"]
    return dict(zip(("photo", "dog", "invoice"), (row["id"] for row in results), strict=True))


TINTS = Space(name="tints", revision="1", preprocessing="1", precision="fp32", dim=6)


def _meaning(degrees: float) -> list[float]:
    once, twice = np.radians([degrees, 2 * degrees])
    return [np.cos(once), np.sin(once), np.cos(twice), np.sin(twice)]


class ReadTint(TextEncoder[Floats]):
    """The degrees on the colour wheel that the first number of a text says."""

    def prepare(self, piece: Media) -> Floats:
        said = [word for word in text_of(piece).split() if word.isdigit()]
        return np.array([*_meaning(float(said[0]) if said else 0.0), 4.0, 0.0], np.float32)

    def run(self, batch: Sequence[Floats]) -> Rows:
        return Rows(np.stack(batch))

    def spans(self, text: str) -> Iterator[CharSpan | None]:
        yield None

    def count_tokens(self, text: str) -> int:
        return len(text.split())


class SeeTint(ImageEncoder[Floats]):
    """The degrees of a picture's mean colour."""

    def prepare(self, piece: Media) -> Floats:
        red, green, blue = (float(c) / 255 for c in pixels_of(piece).mean(axis=(0, 1)))
        degrees = 360 * colorsys.rgb_to_hsv(red, green, blue)[0]
        return np.array([*_meaning(degrees), 0.0, 2.0], np.float32)

    def run(self, batch: Sequence[Floats]) -> Rows:
        return Rows(np.stack(batch), np.stack(batch)[:, :4])


def write_tints(folder: Path, every: int = 6) -> Path:
    """A picture of each of 360 / `every` tints, and its degrees in a text beside it."""
    folder.mkdir(parents=True)
    for degrees in range(0, 360, every):
        colour = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(degrees / 360, 1, 1))
        Image.new("RGB", (8, 8), colour).save(folder / f"{degrees}.png")
        (folder / f"{degrees}.txt").write_text(f"a tint of {degrees} degrees")
    return folder


@pytest.fixture
def tint_space(monkeypatch: pytest.MonkeyPatch) -> Space:
    """A space of tints, where texts lie near texts, and pictures far from them."""
    known = Capabilities(
        space=TINTS,
        summary="tints",
        modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
        native_dims={Modality.IMAGE: 4},
        preprocessing="none",
        licence="none",
        source="none",
    )
    tower = Tower(
        TINTS,
        {Modality.TEXT: ReadTint, Modality.IMAGE: SeeTint},
        chunker="1",
        image_side=8,
    )
    family = Family(
        form="tints",
        describe=lambda _, __: known,
        check=lambda _, __: None,
        load=lambda _, __: tower,
    )
    monkeypatch.setitem(registry._FAMILIES, "tints", family)
    return TINTS


@pytest.fixture
def tinted(tmp_path: Path, tint_space: Space, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose default collection holds 60 tints, each a picture with its words."""
    monkeypatch.setenv("CROSSBIND_CACHE", str(tmp_path / "cache"))
    folder, home = write_tints(tmp_path / "tints"), tmp_path / "tinted"
    words = ["--home", str(home), "--quiet", "ingest", str(folder), "--space", "tints"]
    assert main(words) == 0
    return home
