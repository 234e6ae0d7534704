"""PDFs: the words of each page, and each page as a picture.

PDFium reads them, in processes of its own (`pdf_worker.py` says why). This side starts them, keeps
one that has nothing to do, and takes back what they say; one that dies or takes too long has met a
file that is refused, and the next file gets a new one.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embed.errors import CorruptMedia, CrossbindError, NotAvailable, TooLarge
from embed.media.compose import Composer
from embed.media.source import Openers
from embed.types import Media, Modality, PageSpan, Pixels

MAX_BYTES = 256 * 2**20

_WORKER = Path(__file__).with_name("pdf_worker.py")
# -P, for the worker's own folder has files that are called like libraries.
_COMMAND = [sys.executable, "-P", str(_WORKER)]
_NO_MEMORY = 3  # the status with which a worker says so
_MAX_IDLE = 2
_MAX_RUNNING = max(8, os.cpu_count() or 1)
# A hyphen at the end of a line that PDFium saw through, and what has no place in a text.
_SEAM = re.compile("[\x02\ufffe\xad]\r?\n?")
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\uffff]")


def open_pdf(data: bytes, called: str) -> Openers:
    """Text, a section a page, where any page has some; and the pages as pictures.

    Raises CorruptMedia, TooLarge, NotAvailable.
    """
    with _borrowed(called) as worker:
        found = worker.open(data)
    pages = [_tidy(words) for words in found["pages"]]

    def text(_: int) -> Media:
        composer = Composer(called, between="\n\n")
        composer.add([_tidy(found["title"])])
        for number, words in enumerate(pages, 1):
            composer.add([words], page=number)
        return composer.media()

    def pictures(image_side: int) -> Media:
        drawn = _Pages(data, called, len(pages), max(image_side, 1))
        return Media(Modality.IMAGE, drawn, source=called)

    if not any(pages):
        return {Modality.IMAGE: pictures}
    return {Modality.TEXT: text, Modality.IMAGE: pictures}


def _tidy(words: str) -> str:
    return _CONTROL.sub("", _SEAM.sub("", words).replace("\r\n", "\n").replace("\r", "\n")).strip()


@dataclass(frozen=True, slots=True)
class _Pages:
    """Implements `embed.types.Pages`. A worker is held from the first page to the last."""

    data: bytes
    called: str
    count: int
    side: int

    def pictures(self, *, first: int = 1) -> Iterator[tuple[PageSpan, Pixels]]:
        with _borrowed(self.called) as worker:
            worker.open(self.data)
            for number in range(first - 1, self.count):
                yield PageSpan(number + 1), worker.draw(number, self.side)


class _Worker:
    """A process that reads PDFs. For one thread at a time.

    called: the file it is about. is_well: it has answered all that it was asked, if with a refusal.
    """

    def __init__(self) -> None:
        self.called = "the data"
        self.is_well = True
        self._process = subprocess.Popen(  # noqa: S603  our own file, by our own interpreter
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for us to answer
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout

    def open(self, data: bytes) -> dict[str, Any]:
        """Makes `data` the document. Its title, and the words of each page."""
        return self._ask({"do": "open", "size": len(data)}, data)

    def draw(self, number: int, side: int) -> Pixels:
        """Page `number`, from 0, `(H, W, 3)`."""
        size = self._ask({"do": "draw", "page": number, "side": side})
        self.is_well = False
        data = self._from.read(size["size"])
        if len(data) < size["size"]:
            raise self._died()
        self.is_well = True
        return np.frombuffer(data, np.uint8).reshape(size["height"], size["width"], 3)

    def _ask(self, request: dict[str, Any], body: bytes = b"") -> dict[str, Any]:
        self.is_well = False
        try:
            self._to.write(json.dumps(request).encode() + b"\n")
            self._to.write(body)
            self._to.flush()
        except OSError as error:
            raise self._died() from error
        line = self._from.readline()
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        self.is_well = True
        if "error" in answer:
            raise _refusal(self.called, answer["error"], answer["reason"])
        return answer

    def _died(self) -> CrossbindError:
        status = self._process.wait()
        if status == -signal.SIGPROF:
            return TooLarge(
                f"{self.called} is a PDF that takes too long to read; print it to a new PDF, with "
                "less on its pages"
            )
        if status == _NO_MEMORY:
            return _refusal(self.called, "large", "it needs more memory than is allowed")
        if status == 1:  # an exception of Python's, before there was a file to blame
            return NotAvailable(
                f"{self.called} could not be read: the process that reads PDFs does not start; "
                "what it says of this is among the messages of this program"
            )
        return _refusal(self.called, "corrupt", "the process that read it ended")

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):  # what it was never given to read
            self._to.close()
        self._from.close()


_idle: list[_Worker] = []
_idle_lock = threading.Lock()
_running = threading.BoundedSemaphore(_MAX_RUNNING)


@contextmanager
def _borrowed(called: str) -> Iterator[_Worker]:
    """A worker for this thread alone; it is kept while it is well and few others are idle.

    Waits while `_MAX_RUNNING` are lent: each may take all the memory that one is allowed.
    """
    with _running:
        with _idle_lock:
            worker = _idle.pop() if _idle else None
        worker = worker or _started()
        worker.called = called
        try:
            yield worker
        finally:
            with _idle_lock:
                is_kept = worker.is_well and len(_idle) < _MAX_IDLE
                if is_kept:
                    _idle.append(worker)
            if not is_kept:
                worker.close()


def _started() -> _Worker:
    try:
        return _Worker()
    except OSError as error:
        raise NotAvailable(f"PDFs cannot be read: no process can be started: {error}") from error


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().close()


def _refusal(called: str, code: str, reason: str) -> CrossbindError:
    if code == "large":
        return TooLarge(f"{called} is too large a PDF: {reason}; split it into several files")
    if code == "encrypted":
        return CorruptMedia(
            f"{called} is a PDF locked with a password: save a copy without one, and take that"
        )
    return CorruptMedia(
        f"{called} is no PDF that can be read ({reason}): it is damaged or incomplete; open it in "
        "a viewer and print it to a new PDF"
    )
