"""Watched folders, one look at a time: the clock is a list of what happens between two looks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from embed.errors import CrossbindError, NotFound, StorageFull
from index.batch.walk import Walk
from index.batch.watch import watch
from index.types import IngestReport

Step = Callable[[], object]


class Steps(threading.Event):
    """In the place of waiting: the next thing happens."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        self.steps = list(steps)

    def wait(self, timeout: float | None = None) -> bool:
        if not self.steps:
            return True
        self.steps.pop(0)()
        return False


class Taken:
    """An ingest that remembers what it was asked, and what it would have indexed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[tuple[bool, list[str], list[str]]] = []
        self.breaks: CrossbindError | None = None

    def __call__(self, *, prune: bool, unfinished: frozenset[str]) -> IngestReport:
        if self.breaks is not None:
            error, self.breaks = self.breaks, None
            raise error
        there = {file.uri: file.path.name for file in Walk([self.folder])}
        ready = sorted(name for uri, name in there.items() if uri not in unfinished)
        self.calls.append((prune, ready, sorted(there.get(uri, uri) for uri in unfinished)))
        return IngestReport(
            ingested=len(ready), unchanged=0, moved=0, pruned=0, failed=0, seconds=0, failures=[]
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("a")
    return tmp_path


def run(folder: Path, *steps: Step, taken: Taken | None = None) -> tuple[Taken, list[Any]]:
    taken = taken or Taken(folder)
    told: list[Any] = []
    watch([folder], taken, every=5, stop=Steps(steps), tell=told.append)
    return taken, told


def nothing() -> None:
    pass


def writes(path: Path, text: str) -> Step:
    def write() -> None:
        path.write_text(text)
        os.utime(path, (len(text), len(text)))  # another time for another content

    return write


def test_what_does_not_change_is_taken_in_once(folder: Path) -> None:
    taken, told = run(folder, nothing, nothing, nothing)
    assert taken.calls == [(False, ["a.txt"], [])]
    assert [report.ingested for report in told] == [1]


def test_a_file_that_grows_waits_until_two_looks_agree(folder: Path) -> None:
    new = folder / "b.txt"
    steps = [writes(new, "x"), writes(new, "xx"), writes(new, "xxx"), nothing, nothing]
    taken, _ = run(folder, *steps)
    assert taken.calls[1:] == [(True, ["a.txt", "b.txt"], [])]


def test_one_that_never_stands_still_holds_up_no_others(folder: Path) -> None:
    log, new = folder / "log.txt", folder / "new.txt"

    def both() -> None:
        writes(log, "x" * 5)()
        writes(new, "whole")()

    taken, _ = run(folder, both, writes(log, "x" * 6), writes(log, "x" * 7))
    assert taken.calls[1:] == [(True, ["a.txt", "new.txt"], ["log.txt"])]


def test_a_changed_file_is_taken_in_again(folder: Path) -> None:
    taken, _ = run(folder, writes(folder / "a.txt", "other"), nothing, nothing)
    assert taken.calls[1:] == [(True, ["a.txt"], [])]


def test_what_is_gone_is_forgotten_but_not_all_at_once(folder: Path) -> None:
    (folder / "b.txt").write_text("b")
    back = writes(folder / "c.txt", "c")
    steps = [(folder / "b.txt").unlink, (folder / "a.txt").unlink, nothing, back, nothing]
    taken, _ = run(folder, *steps)
    assert taken.calls[1:] == [(True, ["a.txt"], []), (True, [], ["c.txt"]), (True, ["c.txt"], [])]


def test_errors_are_told_and_tried_again(folder: Path) -> None:
    taken = Taken(folder)

    def break_it() -> None:
        writes(folder / "b.txt", "b")()
        taken.breaks = StorageFull("no room left")

    _, told = run(folder, break_it, nothing, nothing, nothing, taken=taken)
    assert [type(news) for news in told] == [IngestReport, StorageFull, IngestReport]
    assert taken.calls[1:] == [(True, ["a.txt", "b.txt"], [])]


def test_a_folder_that_goes_away_is_told_and_its_items_stay(folder: Path, tmp_path: Path) -> None:
    away = tmp_path.parent / f"{tmp_path.name}-away"

    def unmount() -> None:
        folder.rename(away)

    def mount() -> None:
        away.rename(folder)

    taken, told = run(folder, unmount, mount, nothing)
    assert [type(news) for news in told] == [IngestReport, NotFound]
    assert len(taken.calls) == 1


def test_what_is_wrong_from_the_start_is_raised(folder: Path) -> None:
    with pytest.raises(NotFound):
        run(folder / "none")
    taken = Taken(folder)
    taken.breaks = StorageFull("no room left")
    with pytest.raises(StorageFull):
        run(folder, taken=taken)
