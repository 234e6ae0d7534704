"""What each ingredient of the built-in image half is worth, on photos and classes it has not seen.

    python benchmarks/builtin_ablation.py --data ../shared/data --wordnet /usr/share/wordnet \\
        --cache CACHE

Prototypes as made (`embed.training.prototypes`), refined by words, and the clothes head, one after
the other. Photos: the part of the clothing set that nothing was trained on or chosen by; 150 photos
of each class of CIFAR-10; sample photos of scikit-image and scikit-learn among both. Classes: drawn
galleries (`embed.training.image_head.galleries`), which tell of ImageNet's 1,000 classes without
their photos. Every step is compared with the one before by a paired bootstrap over queries.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from builtin_queries import CIFAR, CLOTHES, NEW_CLOTHES, SAMPLES, TREE
from numpy.typing import NDArray
from setting import finish, say

from embed.backends.builtin import space
from embed.backends.builtin.image import Clothes
from embed.registry import LoadOptions
from embed.training.image_head import refine
from embed.training.image_head.galleries import SEEN, UNSEEN, Galleries
from embed.training.image_head.photos import Photos, look, split, under
from embed.training.metrics import matches, ndcg_at_k, paired_bootstrap, ranked, recall_at_k
from embed.training.prototypes import Words, imagenet_classes, prototypes, read_nouns
from embed.types import Floats, normalise
from embed.weights import store

K = 10
EACH = 150  # photos of each class of CIFAR-10
SEED = 11
GALLERIES = {"unseen": (1, UNSEEN), "seen": (3, SEEN)}  # seed and strength

Binding = Callable[[Photos], Floats]
"""Photos to unit vectors in the space of words."""


class Task(NamedTuple):
    """Queries `(Q, D)` to photos, which ones are right `(Q, N)`, and how that is scored."""

    queries: Floats
    photos: Photos
    right: NDArray[np.bool_]
    first: bool = False  # recall at 1 instead of nDCG@10

    def scored(self, binding: Binding) -> NDArray[np.float64]:
        relevance = ranked(self.queries @ binding(self.photos).T, self.right)
        if self.first:
            return recall_at_k(relevance, 1)
        return ndcg_at_k(relevance, K, self.right.sum(axis=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with data.noun")
    parser.add_argument("--cache", type=Path, required=True, help="folder for derived weights")
    parser.add_argument("--out", type=Path, help="also write the result here")
    args = parser.parse_args()
    embedder = space.Builtin(LoadOptions(cache=args.cache, threads=2))
    words = Words(embedder)
    tree = refine.Tree(*imagenet_classes(), read_nouns(args.wordnet))
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("clothing-train.zip", "cifar10-train-15k.zip"):
            with zipfile.ZipFile(args.data / name) as bundle:
                bundle.extractall(scratch)
        train, _, clothing = split(look(under(Path(scratch) / "clothing"), embedder))
        cifar = look(some(under(Path(scratch) / "cifar10")), embedder)
        tasks = {
            **of_classes("clothing", clothing, CLOTHES, words),
            **of_classes("cifar10", cifar, CIFAR, words),
            "clothing in new words": free_form(clothing, NEW_CLOTHES, words),
            "samples free-form": of_samples(embedder, (clothing, cifar), words),
        }
    steps = bindings(prototypes(tree.classes, tree.names, tree.nouns, embedder))
    table = compared(tasks, steps)
    del steps["clothes"]  # drawn pictures vary as photos of clothes do, so it is blind there
    table |= compared(drawn(tree, Galleries(train), words), steps)
    finish("builtin_ablation", {"k": K, "tasks": table}, args.out)
    return 0


def bindings(made: Floats) -> dict[str, Binding]:
    """One ingredient after the other."""
    refined = np.load(store.find(space.PROTOTYPES), allow_pickle=False).astype(np.float32)
    clothes = Clothes(store.find(space.CLOTHES))

    def with_clothes(photos: Photos) -> Floats:
        pairs = zip(photos.features, photos.posterior, strict=True)
        return normalise(photos.posterior @ refined + np.stack([clothes(*pair) for pair in pairs]))

    return {
        "made": lambda photos: normalise(photos.posterior @ made),
        "refined": lambda photos: normalise(photos.posterior @ refined),
        "clothes": with_clothes,
    }


def compared(tasks: Mapping[str, Task], steps: Mapping[str, Binding]) -> dict[str, Any]:
    """By task: the mean of each step, and its gain on the one before with the interval."""
    table: dict[str, Any] = {}
    say(f"{'':<28}" + "".join(f"{step:>9}" for step in steps) + "   gain on the one before")
    for name, task in tasks.items():
        scores = {step: task.scored(binding) for step, binding in steps.items()}
        gains = {
            after: [round(number, 4) for number in paired_bootstrap(scores[after], scores[before])]
            for before, after in pairwise(steps)
        }
        means = {step: round(float(values.mean()), 4) for step, values in scores.items()}
        table[name] = {"queries": len(task.queries), **means, "gains": gains}
        text = "; ".join(f"{g[0]:+.3f} [{g[1]:+.3f}, {g[2]:+.3f}]" for g in gains.values())
        say(f"{name:<28}" + "".join(f"{mean:>9.3f}" for mean in means.values()) + f"   {text}")
    return table


def of_classes(
    name: str, photos: Photos, asked: Mapping[str, tuple[str, Sequence[str]]], words: Words
) -> dict[str, Task]:
    plain = words([word for word, _ in asked.values()])
    right = matches(np.array(list(asked)), photos.labels)
    queries = {label: said for label, (_, said) in asked.items()}
    return {
        f"{name} class word": Task(plain, photos, right),
        f"{name} class word R@1": Task(plain, photos, right, first=True),
        f"{name} free-form": free_form(photos, queries, words),
    }


def free_form(photos: Photos, asked: Mapping[str, Sequence[str]], words: Words) -> Task:
    labels, texts = zip(*[(label, q) for label, said in asked.items() for q in said], strict=True)
    return Task(words(texts), photos, matches(np.array(labels), photos.labels))


def of_samples(embedder: space.Builtin, others: Sequence[Photos], words: Words) -> Task:
    """Sample photos among one in four of the others."""
    folders = []
    for package, inside in (("skimage", "data"), ("sklearn", "datasets/images")):
        spec = find_spec(package)
        assert spec is not None
        folders.append(Path(*(spec.submodule_search_locations or []), inside))
    known = {stem for stems in SAMPLES for stem in stems}
    paths = [path for folder in folders for path in under(folder) if path.stem in known]
    samples = look(paths, embedder)
    parts = [samples, *(part.where(np.arange(len(part.labels)) % 4 == 0) for part in others)]
    photos = Photos(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    stems = np.array([Path(path).stem for path in photos.paths])
    asked = [(right, query) for right, queries in SAMPLES.items() for query in queries]
    right = np.stack([np.isin(stems, right) for right, _ in asked])
    return Task(words([query for _, query in asked]), photos, right)


def drawn(tree: refine.Tree, galleries: Galleries, words: Words) -> dict[str, Task]:
    """Names (trained on), synsets left out of training, and free-form queries."""
    under = tree.under()
    left_out = refine.above(tree)[1]
    asked: dict[str, tuple[list[str], list[list[int]]]] = {
        "names R@1": (list(tree.names), [[row] for row in range(len(tree.names))]),
        "new phrase R@1": (
            [f"there is a {name} here" for name in tree.names],
            [[row] for row in range(len(tree.names))],
        ),
        "left-out lemma": (
            [tree.nouns[s].lemmas[0] for s in left_out],
            [under[s] for s in left_out],
        ),
        "left-out gloss": ([tree.nouns[s].gloss for s in left_out], [under[s] for s in left_out]),
        "free-form": (
            [query for query, _ in TREE],
            [[row for lemma in lemmas for row in tree.called(lemma)] for _, lemmas in TREE],
        ),
    }
    tasks = {}
    for kind, (seed, strength) in GALLERIES.items():
        gallery = galleries.draw(seed, strength)
        unseen, unnamed = np.empty((0, 0), np.float32), np.empty(0, np.str_)
        photos = Photos(unseen, gallery.posterior, unnamed, unnamed)
        for name, (texts, rows) in asked.items():
            right = np.stack([np.isin(gallery.classes, found) for found in rows])
            first = name.endswith("R@1")
            tasks[f"{kind} {name}"] = Task(words(texts), photos, right, first)
    return tasks


def some(paths: Sequence[Path]) -> list[Path]:
    """EACH of every folder, drawn."""
    rng = np.random.default_rng(SEED)
    folders = np.array([path.parent.name for path in paths])
    rows = [
        rng.choice(np.flatnonzero(folders == folder), EACH, replace=False)
        for folder in np.unique(folders)
    ]
    return [paths[row] for row in np.sort(np.concatenate(rows)).tolist()]


if __name__ == "__main__":
    sys.exit(main())
