"""Trained spaces, `trained:FOLDER`: what `crossbind train` made, as a space like any other.

Describing one reads `manifest.json` alone. A part on another tower needs that tower, just as it was
when the part was trained; films without a part of their own go frame by frame through the pictures.
It knows nothing of how anything was trained.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, cast

from embed import registry
from embed.backends.bind.head import HeadFile, load_head
from embed.backends.recipe_encoders import Made
from embed.backends.recipes import AudioRecipe, ImageRecipe, Network, TextRecipe
from embed.backends.tower import Encoder, FramesEncoder, ImageEncoder, Once, Tower
from embed.backends.trained import encoders
from embed.backends.trained import manifest as manifests
from embed.backends.trained.encoders import Headed, HeadedText
from embed.backends.trained.manifest import Base, Locked, Manifest, Own, Part, Tuned
from embed.backends.trained.shapes import Frames
from embed.backends.words import Words, chunker_of
from embed.errors import BadInput, MissingDependency, MissingWeights
from embed.registry import Capabilities, LoadOptions
from embed.types import Batching, Embedder, Modality
from embed.weights.folder import absolute

MAX_BATCH = 32

_open: ContextVar[frozenset[Path]] = ContextVar("_open", default=frozenset())


def describe(detail: str, _: LoadOptions) -> Capabilities:
    """What the folder says of itself. Raises MissingWeights, BadInput."""
    manifest = _read(detail)
    bases = manifest.bases.values()
    native = {
        modality: part.native
        for modality, part in manifest.parts.items()
        if isinstance(part, Locked) and part.native
    }
    return Capabilities(
        space=manifest.space,
        summary=f"{manifest.name}, trained with Crossbind",
        modalities=_modalities(manifest),
        native_dims=native,
        preprocessing=manifest.space.preprocessing,
        licence="; ".join(dict.fromkeys([manifest.licence, *(base.licence for base in bases)])),
        source="; ".join(dict.fromkeys([manifest.name, *(base.source for base in bases)])),
    )


def check(detail: str, options: LoadOptions) -> None:
    """Raises MissingWeights for a file that is gone or cut short, and what its bases want."""
    manifest = _read(detail)
    manifest.check_sizes()
    if importlib.util.find_spec("torch") is None:
        raise MissingDependency("torch is not installed: pip install torch")
    with _opening(manifest.folder):
        for base in manifest.bases:
            registry.check(base, options)


def load(detail: str, options: LoadOptions) -> Tower:
    """The tower, every file of it verified; networks are made on first use.

    Raises MissingWeights for a folder that is not whole, or a base that is another by now.
    """
    manifest = _read(detail)
    manifest.check_digests(options.cache)
    with _opening(manifest.folder):
        bases = {name: _base(base, options) for name, base in manifest.bases.items()}
    smallest = min([MAX_BATCH, *(base.batching.max_batch for base in bases.values())])
    return Tower(
        manifest.space,
        _makers(manifest, bases, options),
        chunker=" | ".join(_cut(part, bases) for part in manifest.parts.values()),
        image_side=max(_side(part, bases) for part in manifest.parts.values()),
        batching=Batching(options.threads, smallest),
    )


def _read(detail: str) -> Manifest:
    if not detail:
        raise BadInput("trained: wants a folder, as in trained:runs/birds/space", param="space")
    return manifests.read(absolute(detail))


@contextmanager
def _opening(folder: Path) -> Iterator[None]:
    """Raises BadInput for a folder that is made on itself."""
    around = _open.get()
    if folder in around:
        raise BadInput(f"{folder} is made on a tower that is made on it: name another base in it")
    token = _open.set(around | {folder})
    try:
        yield
    finally:
        _open.reset(token)


def _base(base: Base, options: LoadOptions) -> Embedder:
    """Raises MissingWeights where its weights are others than those that were trained on."""
    tower = registry.load(base.space, options)
    if tower.space.revision != base.revision:
        raise MissingWeights(
            f"{base.space} has revision {tower.space.revision}, and this space was trained on "
            f"{base.revision}: restore that one, or train again"
        )
    return tower


def _modalities(manifest: Manifest) -> frozenset[Modality]:
    films = {Modality.VIDEO} if Modality.IMAGE in manifest.parts else set()
    return frozenset(manifest.parts) | films


def _makers(
    manifest: Manifest, bases: Mapping[str, Embedder], options: LoadOptions
) -> dict[Modality, Callable[[], Encoder[Any]]]:
    makers: dict[Modality, Callable[[], Encoder[Any]]] = {
        modality: Once(partial(_encoder, modality, part, manifest, bases, options))
        for modality, part in manifest.parts.items()
    }
    if Modality.VIDEO not in makers and Modality.IMAGE in makers:
        side = _side(manifest.parts[Modality.IMAGE], bases)
        makers[Modality.VIDEO] = partial(_frames, makers[Modality.IMAGE], side)
    return makers


def _frames(pictures: Callable[[], Encoder[Any]], side: int) -> Encoder[Any]:
    encoder: Encoder[Any] = pictures()
    # A head on pictures takes them as an encoder of pictures does, whatever class it is.
    films: FramesEncoder[Any] = FramesEncoder(cast("ImageEncoder[Any]", encoder), min_side=side)
    return films


def _encoder(
    modality: Modality,
    part: Part,
    manifest: Manifest,
    bases: Mapping[str, Embedder],
    options: LoadOptions,
) -> Encoder[Any]:
    match part:
        case Own():
            return _own(part, manifest, options)
        case Tuned():
            return _tuned(modality, part, manifest, options)
        case Locked():
            return _headed(modality, part, manifest, bases[part.base.space])


def _own(part: Own, manifest: Manifest, options: LoadOptions) -> Encoder[Any]:
    from embed.backends.torch_core import Core  # noqa: PLC0415 (loads torch)
    from embed.backends.trained import weights  # noqa: PLC0415 (loads torch)

    recipe = part.recipe
    words = Words(recipe, manifest.folder) if isinstance(recipe, TextRecipe) else None
    path = manifest.folder / part.weights
    make = partial(weights.own, part.shape, recipe, manifest.dim, path)
    core = Core(make(), precision="fp32", threads=options.threads)
    return encoders.own(part.shape, recipe, words, core, Made(make))


def _tuned(
    modality: Modality, part: Tuned, manifest: Manifest, options: LoadOptions
) -> Encoder[Any]:
    from embed.backends.torch_core import Core  # noqa: PLC0415 (loads torch)
    from embed.backends.trained import weights  # noqa: PLC0415 (loads torch)

    def fresh() -> tuple[Encoder[Any], Network]:
        # The base is opened for this alone, so that its own weights do not stay in memory.
        like, network = encoders.offered(registry.load(part.base.space, options), modality)
        return like, weights.tuned(network, manifest.dim, manifest.folder / part.weights)

    like, network = fresh()
    core = Core(network.module, precision="fp32", threads=options.threads)
    return encoders.tuned(like, network.recipe, core, lambda: fresh()[1])


def _headed(modality: Modality, part: Locked, manifest: Manifest, tower: Embedder) -> Encoder[Any]:
    """Raises BadInput for a head, or none, that does not lead from this tower to the space."""
    inward = tower.space.dim if part.reads == "joint" else part.native or 0
    if (part.head is None or part.residual) and inward != manifest.dim:
        raise BadInput(
            f"{part.base.space} has {inward} dimensions and {manifest.folder} {manifest.dim}: "
            "without a head, or with a residual one, they must agree"
        )
    head = None
    if part.head is not None:
        file = HeadFile(manifest.folder / part.head, manifest.files[part.head].sha256)
        head = load_head(file, inward, manifest.dim)
    kind = HeadedText if modality is Modality.TEXT else Headed
    return kind(tower, modality, part.reads, head, residual=part.residual)


def _cut(part: Part, bases: Mapping[str, Embedder]) -> str:
    """Names how the media of a part are cut."""
    if not isinstance(part, Own):
        return bases[part.base.space].chunker
    if isinstance(part.recipe, TextRecipe):
        return chunker_of(part.recipe)
    if isinstance(part.recipe, AudioRecipe):
        return f"clips {part.recipe.seconds:g} s"
    if isinstance(part.shape, Frames):
        return f"shots {part.shape.seconds:g} s, {part.shape.frames} frames"
    return "shots 10 s, 1 frame/s"


def _side(part: Part, bases: Mapping[str, Embedder]) -> int:
    if not isinstance(part, Own):
        return bases[part.base.space].image_side
    return part.recipe.min_side if isinstance(part.recipe, ImageRecipe) else 1
