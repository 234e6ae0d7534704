"""One SQLite file: its connections, transactions, migrations and errors.

It knows no table: those are made by the numbered scripts in a package's `migrations/`, and used by
`catalog.py` and `writing.py` here, by others elsewhere. Write-ahead logging lets any number of
processes read while one writes; `synchronous=FULL` makes a commit survive the loss of power.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

from embed.errors import (
    BadInput,
    CatalogError,
    CrossbindError,
    Forbidden,
    NotFound,
    StorageFull,
    TooLarge,
)
from index.disk import make_folder
from index.failpoints import reach

APPLICATION_ID = 0x58424E44  # "XBND", at byte 68 of the file
BUSY_SECONDS = 30.0
_FROZEN = "ro&immutable=1"  # opened anew for each view, for nothing tells of a change


class Database:
    """The file at `path`, made with its folders when absent, and brought up to date.

    scripts: those that make its tables, by default the catalog's. read_only: nothing is made or
    changed, so that the file may lie where nothing can be written; writing raises Forbidden.
    Safe to use from several threads. Raises CatalogError when the file is damaged, is not a
    catalog, was written by a newer version, or stays locked; StorageFull; Forbidden; NotFound when
    there is none to read.
    """

    def __init__(
        self, path: Path, *, scripts: Sequence[str] | None = None, read_only: bool = False
    ) -> None:
        self.path = path.absolute()
        self.read_only = read_only
        self._scripts = scripts
        self._write_lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        with self._translated():
            if read_only and not self.path.is_file():
                raise NotFound(f"there is no catalog at {self.path} to read: name another home")
            if not read_only:
                make_folder(self.path.parent, 0o700)
            self._writer = self._connect(self._reading_mode() if read_only else "rwc")
            try:
                self._prepare()
            except BaseException:
                self._writer.close()
                raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on disk when the block ends, or none of it ever."""
        with self._write_lock, self._translated():
            self._check_open()
            if self.read_only:
                raise Forbidden(f"the catalog {self.path} is open to be read only: nothing changes")
            with _transaction(self._writer, "BEGIN IMMEDIATE"):
                reach("transaction.begun")
                yield self._writer
                reach("transaction.written")
            reach("transaction.committed")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One unchanging view of the file, whatever is written meanwhile."""
        with self._translated():
            self._check_open()
            mode = self._reading_mode()
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect(mode)
                connection.execute("PRAGMA query_only = ON")
            try:
                with _transaction(connection, "BEGIN"):
                    yield connection
            finally:
                self._give_back(connection)
                if mode == _FROZEN:
                    self._drop_idle()

    def copy_to(self, path: Path) -> None:
        """The whole file as it is at one moment, as one new file; meanwhile others may write.

        By SQLite's online backup; on return it is on disk, its name not yet.
        """
        with self._translated():
            source = self._connect(self._reading_mode())
            target = sqlite3.connect(path, isolation_level=None)
            try:
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
            finally:
                target.close()
                source.close()

    def close(self) -> None:
        """Closes every connection; one that is being read from closes when its reader is done."""
        with self._write_lock:
            self._closed = True
            self._drop_idle()
            self._writer.close()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self._drop_idle()

    def _drop_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _reading_mode(self) -> str:
        """SQLite reads a file beside its log even where it may only read, but cannot begin a log in
        a folder that it may not write to: then it must believe that nobody else can.
        """
        if not self.read_only:
            return "rw"
        log = self.path.with_name(f"{self.path.name}-wal")
        return "ro" if log.exists() or os.access(self.path.parent, os.W_OK) else _FROZEN

    def _check_open(self) -> None:
        if self._closed:
            raise CatalogError(f"the catalog {self.path} is closed: open it again")

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.executescript("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self) -> None:
        scripts = migrations() if self._scripts is None else self._scripts
        with _transaction(self._writer, "BEGIN"):
            done = self._check_owner(newest=len(scripts))
        if done == len(scripts):
            (mode,) = self._writer.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal" and not self.read_only:  # a snapshot's copy that was put here by hand
                self._enter_wal()
            return
        if self.read_only:
            raise CatalogError(
                f"{self.path} was written by an older Crossbind (catalog version {done}; this one "
                f"reads {len(scripts)}): open it once where it may be written"
            )
        self._enter_wal()
        with self.writing() as connection:
            done = self._check_owner(newest=len(scripts))
            for script in scripts[done:]:
                for statement in statements(script):
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(scripts)}")

    def _check_owner(self, *, newest: int) -> int:
        """The schema version of the file. Raises CatalogError when it is not ours to touch."""
        version = int(self._writer.execute("PRAGMA user_version").fetchone()[0])
        owner = int(self._writer.execute("PRAGMA application_id").fetchone()[0])
        tables = int(self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        if owner != APPLICATION_ID and (owner or version or tables):
            raise CatalogError(
                f"{self.path} is a database of another program: choose another home folder"
            )
        if version > newest:
            raise CatalogError(
                f"{self.path} was written by a newer Crossbind (catalog version {version}; this "
                f"one knows up to {newest}): upgrade Crossbind, or choose another home folder"
            )
        return version

    def _enter_wal(self) -> None:
        """SQLite's own waiting does not cover two processes that both switch a new file."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._writer.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                busy = _result_code(error) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _explained(error, self.path) from error
        except UnicodeEncodeError as error:
            raise BadInput(f"{error.object!r} is not valid Unicode text") from error
        except OSError as error:
            raise _explained_os(error, self.path) from error


def migrations(package: str = "index") -> list[str]:
    """The scripts of a package that lead from an empty file to this version, in order."""
    folder = files(package) / "migrations"
    scripts = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return [entry.read_text("utf-8") for entry in sorted(scripts, key=lambda entry: entry.name)]


def statements(script: str) -> Iterator[str]:
    """`executescript` would commit first, so the statements are told apart here."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _result_code(error: sqlite3.Error) -> int:
    """SQLite's extended result code; its low byte is the primary one. 0 when Python objected."""
    return getattr(error, "sqlite_errorcode", 0)


def _explained(error: sqlite3.Error, path: Path) -> CrossbindError:
    code = _result_code(error) & 0xFF
    if code == sqlite3.SQLITE_FULL or _result_code(error) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return _full(path)
    if code == sqlite3.SQLITE_TOOBIG:
        return TooLarge(f"a value is too large for the catalog {path}: split it")
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}:
        return _shut(path)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return CatalogError(
            f"the catalog {path} stayed locked for {BUSY_SECONDS:.0f} s: another process writes "
            "to it; let it finish, then try again"
        )
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return CatalogError(
            f"the catalog {path} is damaged ({error}): restore it from a backup, or move it away "
            "and ingest again"
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return CatalogError(
            f"the catalog {path} cannot be opened: it must be a file, in a folder that this user "
            "may write to"
        )
    return CatalogError(f"the catalog {path} cannot be used: {error}")


def _explained_os(error: OSError, path: Path) -> CrossbindError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _full(path)
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return _shut(path)
    return CatalogError(f"the catalog {path} cannot be used: {error.strerror or error}")


def _full(path: Path) -> StorageFull:
    return StorageFull(
        f"no room left on the disk of {path}: free some space and try again; everything "
        "acknowledged so far is kept"
    )


def _shut(path: Path) -> Forbidden:
    return Forbidden(
        f"the catalog {path} may not be written by this user: change its permissions, or choose "
        "another home folder"
    )
