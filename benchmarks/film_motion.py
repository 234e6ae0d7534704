"""Which way does it move? Forced choice between two texts, on films the motions never learnt from.

    python benchmarks/film_motion.py --data ../shared/data --cache CACHE

Scenes of colours and shapes held out, and clips of other photos (scikit-image's and CIFAR-10's) on
another seed: as arrays, and as MP4 files through ingest and search. A choice is right when the text
that says the true way is nearer than the one that says its opposite. Then whether films are still
found by what they show: class words to films of photos of clothes that were not trained on, with
the motion and without it. 95 % intervals are percentile bootstraps over films, or queries.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib.util import find_spec
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from retrieval_quality import WORDS
from setting import finish, say

from api.config import load_settings
from api.requests import SearchRequest, Term
from api.service import Service
from embed.backends.builtin.film import Watched
from embed.backends.builtin.flow import motion
from embed.backends.builtin.space import Builtin
from embed.media.image import decode_image
from embed.registry import LoadOptions
from embed.training.image_head import photos
from embed.training.metrics import (
    bootstrap_interval,
    matches,
    ndcg_at_k,
    paired_bootstrap,
    ranked,
)
from embed.training.motion import clips
from embed.types import Floats, Media, Modality, Pixels, normalise

SEED = 2
SCENES, CLIPS, FILES = 300, 440, 88
PAIRS: Mapping[tuple[str, str], Sequence[tuple[str, str]]] = {
    ("left", "right"): (
        ("moving left", "moving right"),
        ("a red ball moving left", "a red ball moving right"),
        ("the car drives to the left", "the car drives to the right"),
        ("it flies leftwards", "it flies rightwards"),
        ("a large square at the top, moving left", "a large square at the top, moving right"),
        ("someone walks to the left side", "someone walks to the right side"),
    ),
    ("up", "down"): (
        ("moving up", "moving down"),
        ("a balloon going up", "a balloon going down"),
        ("it rises", "it falls"),
    ),
    ("towards", "away"): (
        ("moving towards the camera", "moving away from the camera"),
        ("it comes nearer", "it goes away"),
    ),
    ("still", "left"): (("standing still", "moving left"), ("it stays", "it goes left")),
    ("pan left", "pan right"): (("the camera pans left", "the camera pans right"),),
    ("tilt up", "tilt down"): (("the camera tilts up", "the camera tilts down"),),
}
"""By two motions, texts that say the one and the other; most were never trained on."""
SAMPLES = ("skimage/data", "sklearn/datasets/images")
K = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, required=True, help="folder for derived weights")
    parser.add_argument("--out", type=Path, help="also write the result here")
    args = parser.parse_args()
    embedder = Builtin(LoadOptions(cache=args.cache, threads=2))
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("clothing-train.zip", "cifar10-train-15k.zip"):
            with zipfile.ZipFile(args.data / name) as bundle:
                bundle.extractall(scratch)
        others = pictures(Path(scratch) / "cifar10")
        result: dict[str, Any] = {}
        for kind, filmed in (
            ("scenes", list(clips.scenes(SCENES, SEED, held_out=True))),
            ("photos", list(clips.photographed(others, CLIPS, SEED))),
        ):
            vectors = films(embedder, filmed)
            labels = [clip.motion for clip in filmed]
            result[kind] = choices(kind, embedder, vectors, labels)
            result[f"{kind}_files"] = through_files(filmed, Path(scratch) / kind)
        result["found"] = found(embedder, Path(scratch) / "clothing", filmed)
    finish("film_motion", {"seed": SEED, **result}, args.out)
    return 0


def pictures(cifar: Path) -> list[Pixels]:
    """The sample photos of two packages, and some of CIFAR-10."""
    folders = []
    for sample in SAMPLES:
        package, _, inside = sample.partition("/")
        spec = find_spec(package)
        assert spec is not None
        folders.append(Path(*(spec.submodule_search_locations or []), inside))
    samples = [sorted(folder.glob("*.jpg")) + sorted(folder.glob("*.png")) for folder in folders]
    small = sorted(cifar.rglob("*.*g"))[::500]
    found = [decode_image(path, min_side=128).data for path in chain(*samples, small)]
    return [data for data in found if isinstance(data, np.ndarray) and min(data.shape[:2]) >= 32]


def films(embedder: Builtin, filmed: Sequence[clips.Clip]) -> Floats:
    media = [Media(Modality.VIDEO, clip.frames, rate=clip.rate) for clip in filmed]
    return np.concatenate([embedder.embed([medium]).joint for medium in media])


def words(embedder: Builtin, texts: Sequence[str]) -> Floats:
    return embedder.embed([Media(Modality.TEXT, text) for text in texts]).joint


def choices(
    kind: str, embedder: Builtin, vectors: Floats, labels: Sequence[str]
) -> dict[str, list[float]]:
    """By pair of texts the share of right choices, and its interval."""
    table = {}
    for (one, other), texts in PAIRS.items():
        rows = [n for n, label in enumerate(labels) if label in (one, other)]
        truth = np.array([labels[n] == one for n in rows])
        if len(set(truth.tolist())) < 2:
            continue
        for pair in texts:
            scores = vectors[rows] @ words(embedder, pair).T
            table[" | ".join(pair)] = _share(kind, pair, (scores[:, 0] > scores[:, 1]) == truth)
    return table


def through_files(filmed: Sequence[clips.Clip], folder: Path) -> dict[str, list[float]]:
    """As `choices`, of MP4 files that were ingested and are searched for."""
    folder.mkdir()
    chosen = [clip for clip in filmed if clip.motion in ("left", "right")][:FILES]
    for number, clip in enumerate(chosen):
        (folder / f"{number:04}.mp4").write_bytes(encoded(clip))
    service = Service(load_settings(folder.parent / f"{folder.name}-home"))
    try:
        report = service.ingest([folder], collection="films")
        assert not report.failed, report.failures
        table = {}
        for pair in PAIRS["left", "right"][:2]:
            left, right = (scored(service, text, len(chosen)) for text in pair)
            right_way = [
                (left[f"{n:04}.mp4"] > right[f"{n:04}.mp4"]) == (clip.motion == "left")
                for n, clip in enumerate(chosen)
            ]
            table[" | ".join(pair)] = _share(f"{folder.name}.mp4", pair, np.array(right_way))
    finally:
        service.close()
    return table


def encoded(clip: clips.Clip) -> bytes:
    """H.264 at the clip's own frame rate, 160 pixels wide."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=Fraction(clip.rate), options={"crf": "23"})
        stream.width = stream.height = 160
        stream.pix_fmt = "yuv420p"
        for frame in clip.frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        out.mux(stream.encode(None))
    return file.getvalue()


