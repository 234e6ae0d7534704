"""Zero-shot classification: each medium goes to the class whose name, in words, it is nearest to.

A class is said in several sentences ("a photo of a {}"), whose unit vectors are averaged and
brought back to unit length (Radford et al., 2021, section 3.1.4). The data is a folder of class
folders; pictures, sounds and films may be mixed, each is asked in sentences of its own kind. A file
that cannot be read is told of and left out. It knows no space by name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embed.batcher import Batcher, Embedded
from embed.errors import BadInput, CrossbindError, MissingDependency, MissingWeights, NotFound
from embed.media.read import open_media
from embed.media.source import shown
from embed.training.evaluate.library import Progress, no_progress
from embed.training.metrics import bootstrap_interval, ranked, recall_at_k
from embed.types import Floats, Media, Modality, normalise

TEMPLATES: Mapping[Modality, tuple[str, ...]] = {
    Modality.IMAGE: ("{}", "a photo of a {}", "a picture of a {}", "a close-up photo of a {}"),
    Modality.AUDIO: ("{}", "the sound of a {}", "a recording of a {}", "you can hear a {}"),
    Modality.VIDEO: ("{}", "a video of a {}", "a film of a {}", "a clip that shows a {}"),
}
WAITING = 32  # files on their way through the tower at a time
FATAL = (MissingDependency, MissingWeights)  # not a file's fault


class Skipped(NamedTuple):
    """A file that could not be read, or that holds nothing this space embeds."""

    path: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class ZeroShot:
    """confusion: `(C, C)`, how many of class i were taken for class j. top5: share of files whose
    class is among the five nearest. interval: 95 %, of the accuracy. modalities: files of each."""

    classes: Sequence[str]
    confusion: NDArray[np.int64]
    top5: float
    interval: tuple[float, float]
    modalities: Mapping[Modality, int]
    skipped: Sequence[Skipped]

    @property
    def accuracy(self) -> float:
        """Of all files."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def by_class(self) -> dict[str, float | None]:
        """Of each class; None for one without a file that could be read."""
        counts, right = self.confusion.sum(axis=1), np.diag(self.confusion)
        return {
            name: float(hits / count) if count else None
            for name, hits, count in zip(self.classes, right, counts, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "files": int(self.confusion.sum()),
            "modalities": {m.value: count for m, count in self.modalities.items()},
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "top5": self.top5,
            "classes": self.by_class,
            "confusion": self.confusion.tolist(),
            "failures": [skipped._asdict() for skipped in self.skipped],
        }


def zero_shot(
    batcher: Batcher,
    folder: Path,
    *,
    templates: Sequence[str] | None = None,
    progress: Progress = no_progress,
) -> ZeroShot:
    """Classifies every file below the class folders of `folder`.

    templates: sentences with `{}` for the class, in place of ours for all kinds of media.
    Raises BadInput, NotFound; UnsupportedModality for a space without words.
    """
    files = class_files(folder)
    classes = sorted(files)
    labels = {path: label for label, name in enumerate(classes) for path in files[name]}
    said: dict[Modality, Floats] = {}
    scores, truth, kinds, skipped = [], [], [], []
    for done, (path, found) in enumerate(_vectors(batcher, list(labels))):
        progress("file", done, len(labels))
        if isinstance(found, Skipped):
            skipped.append(found)
            continue
        modality, vector = found
        if modality not in said:
            said[modality] = prompts(batcher, classes, templates or TEMPLATES[modality])
        scores.append(said[modality] @ vector)
        truth.append(labels[path])
        kinds.append(modality)
    progress("file", len(labels), len(labels))
    if not scores:
        first = f": {skipped[0].message}" if skipped else ""
        raise BadInput(f"no file in {shown(folder)} could be classified{first}")
    return _judged(classes, np.stack(scores), np.array(truth), kinds, skipped)


def _judged(
    classes: Sequence[str],
    scores: Floats,
    truth: NDArray[np.int64],
    kinds: Sequence[Modality],
    skipped: Sequence[Skipped],
) -> ZeroShot:
    relevance = ranked(scores, truth[:, None] == np.arange(len(classes)))
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (truth, scores.argmax(axis=1)), 1)
    return ZeroShot(
        classes=classes,
        confusion=confusion,
        top5=float(recall_at_k(relevance, 5).mean()),
        interval=bootstrap_interval(recall_at_k(relevance, 1)),
        modalities={modality: kinds.count(modality) for modality in sorted(set(kinds))},
        skipped=skipped,
    )


