"""Whether a library is whole: the file of the catalog, every invariant between its tables, every
vector, the full text, the bytes of uploads, and what engines keep.

It changes nothing. What a repair would do comes with each finding; `repair.py` does it.
SQLite keeps no checksums of its own, so a flipped bit inside a text, or one inside a vector that
leaves it at unit length, cannot be told from what was written.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from embed.errors import CatalogError, Forbidden
from embed.types import Space
from index.batch.ingest import Progress
from index.care.checks import CHECKS, FORGET_VECTORS, FORGOTTEN, Check
from index.care.findings import Finding, Severity, Verification
from index.care.outside import files_of
from index.care.sound import BadVector, bad_vectors, set_vector
from index.database import Database, statements
from index.home import Home
from index.types import CollectionInfo, Storage

_CHUNK = 4096  # vectors looked at together
_AMONG_INDEXES = re.compile(r"(?:missing from|wrong # of entries in|non-unique entry in) index")
_WORDS = re.compile(r"inverted index|fts5", re.IGNORECASE)

Tell = Callable[[Progress], None]


def verify(
    home: Home, *, collection: CollectionInfo | None = None, progress: Tell | None = None
) -> Verification:
    """Looks at everything, or at what belongs to one collection besides the file as a whole.

    Others may read and write meanwhile, but for the moment in which the full text is compared.
    Raises NotFound when there is no library, CatalogError when its catalog is of another program or
    of a newer version.
    """
    start = time.monotonic()
    look = _Look(home, collection, progress or _silent)
    findings = list(look.all())
    return Verification(
        findings=findings,
        items=look.items,
        vectors=look.vectors,
        blobs=look.blobs,
        seconds=time.monotonic() - start,
    )


class _Look:
    """One verification, step by step."""

    def __init__(self, home: Home, collection: CollectionInfo | None, progress: Tell) -> None:
        self.home = home
        self.only = collection
        self.items = self.vectors = self.blobs = 0
        self._progress = progress
        self._names: dict[int, str] = {}
        self._found = self._done = 0

    def all(self) -> Iterator[Finding]:
        for finding in self._steps():
            self._found += 1
            yield finding

    def _steps(self) -> Iterator[Finding]:
        try:
            database = Database(self.home.catalog, read_only=True)
        except CatalogError as error:
            if not is_damage(error):
                raise
            yield _file_finding(error.message)
            return
        with closing(database):
            try:
                yield from self._in_catalog(database)
            except CatalogError as error:
                if not is_damage(error):
                    raise
                yield _file_finding(error.message)
                return
        yield from self._words()
        self._tell("files beside the catalog", 0, 1)
        yield from self._beside()

    def _in_catalog(self, database: Database) -> Iterator[Finding]:
        with database.reading() as connection:
            self._tell("the file", 0, 1)
            damaged = list(_file_findings(connection))
            yield from damaged
            if any(finding.code == "file" for finding in damaged):
                return
            self._names = dict(connection.execute("SELECT id, name FROM collections"))
            yield from self._tables(connection)
            yield from self._spaces(connection)
            yield from self._all_vectors(connection)

    def _tables(self, connection: sqlite3.Connection) -> Iterator[Finding]:
        where = "" if self.only is None else f" WHERE collection = {self.only.id}"
        self.items = connection.execute(f"SELECT count(*) FROM items{where}").fetchone()[0]  # noqa: S608
        for done, check in enumerate(CHECKS):
            self._tell(check.code, done, len(CHECKS))
            for row, name, owner in connection.execute(check.find):
                if self.only is None or owner in {None, self.only.id}:
                    yield self._finding(check, row, name, owner)

    def _finding(self, check: Check, row: int | str, name: object, owner: int | None) -> Finding:
        mend = None if check.mend is None else partial(run, check.mend, row)
        return Finding(
            code=check.code,
            id=str(name),
            severity=Severity.LEFTOVER if check.harmless else Severity.DAMAGE,
            collection=None if owner is None else self._names.get(owner),
            message=check.says.format(repr(name)),
            remedy=check.remedy,
            mend=mend,
        )

    def _spaces(self, connection: sqlite3.Connection) -> Iterator[Finding]:
        found = connection.execute("SELECT id, name, space, space_id FROM collections").fetchall()
        for number, name, text, known in found:
            try:
                space = Space(**json.loads(text))
            except (ValueError, TypeError):
                yield Finding(
                    code="space",
                    id=name,
                    collection=name,
                    message=f"the space of collection {name!r} cannot be read",
                    remedy="nothing: restore the collection from a snapshot",
                )
                continue
            if space.id != known:
                yield Finding(
                    code="space_id",
                    id=name,
                    collection=name,
                    message=f"collection {name!r} says it is in {known}, and is in {space.id}",
                    remedy="set it",
                    mend=partial(_set_space_id, number, space.id),
                )

    def _all_vectors(self, connection: sqlite3.Connection) -> Iterator[Finding]:
        found = connection.execute(
            "SELECT p.id, p.dim, p.collection, c.storage FROM partitions p"
            " JOIN collections c ON c.id = p.collection"
        ).fetchall()
        known = [row for row in found if row[3] in set(Storage)]
        wanted = [row for row in known if self.only is None or row[2] == self.only.id]
        sizes = [
            connection.execute("SELECT count(*) FROM vectors WHERE partition = ?", row[:1])
            for row in wanted
        ]
        total = sum(size.fetchone()[0] for size in sizes)
        for number, dim, owner, storage in wanted:
            held = connection.execute(
                "SELECT fragment, vector FROM vectors WHERE partition = ?", (number,)
            )
            while chunk := held.fetchmany(_CHUNK):
                for bad in bad_vectors(chunk, dim, storage):
                    mend = partial(set_vector, number, storage)
                    yield self._vector(connection, owner, bad, mend)
                self.vectors += len(chunk)
                self._tell("vectors", self.vectors, total)

    def _vector(
        self,
        connection: sqlite3.Connection,
        owner: int,
        bad: BadVector,
        mend: Callable[[BadVector, sqlite3.Connection, int], None],
    ) -> Finding:
        row = connection.execute(
            "SELECT i.id, i.key FROM fragments f JOIN items i ON i.id = f.item WHERE f.id = ?",
            (bad.fragment,),
        ).fetchone()
        item, key = row or (-1, f"of fragment {bad.fragment}")
        rescued = bad.better is not None
        return Finding(
            code="vector",
            id=key,
            collection=self._names.get(owner),
            message=f"a vector of item {key!r} {bad.wrong}",
            remedy="bring it to unit length" if rescued else FORGOTTEN,
            mend=partial(mend, bad) if rescued else partial(run, FORGET_VECTORS, item),
        )

    def _words(self) -> Iterator[Finding]:
        """The comparison is an INSERT to SQLite, so it needs a moment without other writers."""
        self._tell("full text", 0, 1)
        try:
            with closing(Database(self.home.catalog)) as database, database.writing() as writing:
                writing.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        except Forbidden:
            return  # of a library that may only be read
        except CatalogError as error:
            if not is_damage(error):
                raise
            yield Finding(
                code="words",
                id="words",
                message="the full text does not agree with the items",
                remedy="build it again from the items",
                mend=partial(run, "INSERT INTO words (words) VALUES ('rebuild');", None),
            )

    def _beside(self) -> Iterator[Finding]:
        try:
            database = Database(self.home.catalog, read_only=True)
        except CatalogError:
            return
        with closing(database):
            for finding in files_of(self.home, database, self.only):
                self.blobs += finding is None
                if finding is not None:
                    yield finding

    def _tell(self, what: str, done: int, total: int) -> None:
        self._progress(
            Progress(
                phase="indexing",
                done=done,
                total=total,
                failed=self._found,
                current=what,
                noun="check",
            )
        )


def is_damage(error: CatalogError) -> bool:
    """Whether it is the file that is broken, and not merely locked, foreign or too new."""
    cause = error.__cause__
    broken = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    return isinstance(cause, sqlite3.Error) and (
        getattr(cause, "sqlite_errorcode", 0) & 0xFF in broken or "fts5" in str(cause)
    )


def run(script: str, row: int | str | None, connection: sqlite3.Connection, seq: int) -> None:
    """The statements of a mend, for one row."""
    for statement in statements(script.replace(";", ";\n")):
        connection.execute(statement, {"id": row, "seq": seq})


def _set_space_id(number: int, space_id: str, connection: sqlite3.Connection, _: int) -> None:
    connection.execute("UPDATE collections SET space_id = ? WHERE id = ?", (space_id, number))


def _file_findings(connection: sqlite3.Connection) -> Iterator[Finding]:
    for (message,) in connection.execute("PRAGMA integrity_check"):
        if message == "ok" or _WORDS.search(message):
            continue
        if _AMONG_INDEXES.search(message):
            yield Finding(
                code="file_index",
                id="catalog.db",
                message=f"catalog.db: {message}",
                remedy="build SQLite's own indexes again",
                mend=partial(run, "REINDEX;", None),
            )
        else:
            yield _file_finding(message)


def _file_finding(message: str) -> Finding:
    return Finding(
        code="file",
        id="catalog.db",
        message=f"catalog.db is damaged: {message}",
        remedy="read what can be read into a new file, and keep the damaged one beside it",
    )


def _silent(_: Progress) -> None:
    pass
