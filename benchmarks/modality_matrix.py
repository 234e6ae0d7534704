"""Every modality asked with, against every modality looked for: nDCG@10 of one space, one table.

From labelled photos it makes a library of three media: photos, films (three photos of a class, a
second each, hard cuts) and one line of words for each class. It is asked with words, with photos
and with films that are not in it; what is of the same class is relevant. The last column is a mixed
gallery, in which all media compete for ten places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from setting import say

from api.requests import SearchRequest, Term
from api.service import Service
from embed.training.metrics import bootstrap_interval, ndcg_at_k
from embed.types import Modality

K = 10
ASKED = 6  # photos and films of each class to ask with
FILMS = 8  # of each class in the gallery
SHOTS = 3  # photos in a film
PHOTOS = 60  # of each class in the gallery
SIDE = 224
MEDIA = (Modality.TEXT, Modality.IMAGE, Modality.VIDEO)


def matrix(
    service: Service, name: str, photos: Mapping[str, Sequence[bytes]], folder: Path
) -> dict[str, Any]:
    """nDCG@10 with its interval, by query modality and gallery modality.

    photos: of each class, as files; the class is written as a person would write it.
    """
    queries, labels = build(photos, folder)
    report = service.ingest([folder], collection=name)
    assert not report.failed, report.failures
    table: dict[str, Any] = {}
    galleries: dict[str, frozenset[Modality]] = {m.value: frozenset({m}) for m in MEDIA}
    galleries["mixed"] = frozenset(MEDIA)
    for asked in MEDIA:
        row = {}
        for gallery, wanted in galleries.items():
            scores = ask(service, name, asked, queries[asked], wanted, labels)
            low, high = bootstrap_interval(scores)
            row[gallery] = [round(float(scores.mean()), 3), round(low, 3), round(high, 3)]
        table[asked.value] = row
    show(name, table, galleries)
    return table


def build(
    photos: Mapping[str, Sequence[bytes]], folder: Path
) -> tuple[dict[Modality, list[tuple[str, str | bytes]]], dict[str, str]]:
    """Writes the library; returns queries by modality, each with its class, and labels by file.

    File names say nothing; no photo is in two places.
    """
    folder.mkdir()
    queries: dict[Modality, list[tuple[str, str | bytes]]] = {medium: [] for medium in MEDIA}
    labels: dict[str, str] = {}

    def put(label: str, suffix: str, data: bytes) -> None:
        name = f"{len(labels):05}{suffix}"
        (folder / name).write_bytes(data)
        labels[name] = label

    for label, files in photos.items():
        rest = iter(files)
        queries[Modality.TEXT].append((label, label))
        put(label, ".txt", f"a photo of a {label}".encode())
        for _ in range(ASKED):
            queries[Modality.IMAGE].append((label, next(rest)))
            queries[Modality.VIDEO].append((label, film(next(rest) for _ in range(SHOTS))))
        for _ in range(FILMS):
            put(label, ".mp4", film(next(rest) for _ in range(SHOTS)))
        for _, photo in zip(range(PHOTOS), rest, strict=False):
            put(label, ".img", photo)
    return queries, labels


def film(photos: Iterable[bytes]) -> bytes:
    """One second of each photo, ten frames a second, as MPEG-4."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=Fraction(10), options={"crf": "20"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for second, photo in enumerate(photos):
            still = Image.open(BytesIO(photo)).convert("RGB").resize((SIDE, SIDE))
            for number in range(10):
                frame = av.VideoFrame.from_image(still)
                frame.pts = second * 10 + number
                out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def ask(
    service: Service,
    collection: str,
    asked: Modality,
    queries: Sequence[tuple[str, str | bytes]],
    wanted: frozenset[Modality],
    labels: Mapping[str, str],
) -> np.ndarray:
    """`(Q,)` nDCG@10."""
    requests = [
        SearchRequest(
            terms=(Term(kind=asked.value, value=value),),
            collection=collection,
            k=K,
            modalities=wanted,
        )
        for _, value in queries
    ]
    relevance = np.zeros((len(queries), K))
    for row, request in enumerate(requests):
        for place, hit in enumerate(service.search(request).hits):
            relevance[row, place] = labels[str(hit.item.title)] == queries[row][0]
    suffixes = {Modality.TEXT: ".txt", Modality.IMAGE: ".img", Modality.VIDEO: ".mp4"}
    endings = {suffixes[medium] for medium in wanted}
    totals = [
        sum(own == label and Path(name).suffix in endings for name, own in labels.items())
        for label, _ in queries
    ]
    return ndcg_at_k(relevance, K, np.array(totals))


def show(name: str, table: Mapping[str, Mapping[str, Any]], galleries: Iterable[str]) -> None:
    say(f"{name}: nDCG@{K}, asked with (down) against looked for (across)")
    say(f"  {'':<8}" + "".join(f"{gallery:>8}" for gallery in galleries))
    for asked, row in table.items():
        say(f"  {asked:<8}" + "".join(f"{row[gallery][0]:>8.2f}" for gallery in galleries))
