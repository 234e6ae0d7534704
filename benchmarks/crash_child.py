"""What a library goes through before it is killed, and what it must hold afterwards.

A step is a tuple of words, `put 17 3` say; what it writes follows from these alone, so that the
judge knows it without having seen it. Vectors are seeded: no tower is loaded.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from api.blobs import Blobs
from api.fetched import Fetched
from embed.errors import NotFound
from embed.types import Modality, Space, normalise
from index.care.restore import restore
from index.care.snapshot import snapshot
from index.catalog import Catalog
from index.collection import Collection
from index.home import Home, blob_path
from index.search.query import Query
from index.types import Entry, NewFragment
from index.vectors import plan

DIM = 16
SPACE = Space(name="toy", revision="1", preprocessing="1", precision="fp32", dim=DIM)
ENGINE = os.environ.get("CRASH_ENGINE", "exact")
ITEMS = 60  # of a library, or so
if ENGINE.startswith("faiss"):
    ITEMS = 300
    plan.LEAST = 200  # vectors; below thousands such engines are not worth their while

FAILPOINTS = (
    "transaction.begun",
    "transaction.written",
    "transaction.committed",
    "item.written",
    "blob.written",
    "blob.synced",
    "blob.renamed",
    "blob.dropped",
    "snapshot.catalog",
    "snapshot.blobs",
    "snapshot.sealed",
    "snapshot.packed",
    "snapshot.published",
    "restore.file",
    "restore.staged",
    "restore.files",
    "restore.copied",
    "restore.done",
    "replacement.dropped",
    "replacement.adopted",
)
SEALING = tuple(f"generation.{at}" for at in ("built", "written", "synced", "sealed", "alone"))
if ENGINE.startswith("faiss"):
    FAILPOINTS += SEALING

State = dict[str, tuple[str, ...]]
"""Of each item: what is said of it, digests of its bytes and vectors."""

Step = tuple[str, ...]


def content(key: str, version: str) -> bytes:
    return f"{key} in version {version}".encode()


def vectors(key: str, version: str) -> np.ndarray:
    """`(F, DIM)`, one to three rows."""
    seed = int.from_bytes(hashlib.sha256(content(key, version)).digest()[:8], "little")
    rng = np.random.default_rng(seed)
    return normalise(rng.standard_normal((1 + seed % 3, DIM)))


def told(key: str, version: str, title: str) -> tuple[str, ...]:
    digest = hashlib.sha256(content(key, version)).hexdigest()
    return title, digest, hashlib.sha256(vectors(key, version).tobytes()).hexdigest()


class Model:
    """What the library must hold after the steps that were acknowledged."""

    def __init__(self) -> None:
        self.state: State = {}
        self.kept: dict[str, State] = {}  # by snapshots, whether acknowledged or not
        self.last: str | None = None  # snapshot that was acknowledged

    def begin(self, step: Step) -> None:
        if step[0] == "snapshot":
            self.kept[step[1]] = self.state

    def take(self, step: Step) -> None:
        self.state = self.after(step)
        if step[0] == "snapshot":
            self.last = step[1]

    def after(self, step: Step | None) -> State:
        kind, *words = step or ("nothing",)
        state = dict(self.state)
        if kind == "put":
            version, *keys = words
            state |= {key: told(key, version, f"title {version}") for key in keys}
        elif kind == "rename":
            key, title = words
            state[key] = (title, *state[key][1:])
        elif kind == "delete":
            for key in words:
                state.pop(key, None)
        elif kind == "restore":
            state = dict(self.kept[words[0]])
        return state


def held(home: Home) -> State:
    """What a library holds, its engine asked as well as its tables."""
    with closing(Catalog(home.catalog)) as catalog:
        try:
            collection = Collection(catalog, catalog.collection("c"))
        except NotFound:
            return {}
        items, _ = collection.items(limit=1000)
        query = Query(joint=normalise(np.ones((1, DIM)))[0], k=1000)
        hits = [hit.item.id for hit in collection.search(query).hits]
        collection.close()
        ids = [item.id for item in items]
        assert sorted(hits) == sorted(ids), "the engine holds what the tables do not, or less"
        assert len(set(ids)) == len(ids)
        return {
            item.id: (
                str(item.title),
                hashlib.sha256(blob_path(home.blobs, item.digest).read_bytes()).hexdigest(),
                hashlib.sha256(collection.vectors_of(item.id).tobytes()).hexdigest(),
            )
            for item in items
        }


def work(home: Home, seed: int, pipe: int) -> None:
    """Steps without end."""
    Child(home, random.Random(seed), pipe).run()


class Child:
    def __init__(self, home: Home, rng: random.Random, pipe: int) -> None:
        self.home = home
        self.rng = rng
        self.pipe = pipe
        self.catalog = Catalog(home.catalog)
        with self.catalog._database.writing() as connection:
            connection.execute("PRAGMA wal_autocheckpoint = 30")
        fetched = Fetched(home.root / "fetched")
        self.blobs = Blobs(home.blobs, self.catalog.holds_upload, fetched=fetched)
        if not self.catalog.collections():
            self.catalog.create_collection("c", space=SPACE, chunker="whole", index=ENGINE)
        self.collection = self._open()
        self.keys = {item.id for item in self.collection.items(limit=1000)[0]}

    def _open(self) -> Collection:
        return Collection(self.catalog, self.catalog.collection("c"))

    def tell(self, *words: str) -> None:
        os.write(self.pipe, (" ".join(words) + "\n").encode())

    def run(self, steps: int | None = None) -> None:
        """So many steps, or until it is killed."""
        makers = (self.put, self.rename, self.delete, self.snapshot, self.restore, self.migrate)
        for _ in range(steps) if steps else itertools.count():
            make = self.rng.choices((*makers, self.search), weights=(8, 3, 4, 1, 1, 1, 3))[0]
            make()

    def put(self) -> None:
        version = str(self.rng.getrandbits(30))
        keys = [f"i{self.rng.randrange(ITEMS)}" for _ in range(self.rng.randrange(1, 5))]
        keys = sorted(set(keys))
        self.tell("begin", "put", version, *keys)
        with self.blobs.ownership:
            old = [self.collection.item(key).digest for key in keys if key in self.keys]
            entries = [self.entry(key, version) for key in keys]
            self.collection.write(entries)
        self.tell("done")
        self.keys |= set(keys)
        self.blobs.drop_unowned(old)

    def entry(self, key: str, version: str) -> Entry:
        data = content(key, version)
        digest = hashlib.sha256(data).hexdigest()
        self.blobs.put(digest, data)
        return Entry(
            id=key,
            modality=Modality.IMAGE,
            digest=digest,
            title=f"title {version}",
            fragments=[NewFragment(None, vector) for vector in vectors(key, version)],
        )

    def rename(self) -> None:
        if self.keys:
            key, title = self.rng.choice(sorted(self.keys)), f"named-{self.rng.getrandbits(20)}"
            self.tell("begin", "rename", key, title)
            self.collection.update(key, title=title)
            self.tell("done")

    def delete(self) -> None:
        keys = self.rng.sample(sorted(self.keys), min(len(self.keys), self.rng.randrange(1, 4)))
        if keys:
            self.tell("begin", "delete", *keys)
            digests = [self.collection.item(key).digest for key in keys]
            self.collection.delete(keys)
            self.tell("done")
            self.keys -= set(keys)
            self.blobs.drop_unowned(digests)

    def snapshots(self) -> list[Path]:
        return sorted(self.home.root.parent.glob("snap-*"))

    def snapshot(self) -> None:
        number = str(time.monotonic_ns())
        ending = self.rng.choice(("", ".tar"))
        self.tell("begin", "snapshot", number)
        snapshot(self.home, self.home.root.with_name(f"snap-{number}{ending}"))
        self.tell("done")
        for old in self.snapshots()[:-1]:
            old.unlink() if old.is_file() else shutil.rmtree(old)

    def restore(self) -> None:
        if there := self.snapshots():
            self.tell("begin", "restore", there[-1].stem.removeprefix("snap-"))
            restore(there[-1], self.home, replace=True)
            self.tell("done")
            self.collection = self._open()
            self.keys = {item.id for item in self.collection.items(limit=1000)[0]}

    def migrate(self) -> None:
        """The same vectors under another chunker's name: the way that a migration goes."""
        chunker = f"whole-{self.rng.getrandbits(20)}"
        self.tell("begin", "migrate")
        info = self.catalog.shadow(self.collection.info, space=SPACE, chunker=chunker)
        shadow = Collection(self.catalog, info)
        items, _ = self.collection.items(limit=1000)
        for item in items:
            fragments = [NewFragment(None, v) for v in self.collection.vectors_of(item.id)]
            shadow.write(
                [Entry(id=item.id, modality=item.modality, digest=item.digest, fragments=fragments)]
            )
        self.catalog.replacement(self.collection.info, info).switch(
            settled={}, left=(), failures=(), keep=None
        )
        self.tell("done")
        self.collection = self._open()

    def search(self) -> None:
        """What makes an engine take in what came, and seal it where it keeps files."""
        query = Query(joint=normalise(np.ones((1, DIM)))[0], k=5)
        self.collection.search(query)
        for thread in threading.enumerate():
            if thread.name == "index-builder":
                thread.join()
