"""Encoders of one medium or a pair over the graphs of a folder, as `crossbind.json` says.

Most are a recipe and a network; ImageBind's, and the halves of the built-in space, have rules of
their own. It knows nothing of how graphs are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from embed.backends import recipes
from embed.backends.bind.head import HeadFile, load_head
from embed.backends.builtin.audio import BuiltinAudio
from embed.backends.builtin.image import BuiltinImage
from embed.backends.builtin.text import BuiltinText
from embed.backends.imagebind.encoders import ArrayEncoder, ClipsEncoder, FilmsEncoder
from embed.backends.onnx_runtime.session import SessionCore, open_anywhere
from embed.backends.pairs import PairEncoder, Part
from embed.backends.recipe_encoders import (
    FilmEncoder,
    PatchesEncoder,
    PixelsEncoder,
    SoundEncoder,
    WordsEncoder,
)
from embed.backends.recipes import AudioRecipe, ImageRecipe, PatchRecipe, TextRecipe
from embed.backends.tower import Encoder, Tower
from embed.backends.trained.encoders import Headed, HeadedText
from embed.backends.words import Words
from embed.errors import BadInput, CrossbindError
from embed.types import Downmix, Modality, Space


def make(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    """The encoder of `entry`. Raises BackendFailed, MissingWeights, BadInput for a foreign one."""
    with _understood(folder):
        return _KINDS[entry["kind"]](entry, folder, threads)


def make_pair(
    entry: Mapping[str, Any],
    folder: Path,
    threads: int,
    space: Space,
    encoders: Mapping[Modality, Callable[[], Encoder[Any]]],
) -> PairEncoder:
    """What reads media together, prepared by `encoders` of the same folder. Raises as `make`."""
    with _understood(folder):
        if "apart" in entry:
            space = replace(space, name=f"{space.name}#{entry['apart']}", dim=int(entry["dim"]))
        parts = {Modality(name): encoders[Modality(name)]() for name in entry["parts"]}
        ready = {name: part for name, part in parts.items() if isinstance(part, Part)}
        if not ready or ready.keys() != parts.keys():
            raise TypeError(f"{'+'.join(parts)} have encoders that are not read together")
        return PairEncoder(space, ready, _core(entry, folder, threads))


@contextmanager
def _understood(folder: Path) -> Iterator[None]:
    try:
        yield
    except CrossbindError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"an encoder of {folder} is described in a way that this version does not know "
            f"({error!r}): export it again"
        ) from error


def _recipe(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    recipe, core = recipes.from_json(entry["recipe"]), _core(entry, folder, threads)
    if isinstance(recipe, TextRecipe):
        return WordsEncoder(Words(recipe, folder), core)
    if isinstance(recipe, ImageRecipe):
        return PixelsEncoder(recipe, core)
    if isinstance(recipe, PatchRecipe):
        return PatchesEncoder(recipe, core)
    assert isinstance(recipe, AudioRecipe)
    encoder = SoundEncoder(recipe, core)
    encoder.downmix = Downmix(entry["downmix"])
    return encoder


def _film(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    recipe = recipes.from_json(entry["recipe"])
    if not isinstance(recipe, ImageRecipe):
        raise TypeError(f"films are not prepared by {type(recipe).__name__}")
    encoder = FilmEncoder(recipe, _core(entry, folder, threads), entry["frames"])
    encoder.seconds, encoder.per_second = float(entry["seconds"]), float(entry["per_second"])
    return encoder


def _clips(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    return ClipsEncoder(_core(entry, folder, threads))


def _films(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    return FilmsEncoder(_core(entry, folder, threads))


def _array(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    return ArrayEncoder(_core(entry, folder, threads), tuple(entry["shape"]))


def _core(entry: Mapping[str, Any], folder: Path, threads: int) -> SessionCore:
    session = open_anywhere(folder / entry["graph"], threads=threads)
    return SessionCore(session, entry["inputs"], entry["outputs"])


def _builtin_text(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    return BuiltinText(folder / entry["graph"], folder / entry["tokenizer"], threads)


def _builtin_image(entry: Mapping[str, Any], folder: Path, _: int) -> Encoder[Any]:
    beside = (folder / entry[name] for name in ("graph", "prototypes", "clothes"))
    return BuiltinImage(*beside)


def _builtin_audio(entry: Mapping[str, Any], folder: Path, _: int) -> Encoder[Any]:
    return BuiltinAudio(folder / entry["graph"])


def _headed(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    """A locked tower with a head, as a trained space has it."""
    like, dim = _KINDS[entry["like"]["kind"]](entry["like"], folder, threads), int(entry["dim"])
    modality = Modality(entry["modality"])
    space = Space(name=str(folder), revision="", preprocessing="", precision="", dim=dim)
    tower = Tower(space, {modality: lambda: like}, chunker="", image_side=1)
    head = None
    if "head" in entry:
        file = HeadFile(folder / entry["head"], entry["sha256"])
        inward, outward = entry["dims"]
        head = load_head(file, int(inward), int(outward))
    kind = HeadedText if modality is Modality.TEXT else Headed
    residual = bool(entry.get("residual"))
    return kind(tower, modality, entry["reads"], head, residual=residual)


_KINDS = {
    "headed": _headed,
    "recipe": _recipe,
    "film": _film,
    "array": _array,
    "imagebind-sound": _clips,
    "imagebind-film": _films,
    "builtin-text": _builtin_text,
    "builtin-image": _builtin_image,
    "builtin-audio": _builtin_audio,
}
