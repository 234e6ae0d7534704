from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from embed.errors import CorruptMedia, TooLarge
from embed.media import pdf as module
from embed.media.pdf import open_pdf
from embed.types import Media, Modality, Pages, PageSpan, Pixels


def built(*objects: bytes, info: bytes = b"") -> bytes:
    """A PDF of these objects, numbered from 1; the first is the catalog."""
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"<</Size %d/Root 1 0 R%s>>" % (len(objects) + 1, info)
    return data + b"trailer" + trailer + b"\nstartxref\n%d\n%%%%EOF" % table


def stream(body: bytes, entries: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(body), body)


def document(*pages: bytes, box: bytes = b"0 0 300 400", info: bytes = b"") -> bytes:
    """One page for each content stream; /F is Helvetica."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(pages)),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for number, content in enumerate(pages):
        objects += [
            b"<</Type/Page/Parent 2 0 R/MediaBox[%s]/Contents %d 0 R%s>>"
            % (box, 5 + 2 * number, b"/Resources<</Font<</F 3 0 R>>>>"),
            stream(content),
        ]
    trailer = b"/Info %d 0 R" % (len(objects) + 1)
    return built(*objects, b"<<%s>>" % info, info=trailer)


def line(words: bytes) -> bytes:
    return b"BT /F 20 Tf 20 300 Td (%s) Tj ET " % words


def bomb(levels: int, times: int) -> bytes:
    """A page that draws a form `times` times, which draws one `times` times, and so on."""
    body = b"/X Do " * times
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<<%s>>>>"
        % b"/XObject<</X 5 0 R>>",
        stream(body),
    ]
    for level in range(levels):
        inner = b"/Resources<</XObject<</X %d 0 R>>>>" % (6 + level)
        form = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]"
        is_last = level == levels - 1
        objects.append(stream(b"0 0 1 1 re f" if is_last else body, form + inner * (not is_last)))
    return built(*objects)


def text(data: bytes) -> Media:
    return open_pdf(data, "a.pdf")[Modality.TEXT](0)


def pages(data: bytes, side: int = 64) -> list[tuple[PageSpan, Pixels]]:
    drawn = open_pdf(data, "a.pdf")[Modality.IMAGE](side).data
    assert hasattr(drawn, "pictures")
    return list(drawn.pictures())


TWO = document(
    line(b"Snow on the \\(high\\) fells") + b"1 0 0 rg 0 0 300 200 re f",
    line(b"caf\xe9 noir"),
)


def test_words_are_sections_by_page() -> None:
    media = text(TWO)
    assert media.modality is Modality.TEXT
    assert media.data == "Snow on the (high) fells\n\ncafé noir"
    assert [(media.data[s.start : s.end], s.page) for s in media.sections] == [
        ("Snow on the (high) fells", 1),
        ("café noir", 2),
    ]
    assert media.source == "a.pdf"


def test_the_title_is_part_of_the_text() -> None:
    media = text(document(line(b"words"), info=b"/Title(The fells)"))
    assert media.data == "The fells\n\nwords"
    assert [section.page for section in media.sections] == [None, 1]


def test_empty_pages_have_no_section_and_keep_their_number() -> None:
    media = text(document(b"", line(b"words"), b""))
    assert [section.page for section in media.sections] == [2]
    assert [span.page for span, _ in pages(document(b"", line(b"words")))] == [1, 2]


def test_pages_are_drawn() -> None:
    drawn = pages(TWO, side=150)
    assert [span for span, _ in drawn] == [PageSpan(1), PageSpan(2)]
    first = drawn[0][1]
    assert first.shape == (200, 150, 3)
    assert first.dtype == np.uint8
    assert first[150, 75].tolist() == [255, 0, 0]
    assert first[5, 5].tolist() == [255, 255, 255]
    assert first[40:60].min() < 100, "the words are drawn"


def test_a_scan_holds_pages_only() -> None:
    openers = open_pdf(document(b"0 0 300 200 re f"), "scan.pdf")
    assert list(openers) == [Modality.IMAGE]


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        (b"0 0 400 300", (64, 86, 3)),
        (b"0 0 10 100000", (4096, 1, 3)),
        (b"0 0 1e9 1e9", None),
        (b"0 0 0 0", None),
        (b"-1e30 0 1e30 nan", None),
        (b"5 5 1 1", (64, 64, 3)),
    ],
)
def test_odd_page_boxes(box: bytes, shape: tuple[int, ...] | None) -> None:
    [(_, pixels)] = pages(document(b"", box=box))
    assert max(pixels.shape) <= 4096
    assert shape is None or pixels.shape == shape


@pytest.mark.parametrize("data", [b"%PDF-1.4\n", b"%PDF-1.7 words", TWO[:200], document()])
def test_broken_files(data: bytes) -> None:
    with pytest.raises(CorruptMedia, match=r"a\.pdf is no PDF that can be read.*print it"):
        open_pdf(data, "a.pdf")


def test_a_password() -> None:
    # Standard security handler, revision 3, 128 bits; its user password is not the empty one.
    encrypt = b"<</Filter/Standard/V 2/R 3/Length 128/P -4/O<%s>/U<%s>>>" % (b"41" * 32, b"42" * 32)
    data = built(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
        encrypt,
        info=b"/Encrypt 4 0 R/ID[<00><00>]",
    )
    with pytest.raises(CorruptMedia, match=r"a\.pdf is a PDF locked with a password: save a copy"):
        open_pdf(data, "a.pdf")


def test_too_many_pages() -> None:
    with pytest.raises(TooLarge, match=r"it has 2,001 pages; at most 2,000 are read; split it"):
        open_pdf(document(*[b""] * 2001), "a.pdf")


def impatient(monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    """Workers started from here on have other limits."""
    module._end_idle()
    changes = ";".join(f"w.{name}={value}" for name, value in limits.items())
    script = (
        f"import importlib.util as u;s=u.spec_from_file_location('w',{str(module._WORKER)!r});"
        f"w=u.module_from_spec(s);s.loader.exec_module(w);{changes};w.main()"
    )
    monkeypatch.setattr(module, "_COMMAND", [*module._COMMAND[:-1], "-c", script])


def test_a_page_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch, SECONDS_TO_READ=1)
    start = time.monotonic()
    with pytest.raises(TooLarge, match=r"a\.pdf is a PDF that takes too long"):
        open_pdf(bomb(12, 10), "a.pdf")
    assert time.monotonic() - start < 20
    assert text(TWO).sections, "the next file gets a new worker"
    module._end_idle()


def test_many_slow_pages_are_given_up_together(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch, SECONDS_TO_DRAW_ALL=1)
    corners = b" ".join(b"%d %d l" % (k * 7919 % 300, k * 104729 % 400) for k in range(20_000))
    with pytest.raises(TooLarge, match="takes too long"):
        pages(document(*[b"0 0 m " + corners + b" f"] * 50))
    module._end_idle()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch, MEMORY=128 * 2**20)
    with pytest.raises(TooLarge, match=r"a\.pdf is too large a PDF: it needs more memory"):
        open_pdf(TWO + bytes(128 * 2**20), "a.pdf")
    assert text(TWO).sections
    module._end_idle()


def test_a_worker_that_is_killed_fails_its_file_alone() -> None:
    module._end_idle()
    text(TWO)
    [worker] = module._idle
    os.kill(worker._process.pid, signal.SIGKILL)
    with pytest.raises(CorruptMedia, match="the process that read it ended"):
        text(TWO)
    assert text(TWO).sections


def test_threads_share_workers_and_get_the_same() -> None:
    alone = pages(TWO)
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda _: (text(TWO).data, pages(TWO)), range(18)))
    for words, drawn in together:
        assert words == text(TWO).data
        assert all((a[1] == b[1]).all() for a, b in zip(alone, drawn, strict=True))
    assert len(module._idle) <= 2


def test_no_more_workers_run_than_there_may(monkeypatch: pytest.MonkeyPatch) -> None:
    module._end_idle()
    monkeypatch.setattr(module, "_running", threading.BoundedSemaphore(2))
    alive: set[module._Worker] = set()
    most = 0
    start, close = module._started, module._Worker.close

    def started() -> module._Worker:
        nonlocal most
        alive.add(worker := start())
        most = max(most, len(alive))
        return worker

    def closed(worker: module._Worker) -> None:
        alive.discard(worker)
        close(worker)

    monkeypatch.setattr(module, "_started", started)
    monkeypatch.setattr(module._Worker, "close", closed)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: len(pages(TWO)) == 2, range(24)))
    assert most <= 2


def test_pages_left_in_the_middle_leave_no_worker_behind() -> None:
    before = threading.active_count()
    reader: Pages = open_pdf(TWO, "a.pdf")[Modality.IMAGE](32).data  # type: ignore[assignment]
    iterator = iter(reader.pictures())
    next(iterator)
    iterator.close()
    assert threading.active_count() == before
    assert len(pages(TWO)) == 2
