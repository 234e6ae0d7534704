"""The walk meets every file once, whatever the file system holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from embed.errors import NotFound
from embed.media.source import shown
from index.batch.walk import Walk, path_of


def tree(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def met(walk: Walk) -> list[str]:
    return [file.path.name for file in walk]


def test_every_file_once_in_a_fixed_order(tmp_path: Path) -> None:
    tree(tmp_path, "b.txt", "a.txt", "sub/c.txt", "sub/deep/d.txt", "z.txt")
    assert met(Walk([tmp_path])) == ["a.txt", "b.txt", "c.txt", "d.txt", "z.txt"]
    twice = Walk([tmp_path, tmp_path / "sub", tmp_path / "sub/c.txt"])
    assert sorted(met(twice)) == ["a.txt", "b.txt", "c.txt", "d.txt", "z.txt"]


def test_hidden_ones_are_passed_over_unless_named(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt", ".hidden", ".git/config")
    assert met(Walk([tmp_path])) == ["a.txt"]
    assert met(Walk([tmp_path / ".hidden"])) == [".hidden"]
    assert met(Walk([tmp_path / ".git"])) == ["config"]


def test_a_directory_loop_ends(tmp_path: Path) -> None:
    tree(tmp_path, "sub/a.txt")
    (tmp_path / "sub/back").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    walk = Walk([tmp_path])
    assert met(walk) == ["a.txt"]
    assert [failure.code for failure in walk.failures] == ["not_found"]
    assert "self" in walk.failures[0].message


def test_a_broken_link_is_a_failure_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    walk = Walk([tmp_path])
    assert met(walk) == []
    assert walk.failures[0].uri.endswith("/gone.jpg")


def test_names_that_are_not_utf8_survive_the_round_trip(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9 100%.txt"
    Path(os.fsdecode(raw)).write_text("x")
    [file] = Walk([tmp_path])
    assert file.uri.isascii()
    assert file.uri.endswith("/caf%E9%20100%25.txt")
    back = path_of(file.uri)
    assert back is not None
    assert os.fsencode(back) == raw
    assert shown(file.path.name) == "caf\\xe9 100%.txt"


def test_a_path_that_does_not_exist_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere does not exist"):
        Walk([tmp_path, tmp_path / "nowhere"])


def test_an_unreadable_folder_is_reported_and_not_taken_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "open/a.txt", "shut/b.txt")
    real = os.scandir

    def scandir(folder: str) -> object:
        if str(folder).endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    walk = Walk([tmp_path])
    assert met(walk) == ["a.txt"]
    assert [failure.code for failure in walk.failures] == ["forbidden"]
    assert walk.misses((tmp_path / "open/gone.txt").as_uri())
    assert not walk.misses((tmp_path / "open/a.txt").as_uri())
    assert not walk.misses((tmp_path / "shut/b.txt").as_uri()), "we could not look"
    assert not walk.misses((tmp_path.parent / "elsewhere.txt").as_uri())
    assert not walk.misses("https://example.org/a.jpg")


def test_folders_nest_deeper_than_python(tmp_path: Path) -> None:
    folders = [tmp_path]
    for _ in range(1100):
        folders.append(folders[-1] / "d")
        folders[-1].mkdir()
    (folders[-1] / "x.txt").write_text("deep")
    assert met(Walk([tmp_path])) == ["x.txt"]
    (folders[-1] / "x.txt").unlink()
    for folder in reversed(folders[1:]):  # pytest's own clean-up is recursive
        folder.rmdir()


def test_two_slashes_are_one(tmp_path: Path) -> None:
    tree(tmp_path, "a.txt")
    [file] = Walk([Path(f"/{tmp_path}")])
    assert file.uri == (tmp_path / "a.txt").as_uri()
