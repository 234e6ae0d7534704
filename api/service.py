"""The composition root: settings in, one object out that does what both doors ask.

It joins towers, collections and uploads, and holds no logic of search, storage or models itself.
All methods block and may be called from several threads at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from api.blobs import Blobs
from api.config import Settings
from api.exploring import Exploring
from api.fetched import Fetched
from api.indexing import HowToIngest, index_all
from api.jobs import Jobs
from api.migration import bring_over, give_up
from api.originals import media_file, take_in
from api.previews import Previews
from api.query import embed_queries
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
from api.searching import Searching
from api.shelves import Shelves
from api.towers import Towers
from embed import registry
from embed.batcher import Batcher
from embed.calibration import Calibrations
from embed.errors import (
    Conflict,
    CrossbindError,
    Forbidden,
    NotFound,
    SpaceMismatch,
)
from embed.types import Item, Modality
from index.batch.ingest import Progress, ingest
from index.batch.watch import watch
from index.catalog import Catalog
from index.collection import Collection
from index.engines import drop_engines
from index.keys import Keys
from index.metadata.filters import Filter
from index.migrate import MigrationReport
from index.types import Failure, IngestReport

if TYPE_CHECKING:  # they load torch, or what few commands need
    from api.asking import Asking
    from api.evaluation import Evaluation
    from api.evaluation_rag import RagEvaluation
    from api.training import Told
    from api.voices import GeneratorSummary
    from embed.backends.onnx_runtime.export import ExportReport

DEFAULT_SPACE = "builtin"
EMBEDDED_AT_ONCE = 64  # inputs of one request: what bounds the decoded pictures in memory


class Service:
    """Everything Crossbind does, behind one door. Cheap to make: models load on first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._started = time.monotonic()
        self._catalog = Catalog(
            settings.home / "catalog.db",
            Keys.of(settings.qdrant_url, settings.qdrant_api_key),
            read_only=settings.read_only,
        )
        fetched = Fetched(settings.cache / "fetched")
        held = self._catalog.holds_upload
        self._blobs = Blobs(
            settings.home / "blobs", held, fetched=fetched, read_only=settings.read_only
        )
        self._towers = Towers(settings)
        self._calibrations = Calibrations(settings.home / "calibrations")
        self._previews = Previews(settings.cache / "previews", at_once=settings.threads)
        self._shelves = Shelves(self._catalog)
        self._searching = Searching(self._shelves, self._towers, self._calibrations)
        self.exploring = Exploring(self._shelves)
        self._lock = threading.Lock()
        self._jobs: Jobs | None = None
        self._asking: Asking | None = None

    @property
    def asking(self) -> Asking:
        """Answers, completions and conversations."""
        from api.asking import Asking  # noqa: PLC0415 (only for those who ask)

        with self._lock:
            self._asking = self._asking or Asking(
                self.settings, self._shelves, self._towers, self._calibrations, self._blobs
            )
            return self._asking

    @property
    def jobs(self) -> Jobs:
        """Work in the background. Not every command needs to open its file. Raises Forbidden."""
        if self.settings.read_only:
            raise Forbidden("this library is open to be read only: there are no jobs")
        with self._lock:
            self._jobs = self._jobs or Jobs(self.settings)
            return self._jobs

    @property
    def evaluation(self) -> Evaluation:
        """Measuring spaces and collections."""
        from api.evaluation import Evaluation  # noqa: PLC0415 (only for those who measure)

        return Evaluation(self._towers, self._calibrations, self._shelves.open)

    @property
    def evaluation_rag(self) -> RagEvaluation:
        """Measuring answers."""
        from api.evaluation_rag import RagEvaluation  # noqa: PLC0415 (only for those who measure)

        return RagEvaluation(self.asking, self._shelves.open)

    # Models

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

    # Collections

    def collections(self) -> list[CollectionSummary]:
        return [self.collection(info.name) for info in self._catalog.collections()]

    def collection(self, name: str) -> CollectionSummary:
        """Raises NotFound, naming the choices."""
        collection = self._shelves.open(name)
        return CollectionSummary(
            info=collection.info, counts=collection.counts(), failures=len(collection.failures())
        )

    def create_collection(
        self, name: str, *, space: str = DEFAULT_SPACE, index: str = "exact"
    ) -> CollectionSummary:
        """Raises Conflict when the name is taken, NotFound for an unknown space or index."""
        embedder = self._towers.get(space).embedder
        self._catalog.create_collection(
            name, space=embedder.space, chunker=embedder.chunker, index=index
        )
        return self.collection(name)

    def set_index(self, name: str, index: str, *, wait: bool = False) -> CollectionSummary:
        """Another engine answers from now on, filled from the catalog.

        wait: until it has built all that it builds, which else goes on beside searches.
        Raises NotFound, BadInput, MissingDependency, and then nothing has changed.
        """
        before = self._shelves.open(name)
        if before.info.index != index:
            self._catalog.set_index(name, index)
            before.close()
            drop_engines(self._catalog.contents(before.info))
            self._shelves.forget(before)
        if wait:
            self._shelves.open(name).settle()
        return self.collection(name)

    def delete_collection(self, name: str) -> None:
        """Forgets a collection, and the uploads that only it held. Indexed files stay untouched."""
        collection = self._shelves.open(name)
        uploads = {*collection.upload_digests(), *self._catalog.shadow_digests(collection.info)}
        collection.close()
        drop_engines(self._catalog.contents(collection.info))
        self._catalog.delete_collection(name)
        self._shelves.forget(collection)
        self._blobs.drop_unowned(uploads)

    def aliases(self) -> dict[str, str]:
        """Other names of collections, each with the one that it means."""
        return self._catalog.aliases()

    def point_alias(self, alias: str, name: str) -> None:
        """From now on `alias` means this collection. Raises BadInput, Conflict, NotFound."""
        self._catalog.point_alias(alias, name)

    def delete_alias(self, alias: str) -> None:
        """What it meant stays. Raises NotFound."""
        self._catalog.delete_alias(alias)

    def migrate(
        self,
        collection: str,
        space: str,
        *,
        drop: bool = False,
        keep: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> MigrationReport:
        """Embeds a collection anew in another space, and switches it over when nothing is missing.

        Raises what `index.migrate.migrate` raises.
        """
        return bring_over(
            self._catalog,
            self._shelves.open(collection),
            self._towers.get(space),
            self._blobs,
            self.settings.home / "jobs",
            workers=self.settings.threads,
            drop=drop,
            keep=keep,
            progress=progress,
        )

    def give_up_migration(self, collection: str) -> None:
        """Forgets what a migration that was broken off had done. The collection stays as it is."""
        source = self._shelves.open(collection)
        give_up(self._catalog, source, self._blobs, self.settings.home / "jobs")

    def failures(self, collection: str) -> list[Failure]:
        """The files of a collection that could not be indexed, and why."""
        return self._shelves.open(collection).failures()

    def _open_with_tower(self, name: str) -> tuple[Collection, Batcher]:
        collection = self._shelves.open(name)
        return collection, self._towers.of(collection.info)

    # Items

    def ingest(
        self,
        paths: Sequence[Path | str],
        *,
        collection: str = "default",
        space: str | None = None,
        workers: int | None = None,
        prune: bool = False,
        columns: str | None = None,
        ray: str | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> IngestReport:
        """Indexes what `paths` name (`index.batch.sources`), making the collection when it is not
        there yet. columns, ray: see `api.indexing.HowToIngest`."""
        target, batcher = self._target(collection, space)
        how = HowToIngest(workers=workers, prune=prune, columns=columns, ray=ray)
        return index_all(paths, target, batcher, self._towers.options, how, progress)

    def watch(
        self,
        paths: Sequence[Path],
        *,
        collection: str = "default",
        space: str | None = None,
        workers: int | None = None,
        every: float,
        stop: threading.Event,
        tell: Callable[[IngestReport | CrossbindError], None],
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Keeps files and folders indexed until `stop` is set. Raises what `watch` raises."""

        def take(*, prune: bool, unfinished: frozenset[str]) -> IngestReport:
            target, batcher = self._target(collection, space)  # it may be migrated meanwhile
            return ingest(
                paths,
                target,
                batcher,
                workers=workers or self.settings.threads,
                prune=prune,
                unfinished=unfinished,
                progress=progress,
            )

        watch(paths, take, every=every, stop=stop, tell=tell)

    def _target(self, collection: str, space: str | None) -> tuple[Collection, Batcher]:
        """Where to ingest into, made when it is not there yet. Raises SpaceMismatch."""
        try:
            target, batcher = self._open_with_tower(collection)
        except NotFound:
            with suppress(Conflict):  # another ingest was faster
                self.create_collection(collection, space=space or DEFAULT_SPACE)
            target, batcher = self._open_with_tower(collection)
        if space is not None and self._towers.describe(space).space.name != target.info.space.name:
            raise SpaceMismatch(
                f"collection {collection!r} is in space {target.info.space.name!r}, not {space!r}: "
                "leave the space out, or name another collection",
                param="space",
            )
        return target, batcher

    def add_items(self, collection: str, uploads: Sequence[Upload]) -> list[UploadOutcome]:
        """Stores media handed in from outside. Each upload fails or succeeds on its own."""
        target, batcher = self._open_with_tower(collection)
        outcomes = take_in(uploads, target, batcher, self._blobs)
        lost = [n for n, outcome in enumerate(outcomes) if isinstance(outcome.error, NotFound)]
        if lost and not self._shelves.has_stayed(target):  # but was migrated meanwhile
            again = self.add_items(collection, [uploads[n] for n in lost])
            for n, outcome in zip(lost, again, strict=True):
                outcomes[n] = outcome
        return outcomes

    def item(self, collection: str, item_id: str) -> Item:
        """Raises NotFound."""
        return self._shelves.open(collection).item(item_id)

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
        """A page of items in the order of their coming, and the cursor of the next page.

        record: only its items. f: only those it means.
        """
        target = self._shelves.open(collection)
        return target.items(limit=limit, cursor=cursor, modality=modality, record=record, f=f)

    def update_item(
        self,
        collection: str,
        item_id: str,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Item:
        """Changes what is said about an item; its vectors stay."""
        return self._shelves.use(
            collection, lambda target: target.update(item_id, title=title, metadata=metadata)
        )

    def delete_item(self, collection: str, item_id: str) -> None:
        """Forgets an item; a file it was indexed from stays where it is. Raises NotFound."""
        item = self.item(collection, item_id)
        self._shelves.use(collection, lambda target: target.delete([item_id]))
        self._blobs.drop_unowned([item.digest])

    def delete_where(self, collection: str, f: Filter) -> list[str]:
        """Forgets the items that a filter means. Returns their ids."""
        before = self._shelves.open(collection).upload_digests()
        gone = self._shelves.use(collection, lambda target: target.delete_where(f))
        after = self._shelves.open(collection).upload_digests()
        self._blobs.drop_unowned({*before} - {*after})
        return gone

    def media(self, collection: str, item_id: str) -> MediaFile:
        """The bytes behind an item. Raises NotFound when they are no longer there."""
        return media_file(self._shelves.open(collection).item(item_id), self._blobs)

    def preview(
        self, collection: str, item_id: str, *, side: int = 320, at: float | None = None
    ) -> bytes:
        """A JPEG of at most `side` pixels on its longer side. Raises UnsupportedModality.

        at: seconds into a film.
        """
        item = self._shelves.open(collection).item(item_id)
        file = media_file(item, self._blobs)
        return self._previews.get(file, item.modality, side=side, at=at)

    # Search

    def search(self, request: SearchRequest) -> SearchAnswer:
        """Raises NotFound for an unknown collection, InvalidQuery for one that asks nothing."""
        return self.search_many([request])[0]

    def search_many(self, requests: Sequence[SearchRequest]) -> list[SearchAnswer]:
        """Searches of one collection, embedded together. Raises what `search` raises."""
        return self._searching.search_many(requests)

    # The service itself

    def health(self) -> Health:
        """Tells the truth: a broken tower or catalog makes the service not ready."""
        reasons = []
        count = 0
        try:
            count = len(self._catalog.collections())
        except CrossbindError as error:
            reasons.append(error.message)
        for name, batcher in self._towers.loaded().items():
            state = batcher.health()
            if not state.healthy:
                reasons.append(f"space {name!r}: {state.last_error or 'its workers stopped'}")
        return Health(
            ready=not reasons,
            reasons=reasons,
            uptime_seconds=time.monotonic() - self._started,
            collections=count,
        )

    def close(self) -> None:
        """Finishes what is under way and lets go of every file."""
        if self._asking is not None:
            self._asking.close()
        self._towers.close()
        self._shelves.close()
        self._catalog.close()
        if self._jobs is not None:
            self._jobs.close()
