"""Makes the class prototypes and the clothes head of the built-in space.

    python -m embed.training.image_head --clothing FOLDER --wordnet /usr/share/wordnet --cache CACHE

FOLDER holds the photos of the Clothing dataset (CC0), one folder a kind; of the near-duplicate-free
split in `photos`, the last part is never read here. `benchmarks/builtin_ablation.py` measures.
Needs timm and open_clip for the names of ImageNet's classes; takes some 3 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np

from embed.backends.builtin.space import CLOTHES, PROTOTYPES, Builtin
from embed.registry import LoadOptions
from embed.training.image_head import clothes, photos, refine
from embed.training.image_head.galleries import Galleries
from embed.training.prototypes import Words, imagenet_classes, prototypes, read_nouns
from embed.training.shipped import path_of, register

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description="Bind pictures of the built-in space to words.")
    parser.add_argument("--clothing", type=Path, required=True, help="folder with a folder a kind")
    parser.add_argument("--wordnet", type=Path, required=True, help="folder with data.noun")
    parser.add_argument("--cache", type=Path, required=True, help="folder for derived weights")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    embedder = Builtin(LoadOptions(cache=args.cache, threads=2))
    words = Words(embedder)
    train, choose, _ = photos.split(photos.look(photos.under(args.clothing), embedder))
    log.info("%d photos to train on, %d to choose by", len(train.labels), len(choose.labels))
    tree = refine.Tree(*imagenet_classes(), read_nouns(args.wordnet))
    clothes.write(train, tree, words, path_of(CLOTHES))
    print(f"{path_of(CLOTHES)}: {register(CLOTHES)}")
    made = prototypes(tree.classes, tree.names, tree.nouns, embedder)
    asked = refine.questions(tree, refine.above(tree)[0], words)
    log.info("%d texts to ask with", len(asked.share))
    rows = refine.refined(made, asked, Galleries(train))
    np.save(path_of(PROTOTYPES), rows.astype(np.float16), allow_pickle=False)
    print(f"{path_of(PROTOTYPES)}: {register(PROTOTYPES)}")


if __name__ == "__main__":
    main()
