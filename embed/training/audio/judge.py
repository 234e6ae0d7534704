"""How well the audio tower binds sounds to words, measured on sounds that it has not heard.

Zero-shot: a sound is given the class whose caption is nearest. Unknown: two classes are never
heard, rendered sounds of the same name included, and a sound's greatest cosine with the captions
of the other eight must tell known from unknown (AUROC). Digits: people whom the tower has not
heard say them; such a tower remembers a share-alike set, and so is measured and thrown away.
It writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embed.training import metrics
from embed.training.audio import esc, speech, vocabulary
from embed.training.audio.features import read_clip, spectrograms
from embed.training.audio.memory import Describer, Tower
from embed.training.audio.recipe import SPEECH, made, without
from embed.training.audio.sources import Sounds
from embed.training.audio.vocabulary import Prototypes
from embed.types import Embedder, Floats, Media, Modality

PAIRS = (
    ("dog bark", "rain"),
    ("sea waves", "baby cry"),
    ("clock tick", "person sneeze"),
    ("helicopter", "chainsaw"),
    ("rooster", "fire crackling"),
)
"""Left out together: every class once. Pair n is measured on fold n, the last on the first."""


class Words(NamedTuple):
    """What sounds are compared with.

    label, trained, held: `(S, 10, D)`, S times a caption for each of ESC-10's classes. digits:
    `(1, 10, D)`. Rows of unit length.
    """

    prototypes: Prototypes
    label: Floats
    trained: Floats
    held: Floats
    digits: Floats

    @classmethod
    def of(cls, embedder: Embedder) -> Words:
        label = {name: [name] for name in esc.TRAINED}
        digits = {digit: [digit] for digit in speech.DIGITS}
        asked = (label, esc.TRAINED, esc.HELD, digits)
        return cls(vocabulary.prototypes(embedder), *(_captions(embedder, each) for each in asked))


def _captions(embedder: Embedder, words: Mapping[str, Sequence[str]]) -> Floats:
    sets = zip(*words.values(), strict=True)
    media = [[Media(Modality.TEXT, text) for text in texts] for texts in sets]
    return np.stack([embedder.embed(texts).joint for texts in media])


def right(vectors: Floats, classes: Tensor, captions: Floats) -> NDArray[np.float64]:
    """`(N,)`: of each sound the share of sets of captions in which its class's is the nearest.

    classes: `(N,)`, which of the C captions of a set is right.
    """
    nearest = (vectors @ captions.transpose(0, 2, 1)).argmax(-1)
    return np.asarray((nearest == classes.numpy()).mean(0), np.float64)


def zero_shot(
    describer: Describer, recorded: Sounds, rendered: Sounds, words: Words, fold: int
) -> dict[str, NDArray[np.float64]]:
    """What is right of one fold, the others heard, by kind of caption."""
    heard = recorded.where((recorded.folds != fold) & recorded.free)
    unseen = recorded.where(recorded.folds == fold)
    vectors = made(describer, heard, rendered, words.prototypes).joint(unseen.clips).numpy()
    asked = {"label": words.label, "trained": words.trained, "held": words.held}
    return {name: right(vectors, unseen.concepts, rows) for name, rows in asked.items()}


def unknown(
    describer: Describer, recorded: Sounds, rendered: Sounds, words: Words, pair: int
) -> float:
    """AUROC of a fold's known sounds against those of the two classes that are never heard."""
    fold, absent = pair % 4 + 1, vocabulary.numbers(PAIRS[pair])
    heard = without(recorded.where((recorded.folds != fold) & recorded.free), absent)
    unseen = recorded.where(recorded.folds == fold)
    tower = made(describer, heard, without(rendered, absent), words.prototypes)
    known = [row for row, name in enumerate(esc.TRAINED) if name not in PAIRS[pair]]
    nearest = (tower.joint(unseen.clips).numpy() @ words.label[0, known].T).max(1)
    return metrics.auroc(nearest, ~torch.isin(unseen.concepts, absent).numpy())


def digits(folder: Path) -> tuple[Sounds, list[str]]:
    """Files called `digit_speaker_take.ogg`; `folds` numbers the speakers, named in that order."""
    paths = sorted(folder.glob("*_*_*.ogg"))
    parts = [path.stem.split("_") for path in paths]
    speakers = sorted({speaker for _, speaker, _ in parts})
    concepts = vocabulary.numbers([speech.DIGITS[int(digit)] for digit, _, _ in parts])
    folds = torch.tensor([speakers.index(speaker) for _, speaker, _ in parts])
    clips = spectrograms(read_clip(path) for path in paths)
    return Sounds(clips, concepts, folds, torch.zeros_like(folds, dtype=torch.bool)), speakers


def unheard_speaker(
    describer: Describer, said: Sounds, rendered: Sounds, words: Words, speaker: int
) -> NDArray[np.float64]:
    """What is right of one speaker's digits, the others' heard."""
    tower = made(describer, said.where(said.folds != speaker), rendered, words.prototypes, SPEECH)
    return spoken(tower, said.where(said.folds == speaker), words)


def spoken(tower: Tower, said: Sounds, words: Words) -> NDArray[np.float64]:
    """What is right, of ten digits."""
    digit = said.concepts - vocabulary.numbers([speech.DIGITS[0]])
    return right(tower.joint(said.clips).numpy(), digit, words.digits)
