"""Preprocessing as data: what a tower does to a medium before its network, written down.

A recipe is a few numbers, so it can be read before any network is loaded, stored beside an
exported network as JSON, and run without torch: pictures by Pillow (`picture_recipes`), sounds by
numpy (`log_mel`), texts by `tokenizers` (`words`). Pixels leave a recipe as uint8; the network's
first step is `(pixels / 255 - mean) / std`, channels last to channels first.

It knows no model: the numbers come from a model's own configuration files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from embed.backends import log_mel
from embed.backends.bounds import SAMPLES, TOKENS, within
from embed.backends.cleaning import Cleaning
from embed.backends.picture_recipes import (
    ImageRecipe,
    Interpolation,
    Patches,
    PatchRecipe,
    Resize,
)
from embed.errors import TooLarge
from embed.types import Floats

if TYPE_CHECKING:
    import torch

__all__ = [
    "AudioRecipe",
    "ImageRecipe",
    "Interpolation",
    "Network",
    "PatchRecipe",
    "Patches",
    "Recipe",
    "Resize",
    "TextRecipe",
    "from_json",
    "summary",
    "to_json",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRecipe:
    """Words to token ids; `words.Words` does it.

    tokenizer: name of a `tokenizers` JSON file in the folder that `Words` is given. Its own
        padding and truncation are ignored.
    max_tokens: that one vector reads, special tokens included.
    padding: to the longest of a batch, where the attention mask (or a causal mask) makes that
        exact; or always to `max_tokens`, as SigLIP was trained.
    mask: whether the network takes one beside the ids.
    prefix: put before every text, as some towers were trained with ("query: ").
    clean: what is done to a text first (`cleaning`); passages are those of the text before it.
    """

    tokenizer: str
    max_tokens: int
    padding: Literal["longest", "max"] = "longest"
    pad_id: int = 0
    pad_left: bool = False
    mask: bool = True
    lowercase: bool = False
    prefix: str = ""
    clean: Cleaning = "none"

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError for a limit that no text can keep."""
        within("the number of tokens", self.max_tokens, TOKENS)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioRecipe:
    """A sound to what an audio network reads.

    kind: "log-mel", decibels of a mel spectrogram as CLAP has it, `(1, frames, mels)`; or
        "waveform", the samples, `(1, N)`, mirrored at the end to whole hops.
    rate, seconds: of what one vector hears. Longer sounds are refused, never cut at random.
    window, hop: samples of an analysis window (Hann, periodic), and between two.
    low, high: Hz of the first and last mel band. scale: "htk", or "slaney" with its area norm.
    short: a sound under `seconds` is repeated whole times and then padded with silence
        ("repeat-pad"), repeated to the end ("repeat"), or padded ("pad").
    """

    kind: Literal["log-mel", "waveform"]
    rate: int
    seconds: float
    window: int = 1024
    hop: int = 480
    mels: int = 64
    low: float = 0.0
    high: float = 14_000.0
    scale: Literal["htk", "slaney"] = "htk"
    short: Literal["repeat-pad", "repeat", "pad"] = "repeat-pad"

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError for numbers that make no spectrogram."""
        for what, value in (("rate", self.rate), ("window", self.window), ("hop", self.hop)):
            within(f"the {what} of sounds", value, SAMPLES)
        within("the number of mel bands", self.mels, self.window)
        within("the length of a sound in samples", self.samples, SAMPLES)

    @property
    def samples(self) -> int:
        """How many samples one vector hears at most."""
        return round(self.rate * self.seconds)

    def prepare(self, samples: Floats) -> Floats:
        """`(N,)` float32 at `rate` to float32 features. Raises TooLarge for over `seconds`."""
        if len(samples) > self.samples:
            raise TooLarge(
                f"the sound has {len(samples) / self.rate:.2f} s and one vector hears "
                f"{self.seconds:g} s: cut it into pieces with fragment()"
            )
        if self.kind == "waveform":
            return np.pad(samples, (0, -len(samples) % self.hop), "reflect")[np.newaxis]
        whole = _lengthened(samples, self.samples, self.short)
        bank = log_mel.filter_bank(
            rate=self.rate,
            bins=self.window // 2 + 1,
            mels=self.mels,
            low=self.low,
            high=self.high,
            scale=self.scale,
        )
        decibels = log_mel.decibels(whole, window=self.window, hop=self.hop, bank=bank)
        return decibels[np.newaxis]


def _lengthened(samples: Floats, length: int, short: str) -> Floats:
    if short == "repeat":
        return np.resize(samples, length)
    if short == "repeat-pad":
        samples = np.tile(samples, length // len(samples))
    return np.pad(samples, (0, length - len(samples)))


Recipe = ImageRecipe | PatchRecipe | TextRecipe | AudioRecipe

_KINDS: dict[str, type[Any]] = {
    "image": ImageRecipe,
    "patches": PatchRecipe,
    "text": TextRecipe,
    "audio": AudioRecipe,
}


def to_json(recipe: Recipe) -> dict[str, Any]:
    """`{"recipe": "image", …}`: every number of it, JSON types only."""
    name = next(name for name, kind in _KINDS.items() if type(recipe) is kind)
    fields: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return {"recipe": name, **fields}


def from_json(value: Mapping[str, Any]) -> Recipe:
    """The inverse of `to_json`. Raises KeyError or TypeError for what it never wrote."""
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
    recipe: Recipe = _KINDS[str(fields.pop("recipe"))](**fields)
    return recipe


def summary(recipe: Recipe) -> str:
    """One line for people: what changes a vector most. Not all of it, as `to_json` is."""
    match recipe:
        case ImageRecipe():
            return (
                f"rgb {recipe.resize} {recipe.resize_to or recipe.height} {recipe.interpolation} "
                f"to {recipe.width}x{recipe.height}"
            )
        case PatchRecipe():
            return f"rgb {recipe.max_patches} patches of {recipe.patch} {recipe.interpolation}"
        case TextRecipe():
            return f"text {recipe.max_tokens} tokens, padded to {recipe.padding}"
        case AudioRecipe():
            return f"{recipe.kind} {recipe.rate} Hz {recipe.seconds:g} s"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """An encoder's network, as an exporter wants it. `Encoder.network()` returns it.

    module: a torch module in eval mode. Its positional arguments are `inputs`, in order; it
        returns one tensor, or a tuple of them, float, `(N, D)`, in the order of `outputs`, not
        brought to unit length. It does all that `Encoder.run` does after batching: for pixels
        that begins with uint8 `(N, H, W, 3)`; tokens and masks are int64 `(N, L)`; sounds float32.
    inputs: by name, a small real example of each argument, a batch of 2.
    dynamic: by input, the axes that may change, with a name each; axis 0 is always "batch". Axes
        of one name change together.
    outputs: "joint", and "native" where the encoder has it.
    recipe: what makes an example from a medium, for the exported folder; None where `kind` says it
        all. kind, numbers: how the folder names the encoder, and what else makes one like it.
    """

    module: torch.nn.Module
    inputs: Mapping[str, NDArray[Any]]
    dynamic: Mapping[str, Mapping[int, str]]
    outputs: tuple[str, ...] = ("joint",)
    recipe: Recipe | None = None
    kind: str = "recipe"
    numbers: Mapping[str, Any] = field(default_factory=dict)
