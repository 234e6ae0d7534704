"""The text prototypes of the 1,000 ImageNet classes that bind pictures to words (ConSE).

T_k = normalise(name_k + gloss_k + 1.5 · broader_k), each part a unit vector of the text half:
name_k the class name bare and as "a photo of a …", gloss_k its WordNet definition, and broader_k
the lemmas of its WordNet ancestors h, each weighted ln(1000 / leaves under h), so that "cat" says
much and "entity" nothing. A prototype thus answers to "tabby", to a description and to "animal".
Class order comes from timm, names from open_clip; neither is a dependency, the result is stored.
It needs no picture and has no seed: on one machine the same inputs give the same bytes. What ships
is refined from here (`image_head`).
"""

from __future__ import annotations

import importlib
import importlib.resources
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from embed.backends.builtin.space import Builtin
from embed.errors import MissingDependency, NotFound
from embed.types import Floats, Media, Modality, normalise

BROADER_WEIGHT = 1.5
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Synset:
    """A WordNet noun sense: its lemmas, its definition without examples, its hypernyms' ids."""

    lemmas: tuple[str, ...]
    gloss: str
    parents: tuple[str, ...]


def read_nouns(wordnet: Path) -> dict[str, Synset]:
    """The synsets of WordNet's `data.noun` by id, as `n02123045` (format: wndb(5WN))."""
    path = wordnet / "data.noun"
    if not path.is_file():
        raise NotFound(f"{path} is missing: install WordNet 3.0 (Debian: wordnet-base)")
    lines = path.read_text(encoding="latin-1").splitlines()
    return dict(_synset(line) for line in lines if not line.startswith("  "))


def _synset(line: str) -> tuple[str, Synset]:
    head, _, gloss = line.partition("|")
    fields = head.split()
    pointers_at = 4 + 2 * int(fields[3], 16)
    lemmas = tuple(word.replace("_", " ") for word in fields[4:pointers_at:2])
    pointers = fields[pointers_at + 1 :]
    parents = tuple(
        f"n{offset}"
        for kind, offset in zip(pointers[0::4], pointers[1::4], strict=False)
        if kind in ("@", "@i")
    )
    definition = gloss.partition('; "')[0].strip()
    return f"n{fields[0]}", Synset(lemmas, definition, parents)


def ancestors(synset: str, nouns: Mapping[str, Synset]) -> set[str]:
    """Ids of all synsets above `synset`, along every parent; itself left out."""
    found: set[str] = set()
    open_ids = list(nouns[synset].parents)
    while open_ids:
        parent = open_ids.pop()
        if parent not in found:
            found.add(parent)
            open_ids.extend(nouns[parent].parents)
    return found


def specificity(classes: Sequence[str], nouns: Mapping[str, Synset]) -> dict[str, float]:
    """ln(classes / classes under it) of every synset above a class: 0 where all are under it."""
    leaves = Counter(above for name in classes for above in ancestors(name, nouns))
    return {synset: math.log(len(classes) / count) for synset, count in leaves.items()}


def prototypes(
    classes: Sequence[str], names: Sequence[str], nouns: Mapping[str, Synset], embedder: Builtin
) -> Floats:
    """`(K, 384)` unit rows, in the order of `classes` (synset ids) with their plain `names`."""
    weights = specificity(classes, nouns)
    above = [sorted(ancestors(name, nouns)) for name in classes]
    words = Words(embedder)
    broader = np.stack(
        [
            sum(weights[synset] * words.mean(nouns[synset].lemmas) for synset in chain)
            for chain in above
        ]
    )
    name = np.stack([words.mean([name, f"a photo of a {name}"]) for name in names])
    gloss = np.stack([words.mean([nouns[name].gloss]) for name in classes])
    return normalise(normalise(name) + normalise(gloss) + BROADER_WEIGHT * normalise(broader))


class Words:
    """Text vectors, each computed once."""

    def __init__(self, embedder: Builtin) -> None:
        self._embedder = embedder
        self._known: dict[str, Floats] = {}

    def __call__(self, texts: Sequence[str]) -> Floats:
        """`(N, 384)` unit rows."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for start in range(0, len(new), _AT_ONCE):
            part = new[start : start + _AT_ONCE]
            vectors = self._embedder.embed([Media(Modality.TEXT, text) for text in part])
            self._known.update(zip(part, vectors.joint, strict=True))
        return np.stack([self._known[text] for text in texts])

    def mean(self, texts: Sequence[str]) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = self(texts).mean(axis=0, dtype=np.float64)
        return mean


def imagenet_classes() -> tuple[list[str], list[str]]:
    """Synset ids and plain names of the 1,000 classes, in the order of the networks' outputs."""
    synsets = importlib.resources.files(_recipe_module("timm")) / "data/_info/imagenet_synsets.txt"
    names = _recipe_module("open_clip.zero_shot_metadata").IMAGENET_CLASSNAMES
    return synsets.read_text(encoding="utf-8").split(), list(names)


def _recipe_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency(
            f"the recipe reads {name}: pip install timm open_clip_torch (only to make prototypes)"
        ) from error