def scored(service: Service, text: str, count: int) -> dict[str, float]:
    request = SearchRequest(
        terms=(Term(kind="text", value=text),),
        collection="films",
        k=count,
        modalities=frozenset({Modality.VIDEO}),
    )
    hits = service.search(request).hits
    return {str(hit.item.title): float(hit.score or 0.0) for hit in hits}


def found(embedder: Builtin, folder: Path, filmed: Sequence[clips.Clip]) -> dict[str, Any]:
    """nDCG@10 of class words to stills that are given the motions of `filmed`, and to none."""
    *_, report = photos.split(photos.look(photos.under(folder), embedder))
    eye, film = embedder.encoder(Modality.IMAGE), embedder.encoder(Modality.VIDEO)
    stills = [eye.prepare(decode_image(Path(path), min_side=256)) for path in report.paths]
    measured = [motion(clip.frames, clip.rate) for clip in filmed]
    order = np.random.default_rng(SEED).integers(0, len(measured), len(stills)).tolist()
    labels = np.unique(report.labels)
    asked = words(embedder, [WORDS.get(label, label) for label in labels.tolist()])
    right = matches(labels, report.labels)
    scores = []
    for moves in ([measured[n] for n in order], [None] * len(stills)):
        rows = [Watched([still], move) for still, move in zip(stills, moves, strict=True)]
        vectors = normalise(film.run(rows).joint)
        order_of = ranked(asked @ vectors.T, right)
        scores.append(ndcg_at_k(order_of, K, right.sum(axis=1)))
    gain, low, high = paired_bootstrap(*scores)
    say(f"found: {scores[0].mean():.3f} moving, {scores[1].mean():.3f} still")
    return {
        "ndcg_at_10": round(float(scores[0].mean()), 3),
        "without_motion": round(float(scores[1].mean()), 3),
        "gain": [round(gain, 3), round(low, 3), round(high, 3)],
    }


def _share(kind: str, pair: tuple[str, str], right: np.ndarray) -> list[float]:
    low, high = bootstrap_interval(right.astype(np.float64))
    say(f"{kind:<12} {right.mean():.3f} [{low:.3f}, {high:.3f}] of {len(right)}  {pair[0]}")
    return [round(float(right.mean()), 3), round(low, 3), round(high, 3), len(right)]


if __name__ == "__main__":
    sys.exit(main())
