"""Makes the calibration that ships with the built-in space.

    python -m embed.training.evaluate.builtin_calibration --clothing DIR --esc10 DIR --cache DIR

It is of the space as it is installed, and is made again whenever a weight of it changes: beside
other weights it is simply not used. A tower is too sure of what it was trained on: photos are those
that the image head did not learn from, and each sound is bound by what is remembered of the other
folds, by networks that are trained for it (minutes). The figures of each pair are of answers its
curve was not fitted on (`calibrate`); below them stand photos that were never shown, and with
--cifar10 (which may be measured, not shipped) photos of another kind. Needs what the recipes of
both towers need.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from embed.backends.builtin.space import CLOTHES, PROTOTYPES, Builtin
from embed.calibration import SHIPPED, Calibration, Fit, Pair
from embed.registry import LoadOptions
from embed.training.audio import esc, recipe, sources, vocabulary
from embed.training.audio.memory import native
from embed.training.evaluate import builtin_library as made_of
from embed.training.evaluate.calibrate import answers, calibrate, fit
from embed.training.evaluate.library import Library, Stored, library
from embed.training.evaluate.retrieval import matrix
from embed.training.image_head import photos
from embed.training.image_head.galleries import Galleries
from embed.training.metrics import Flags, auroc, brier, ece
from embed.types import Floats, Modality, normalise
from embed.weights import store

FOLDS = range(1, 5)
A_FOLD = 3  # sounds of a class from each of them
CIFAR = {"automobile": "car", "airplane": "aeroplane"}

MADE = {
    "of": "clothing (CC0), sample photos, drawn pictures, ESC-10 (CC BY 3.0), WordNet 3.0",
    "recipe": "python -m embed.training.evaluate.builtin_calibration",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibrate the built-in space.")
    parser.add_argument("--clothing", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--esc10", type=Path, required=True, help="folder with labels.csv")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is derived")
    parser.add_argument("--cifar10", type=Path, help="folder of class folders, to measure on")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    args = parser.parse_args()
    torch.set_num_threads(1)
    embedder = Builtin(LoadOptions(cache=args.cache, threads=1))
    looking = Looking(args.clothing, embedder)
    still, moving = made_of.clothes(looking.fitted)
    shown, filmed, said = made_of.samples()
    phrases = {**made_of.CLOTHES, **said, **esc.HELD}
    classes, names = made_of.named(args.wordnet, _every(phrases), looking.branch)
    nouns = made_of.nouns(args.wordnet, _every({**phrases, **names}))
    written = [*made_of.words({**phrases, **names, **nouns}, embedder)]
    items = [
        *written,
        *made_of.photos({**still, **shown}, embedder),
        *made_of.films({**moving, **filmed}, embedder),
        *made_of.drawn(classes, looking.galleries, looking.joint),
        *heard(args.esc10, args.cache, embedder),
    ]
    whole = library(items)
    made = {**MADE, "items": len(items)}
    calibration = calibrate(whole, embedder.space.id, made=made, strangers=True)
    calibration = replace(calibration, fits={**calibration.fits, **alike(items)})
    calibration.write(args.out)
    tell(calibration, whole)
    later, _ = made_of.clothes(looking.reported)
    tell_elsewhere("other clothes", calibration, [*written, *made_of.photos(later, embedder)])
    if args.cifar10 is not None:
        strange = made_of.words(nouns, embedder)
        tell_elsewhere("CIFAR-10", calibration, [*cifar(args.cifar10, embedder), *strange])


def alike(items: Sequence[Stored]) -> dict[Pair, Fit]:
    """Within a modality, in the towers' own vectors, which drawn pictures do not have."""
    asked = library(item for item in items if item.native is not None).questions()
    return {
        question.pair: fit(answers(question, strangers=True))
        for question in asked
        if question.pair.native
    }


def _every(texts: Mapping[str, Sequence[str]]) -> list[str]:
    return [text for phrases in texts.values() for text in phrases]


