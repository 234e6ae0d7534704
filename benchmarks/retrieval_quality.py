"""Class words to photos: precision and nDCG of the built-in space on labelled real photos.

    python benchmarks/retrieval_quality.py --data ../shared/data

The photos are indexed under meaningless names, so that a label can reach the index by no way but
the picture. Each class is one query; all photos of it are relevant. 95 % intervals are a
percentile bootstrap over the queries, of which there are few: read them as wide. Then the matrix of
every modality against every other (`modality_matrix.py`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from modality_matrix import matrix
from setting import finish, say

from api.config import load_settings
from api.requests import SearchRequest, Term
from api.service import Service
from embed.training.metrics import bootstrap_interval, ndcg_at_k, precision_at_k
from embed.types import Modality

SETS = {"clothing": "clothing-train.zip", "cifar10": "cifar10-train-15k.zip"}
# Folder names are not always what a person would type.
WORDS = {"longsleeve": "long sleeve shirt", "outwear": "outerwear jacket"}
PICTURES = {".webp", ".png", ".jpg", ".jpeg"}
K = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--limit", type=int, help="photos per class at most")
    parser.add_argument("--out", type=Path, help="also write the result here")
    args = parser.parse_args()
    missing = [name for name in SETS.values() if not (args.data / name).is_file()]
    if missing:
        say(f"{args.data} lacks {', '.join(missing)}; point --data to the folder that has them")
        return 3
    results = {}
    for name, archive in SETS.items():
        with tempfile.TemporaryDirectory() as scratch:
            results[name] = measure(name, args.data / archive, Path(scratch), args.limit)
    finish("retrieval_quality", {"k": K, "sets": results}, args.out)
    return 0


def measure(name: str, archive: Path, scratch: Path, limit: int | None) -> dict[str, Any]:
    labels = unpack_anonymously(archive, scratch / "photos", limit)
    classes = sorted(set(labels.values()))
    service = Service(load_settings(scratch / "home"))
    try:
        photos = by_class(scratch / "photos", labels)
        cross = matrix(service, f"{name}-matrix", photos, scratch / "library")
        report = service.ingest([scratch / "photos"], collection=name)
        say(f"{name}: {report.ingested} photos at {report.items_per_second:.0f}/s")
        relevance = np.array([ranked(service, name, word, labels) for word in classes])
    finally:
        service.close()
    totals = np.array([sum(label == word for label in labels.values()) for word in classes])
    precision = precision_at_k(relevance, K)
    ndcg = ndcg_at_k(relevance, K, totals)
    for word, p, n in zip(classes, precision, ndcg, strict=True):
        say(f"  {word:<12} P@{K} {p:.2f}  nDCG@{K} {n:.3f}")
    say(f"  {'all':<12} P@{K} {precision.mean():.3f}  nDCG@{K} {ndcg.mean():.3f}")
    return {
        "photos": len(labels),
        "failed": report.failed,
        "matrix_ndcg_at_10": cross,
        "p_at_10": round(float(precision.mean()), 4),
        "p_at_10_interval": [round(x, 4) for x in bootstrap_interval(precision)],
        "ndcg_at_10": round(float(ndcg.mean()), 4),
        "ndcg_at_10_interval": [round(x, 4) for x in bootstrap_interval(ndcg)],
        "classes": {
            word: {"query": WORDS.get(word, word), "p_at_10": float(p), "ndcg_at_10": round(n, 4)}
            for word, p, n in zip(classes, precision, ndcg.tolist(), strict=True)
        },
    }


def unpack_anonymously(archive: Path, folder: Path, limit: int | None) -> dict[str, str]:
    """Photos as `000000.webp` and on, shuffled; returns the label of each file name."""
    folder.mkdir()
    labels: dict[str, str] = {}
    with zipfile.ZipFile(archive) as bundle:
        members = list(_photos(bundle, limit))
        np.random.default_rng(0).shuffle(members)
        for number, (member, label) in enumerate(members):
            name = f"{number:06}{Path(member).suffix}"
            (folder / name).write_bytes(bundle.read(member))
            labels[name] = label
    return labels


def by_class(folder: Path, labels: dict[str, str]) -> dict[str, list[bytes]]:
    """The photos of each class, which is called what a person would type."""
    photos: dict[str, list[bytes]] = {}
    for name, label in sorted(labels.items()):
        photos.setdefault(WORDS.get(label, label), []).append((folder / name).read_bytes())
    return dict(sorted(photos.items()))


def _photos(bundle: zipfile.ZipFile, limit: int | None) -> Iterator[tuple[str, str]]:
    taken: dict[str, int] = {}
    for member in sorted(bundle.namelist()):
        path = Path(member)
        if path.suffix.lower() not in PICTURES:
            continue
        label = path.parent.name
        taken[label] = taken.get(label, 0) + 1
        if limit is None or taken[label] <= limit:
            yield member, label


def ranked(service: Service, collection: str, label: str, labels: dict[str, str]) -> list[float]:
    """Relevance of the K best photos for the class word, best first."""
    words = Term(kind="text", value=WORDS.get(label, label))
    wanted = frozenset({Modality.IMAGE})
    answer = service.search(
        SearchRequest(terms=(words,), collection=collection, k=K, modalities=wanted)
    )
    return [float(labels[str(hit.item.title)] == label) for hit in answer.hits]


if __name__ == "__main__":
    sys.exit(main())
