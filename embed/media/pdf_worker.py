"""A process that reads PDFs, one at a time, for `embed/media/pdf.py`; run as a script.

PDFium is not for threads, cannot be interrupted, and a small hostile file can keep it busy for
years or take all memory: hence a process of its own, under limits that the system enforces.
It imports nothing of the house, and speaks in lines of JSON, some followed by bytes:

    {"do": "open", "size": N} + N bytes    -> {"title": …, "pages": ["words of page 1", …]}
    {"do": "draw", "page": 0, "side": 256} -> {"width": …, "height": …, "size": N} + N bytes of RGB
    whatever fails                         -> {"error": CODE, "reason": …}
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import sys
from contextlib import closing
from typing import Any, BinaryIO

import pypdfium2 as pdfium

MAX_PAGES = 2_000
MAX_CHARACTERS = 32 * 2**20
MAX_SIDE = 4_096
MEMORY = 2 * 2**30
NO_MEMORY = 3  # as an exit status
SECONDS_TO_READ = 60  # of a processor, not of a clock
SECONDS_TO_DRAW = 30  # a page
SECONDS_TO_DRAW_ALL = 600

_PASSWORD, _SECURITY = 4, 5  # fpdfview.h, FPDF_ERR_…


class _Refused(Exception):
    """code: "encrypted", "large" or "corrupt"."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def main() -> None:
    """Serves until its input ends. A request that takes too long ends the process (SIGPROF)."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    document: pdfium.PdfDocument | None = None
    left = 0.0  # seconds for the pages of this document
    while line := source.readline():
        request = json.loads(line)
        try:
            if request["do"] == "open":
                if document is not None:
                    document.close()
                    document = None
                data = source.read(request["size"])
                left = SECONDS_TO_DRAW_ALL
                _limit(SECONDS_TO_READ)
                document = _opened(data)
                answer, body = _words(document), b""
            else:
                limit = max(0.01, min(SECONDS_TO_DRAW, left))
                _limit(limit)
                assert document is not None
                answer, body = _drawn(document, request["page"], request["side"])
                left -= limit - _limit(0)
        except _Refused as refusal:
            answer, body = {"error": refusal.code, "reason": str(refusal)}, b""
        except MemoryError:  # perhaps half-way through the input: there is no going on
            os._exit(NO_MEMORY)
        except Exception as error:  # noqa: BLE001  PDFium's wrapper raises what it likes
            reason = str(error) or type(error).__name__
            answer, body = {"error": "corrupt", "reason": reason}, b""
        _limit(0)
        _send(sink, answer, body)


def _limit(seconds: float) -> float:
    """Seconds of a processor from now on, 0 for any number. Returns what was left of the last."""
    return signal.setitimer(signal.ITIMER_PROF, seconds)[0]


def _send(sink: BinaryIO, answer: dict[str, Any], body: bytes) -> None:
    sink.write(json.dumps(answer).encode() + b"\n")
    sink.write(body)
    sink.flush()


def _opened(data: bytes) -> pdfium.PdfDocument:
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        code = "encrypted" if error.err_code in (_PASSWORD, _SECURITY) else "corrupt"
        raise _Refused(code, str(error)) from error
    if len(document) > MAX_PAGES:
        raise _Refused("large", f"it has {len(document):,} pages; at most {MAX_PAGES:,} are read")
    return document


def _words(document: pdfium.PdfDocument) -> dict[str, Any]:
    pages, left = [], MAX_CHARACTERS
    for number in range(len(document)):
        words = _page_words(document, number)
        left -= len(words)
        if left < 0:
            raise _Refused("large", f"it holds more than {MAX_CHARACTERS:,} characters")
        pages.append(words)
    return {"title": document.get_metadata_value("Title"), "pages": pages}


def _page_words(document: pdfium.PdfDocument, number: int) -> str:
    """A page that is broken says nothing; the others may."""
    try:
        with closing(document[number]) as page, closing(page.get_textpage()) as text:
            return str(text.get_text_bounded())
    except pdfium.PdfiumError:
        return ""


def _drawn(document: pdfium.PdfDocument, number: int, side: int) -> tuple[dict[str, Any], bytes]:
    """Page `number`, from 0: its shorter side `side` pixels, its longer one at most MAX_SIDE."""
    with closing(document[number]) as page:
        width, height = page.get_size()
        if not (0 < width < math.inf and 0 < height < math.inf):
            raise _Refused("corrupt", f"page {number + 1} is {width} x {height} points")
        scale = min(side / min(width, height), MAX_SIDE / max(width, height))
        with closing(page.render(scale=scale, rev_byteorder=True)) as bitmap:
            row, stride = 3 * bitmap.width, bitmap.stride
            data = bytes(bitmap.buffer)
            if stride != row:
                data = b"".join(data[at : at + row] for at in range(0, len(data), stride))
            size = {"width": bitmap.width, "height": bitmap.height, "size": len(data)}
    return size, data


if __name__ == "__main__":
    main()