class Looking:
    """Photos that the image head has not learnt from, and drawn pictures.

    fitted, reported: paths, the parts of `photos.split` to choose by and to report on. branch:
    `(1000,)`, which of ImageNet's classes are clothes.
    """

    def __init__(self, folder: Path, embedder: Builtin) -> None:
        train, choose, report = photos.split(photos.look(photos.under(folder), embedder))
        self.fitted, self.reported = ([Path(p) for p in part.paths] for part in (choose, report))
        self.galleries = Galleries(train)
        with np.load(store.find(CLOTHES), allow_pickle=False) as head:
            self.branch: Flags = head["branch"]
        self._prototypes = np.load(store.find(PROTOTYPES), allow_pickle=False).astype(np.float32)

    def joint(self, posterior: Floats) -> Floats:
        """`(N, D)` unit rows, where no clothes are seen."""
        return normalise(posterior @ self._prototypes)


def heard(folder: Path, cache: Path, embedder: Builtin) -> Iterator[Stored]:
    """Some sounds of each class and fold, bound by what is remembered of the other folds."""
    words = vocabulary.prototypes(embedder)
    recorded, rendered = (
        sources.recorded(folder, cache / "sounds"),
        sources.rendered(cache / "sounds"),
    )
    describer = recipe.listener(rendered)
    free = recorded.where(recorded.free)
    names = list(esc.TRAINED)
    for fold in FOLDS:
        tower = recipe.made(describer, free.where(free.folds != fold), rendered, words)
        here = free.where(free.folds == fold)
        joint, own = tower.joint(here.clips).numpy(), native(describer.of(here.clips)).numpy()
        for concept, number in zip(names, vocabulary.numbers(names).tolist(), strict=True):
            for row in np.flatnonzero(here.concepts.numpy() == number)[:A_FOLD].tolist():
                at, called = slice(row, row + 1), f"sound {fold} {row}"
                yield Stored(Modality.AUDIO, concept, called, joint[at], own[at])


def tell(calibration: Calibration, whole: Library) -> None:
    """A line for each pair, alone and in the mixed gallery."""
    for pair, own in sorted(calibration.fits.items()):
        figures = f"AUROC {own.auroc:.3f} ECE {own.ece:.3f} Brier {own.brier:.3f}"
        print(f"{pair!s:24} {own.positives:5}/{own.count:5} {figures} {own.refused or ''}")
    for cell in matrix(whole, calibration=calibration):
        mixed = {way: round(figures.means["R@1"], 3) for way, figures in cell.mixed.items()}
        print(f"{cell.pair!s:24} R@1 {cell.alone.means['R@1']:.3f} mixed {mixed}")


def tell_elsewhere(name: str, calibration: Calibration, items: Sequence[Stored]) -> None:
    """How the curves do where none of them was fitted."""
    for question in library(items).questions():
        curve = calibration.curve(question.pair)
        if curve is None:
            continue
        found = answers(question, strangers=True)
        told = np.array([curve(cosine) for cosine in found.cosines])
        figures = [measure(told, found.relevant) for measure in (auroc, ece, brier)]
        print(
            f"{name}: {question.pair!s:16} AUROC {figures[0]:.3f} ECE {figures[1]:.3f} "
            f"Brier {figures[2]:.3f}"
        )


def cifar(folder: Path, embedder: Builtin) -> Iterator[Stored]:
    """Some photos of each class, and its name in words."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    paths: Mapping[str, Sequence[Path]] = {
        name: sorted((folder / name).iterdir())[: made_of.PHOTOS] for name in classes
    }
    names = {name: CIFAR.get(name, name) for name in classes}
    said = {name: (f"a {word}", f"a photo of a {word}", word) for name, word in names.items()}
    yield from made_of.words(said, embedder)
    yield from made_of.photos(paths, embedder)


if __name__ == "__main__":
    main()
