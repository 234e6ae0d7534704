"""Encoders over the graphs of an exported folder, as `crossbind.json` describes each.

Three kinds: any encoder that is a recipe and a network, and the two halves of the built-in space,
which have rules of their own. It knows nothing of how graphs are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embed.backends import recipes
from embed.backends.builtin.image import BuiltinImage
from embed.backends.builtin.text import BuiltinText
from embed.backends.onnx_runtime.session import SessionCore, open_anywhere
from embed.backends.recipe_encoders import PixelsEncoder, SoundEncoder, WordsEncoder
from embed.backends.recipes import AudioRecipe, ImageRecipe, TextRecipe
from embed.backends.tower import Encoder
from embed.backends.words import Words
from embed.errors import BadInput, CrossbindError
from embed.types import Downmix


def make(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    """The encoder of `entry`. Raises BackendFailed, MissingWeights, BadInput for a foreign one."""
    try:
        return _KINDS[entry["kind"]](entry, folder, threads)
    except CrossbindError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"an encoder of {folder} is described in a way that this version does not know "
            f"({error!r}): export it again"
        ) from error


def _recipe(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    recipe = recipes.from_json(entry["recipe"])
    session = open_anywhere(folder / entry["graph"], threads=threads)
    core = SessionCore(session, entry["inputs"], entry["outputs"])
    if isinstance(recipe, TextRecipe):
        return WordsEncoder(Words(recipe, folder), core)
    if isinstance(recipe, ImageRecipe):
        return PixelsEncoder(recipe, core)
    if isinstance(recipe, AudioRecipe):
        encoder = SoundEncoder(recipe, core)
        encoder.downmix = Downmix(entry["downmix"])
        return encoder
    raise TypeError(f"{type(recipe).__name__} is not exported")


def _builtin_text(entry: Mapping[str, Any], folder: Path, threads: int) -> Encoder[Any]:
    return BuiltinText(folder / entry["graph"], folder / entry["tokenizer"], threads)


def _builtin_image(entry: Mapping[str, Any], folder: Path, _: int) -> Encoder[Any]:
    return BuiltinImage(folder / entry["graph"], folder / entry["prototypes"])


_KINDS = {"recipe": _recipe, "builtin-text": _builtin_text, "builtin-image": _builtin_image}
