"""ImageBind: pictures, films, words, sounds, depth, heat and motion in one space of 1024.

Girdhar et al., ImageBind: One Embedding Space To Bind Them All (CVPR 2023), in our own words
(`model`), with the authors' weights. Only the tower that is asked for is loaded.
Names: `imagebind:huge`, whose checkpoint lies in the cache folder, or `imagebind:/FOLDER/FILE.pth`;
`+bf16` or `+fp16` after them for less memory. Describing the space imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from embed.backends import precision
from embed.backends.imagebind.config import HUGE, SIDE
from embed.backends.openclip.clip_bpe import RECIPE, vocabulary_file
from embed.backends.tower import Tower
from embed.backends.words import chunker_of
from embed.errors import MissingWeights, NotFound
from embed.registry import Capabilities, LoadOptions
from embed.types import Batching, Modality, Space
from embed.weights.folder import absolute, digest_of

CONFIG = HUGE
SIZE = "huge"
FILE = "imagebind_huge.pth"
ADDRESS = "https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth"
LICENCE = "CC BY-NC 4.0 (no commercial use)"
PREPROCESSING = (
    "clip-bpe77; rgb resize224 bicubic crop224; film 5x2x3 bilinear224; "
    "kaldi-fbank128 3x2s first channel; depth, thermal, imu as given"
)
CHUNKER = f"{chunker_of(RECIPE)}; sounds and films 10 s"
UNFETCHED = "unfetched"


def describe(detail: str, options: LoadOptions) -> Capabilities:
    """What ImageBind can do; its revision is the checkpoint's digest. Raises NotFound."""
    path, precise = _parsed(detail, options)
    reference, _ = precision.split(detail, family="imagebind")
    called = SIZE if reference == SIZE else absolute(path)
    return Capabilities(
        space=Space(
            name=f"imagebind:{called}{detail.removeprefix(reference)}",
            revision=digest_of(path, options.cache)[:12] if path.is_file() else UNFETCHED,
            preprocessing=PREPROCESSING,
            precision=precise,
            dim=CONFIG.joint,
        ),
        summary="Texts, pictures, films, sounds, depth, heat and motion; for research only",
        modalities=frozenset(Modality),
        native_dims={},
        preprocessing=PREPROCESSING,
        licence=LICENCE,
        source=f"Girdhar et al., ImageBind (CVPR 2023); {ADDRESS}",
    )


def check(detail: str, options: LoadOptions) -> None:
    """Raises NotFound; MissingWeights, saying where they are to be had; MissingDependency."""
    path, _ = _parsed(detail, options)
    if not path.is_file():
        raise MissingWeights(
            f"the weights of ImageBind are not at {path}: download {ADDRESS} (4.5 GB, {LICENCE}) "
            "to there, or name the file you have: imagebind:/FOLDER/FILE.pth"
        )
    vocabulary_file()


def load(detail: str, options: LoadOptions) -> Tower:
    """Raises what `check` does; the checkpoint is opened, and checked, on first use."""
    from embed.backends.imagebind.towers import Towers  # noqa: PLC0415 (loads torch)

    check(detail, options)
    path, precise = _parsed(detail, options)
    towers = Towers(path, CONFIG, precision=precise, options=options, licence=LICENCE)
    return Tower(
        describe(detail, options).space,
        towers.encoders(),
        chunker=CHUNKER,
        image_side=SIDE,
        batching=Batching(workers=options.threads, max_batch=16),
    )


def _parsed(detail: str, options: LoadOptions) -> tuple[Path, str]:
    """The checkpoint's path and the precision. Raises NotFound, naming the choices."""
    name, precise = precision.split(detail, family="imagebind")
    if name == SIZE:
        return options.cache / FILE, precise
    if name.endswith((".pth", ".pt")):
        return Path(name).expanduser(), precise
    raise NotFound(
        f"imagebind has no variant {name!r}; the choices are: {SIZE}, or the path of a checkpoint "
        f"like {FILE}",
        param="space",
    )