def class_files(folder: Path) -> dict[str, list[Path]]:
    """The files of each class, by its name in words, hidden ones left out.

    Raises NotFound, BadInput for fewer than two class folders.
    """
    if not folder.is_dir():
        raise NotFound(f"{shown(folder)} is no folder; --data wants one of class folders")
    found = {
        sub.name.replace("_", " "): sorted(
            path for path in sub.rglob("*") if path.is_file() and not path.name.startswith(".")
        )
        for sub in sorted(folder.iterdir())
        if sub.is_dir() and not sub.name.startswith(".")
    }
    if len(found) < 2:
        raise BadInput(
            f"{shown(folder)} has {len(found)} class folders, and 2 are needed: each holds the "
            "files of one class, and is called what the class is called"
        )
    return found


def read_templates(path: Path) -> list[str]:
    """One a line, blank lines left out. Raises NotFound, BadInput for one without `{}`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(
            f"{shown(path)} cannot be read as text ({error}); --templates wants a file of lines "
            "such as: a photo of a {}",
            param="templates",
        ) from error
    found = [line.strip() for line in lines if line.strip()]
    wrong = next((line for line in found if line.count("{}") != 1), None)
    if wrong is not None or not found:
        raise BadInput(
            f"{shown(path)} has the template {wrong!r}; each line wants one {{}} where the class "
            "is to stand, such as: a photo of a {}",
            param="templates",
        )
    return found


def prompts(batcher: Batcher, classes: Sequence[str], templates: Sequence[str]) -> Floats:
    """`(C, D)` unit rows: of each class the mean over its sentences."""
    rows = []
    for name in classes:
        said = [Media(Modality.TEXT, template.replace("{}", name)) for template in templates]
        rows.append(np.mean([found.joint for found in batcher.embed(said)], axis=0))
    return normalise(np.stack(rows))


Found = tuple[Modality, Floats] | Skipped


def _vectors(batcher: Batcher, paths: Sequence[Path]) -> Iterator[tuple[Path, Found]]:
    """Each file's vector `(D,)`, the mean of its pieces; some files are ahead in the tower."""
    waiting: deque[tuple[Path, Modality, list[Future[Embedded]]] | tuple[Path, Skipped]] = deque()
    for path in paths:
        try:
            modality, media = _opened(batcher, path)
            pieces = [batcher.submit(piece) for _, piece in batcher.embedder.fragment(media)]
            if not pieces:
                raise BadInput(f"{shown(path)} holds nothing to embed")
            waiting.append((path, modality, pieces))
        except FATAL:
            raise
        except CrossbindError as error:
            waiting.append((path, Skipped(shown(path), error.code, error.message)))
        if len(waiting) >= WAITING:
            yield _collected(waiting.popleft())
    while waiting:
        yield _collected(waiting.popleft())


def _opened(batcher: Batcher, path: Path) -> tuple[Modality, Media]:
    """The main medium of a file that is not words."""
    embedder = batcher.embedder
    raw = open_media(path, accepts=embedder.modalities - {Modality.TEXT})
    return raw.modality, raw.decode(raw.modality, image_side=embedder.image_side)


def _collected(
    waiting: tuple[Path, Modality, list[Future[Embedded]]] | tuple[Path, Skipped],
) -> tuple[Path, Found]:
    if len(waiting) == 2:
        return waiting
    path, modality, pieces = waiting
    try:
        vectors = [piece.result().joint for piece in pieces]
        return path, (modality, normalise(np.mean(vectors, axis=0)))
    except FATAL:
        raise
    except CrossbindError as error:
        return path, Skipped(shown(path), error.code, error.message)
