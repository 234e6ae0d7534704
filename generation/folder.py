"""What a folder of transformers says of a generator, read from its JSON: no library is imported.

It knows the names of settings, and no model.
"""

from __future__ import annotations

from dataclasses import dataclass

from embed.backends.huggingface.files import Json, ModelFolder, first_of, value_at
from embed.errors import MissingWeights, NotFound
from embed.registry import LoadOptions
from embed.types import Modality
from embed.weights import folder as weights
from generation.types import Taste

_TEXTS = ("text_config", "thinker_config.text_config", "llm_config", "decoder")
_LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
_TOKENS = ("image_seq_length", "mm_tokens_per_image", "num_query_tokens", "image_seq_len")
_PRECISIONS = ("dtype", "torch_dtype", "text_config.dtype", "text_config.torch_dtype")
_ONE_PICTURE = frozenset({"blip", "blip-2", "instructblip", "git", "kosmos-2", "pix2struct"})
_CONTEXT = 2048  # what the library takes where a Llama's config says nothing
_MAX_SIDE = 1536
_SIDE = 1024
_IMAGE_TOKENS = 1024
_MAX_IMAGES = 8
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Card:
    """A generator's folder.

    inputs: what it takes. films: it takes films as such, not as pictures. stored: the precision of
    its weights, as the library names it.
    """

    name: str
    folder: ModelFolder
    inputs: frozenset[Modality]
    films: bool
    taste: Taste
    licence: str
    stored: str


def read(detail: str, options: LoadOptions, *, describing: bool = False) -> Card:
    """The card of a folder or of a hub repository. describing: no weights are fetched.

    Raises NotFound for an empty detail, MissingWeights, saying what to do.
    """
    if not detail:
        raise NotFound("hf: names no model: write hf:FOLDER or hf:OWNER/NAME", param="generator")
    folder = ModelFolder(weights.resolve(detail, options, describing=describing))
    try:
        return _card(detail, folder)
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise MissingWeights(
            f"the files of {folder.path} describe no generator ({error!r}): fetch them again"
        ) from error


def missing(card: Card) -> str | None:
    """What is wanting before its weights can be loaded; None where all seems to be there."""
    path = card.folder.path
    if any(path.glob("*.safetensors")):
        return None
    return (
        f"{path} holds no .safetensors weights, and others are not read: fetch them with "
        "`hf download`, or write them with save_pretrained"
    )


def _card(detail: str, folder: ModelFolder) -> Card:
    assert folder.model_type
    pictures = folder.part("image_processor", "preprocessor_config.json")
    films = folder.part("video_processor", "video_preprocessor_config.json")
    sounds = folder.part("feature_extractor", "preprocessor_config.json")
    sees = "image_processor_type" in pictures or "image_mean" in pictures
    hears = "sampling_rate" in sounds
    inputs = {Modality.TEXT}
    inputs |= {Modality.IMAGE, Modality.VIDEO} if sees else set()
    inputs |= {Modality.AUDIO} if hears else set()
    taste = _taste(folder, pictures if sees else None, sounds if hears else None)
    licence = weights.licence_of(folder.path)
    name = f"hf:{weights.named(detail)}"
    stored = str(first_of(folder.config, *_PRECISIONS, default="float32"))
    return Card(name, folder, frozenset(inputs), bool(films), taste, licence, stored)


def _taste(folder: ModelFolder, pictures: Json | None, sounds: Json | None) -> Taste:
    config = folder.config
    paths = [f"{part}.{name}" for part in _TEXTS for name in _LENGTHS]
    context = int(first_of(config, *paths, *_LENGTHS, default=_CONTEXT))
    seconds = float(sounds.get("chunk_length") or _SECONDS) if sounds else 0.0
    if pictures is None:
        return Taste(context=context, seconds=seconds)
    tokens = _picture_tokens(folder, pictures)
    count = 1 if folder.model_type in _ONE_PICTURE else context // 2 // max(1, tokens)
    images = max(1, min(_MAX_IMAGES, count))
    return Taste(
        context=max(context - images * tokens, context // 2),  # words, beside so many pictures
        images=images,
        image_side=_side(config, pictures),
        seconds=seconds,
    )


def _side(config: Json, pictures: Json) -> int:
    """The longer side that is still read.

    Where the shorter side is what is brought to a length, twice that; likewise two tiles of a model
    that chooses how many it needs.
    """
    size = pictures.get("size") or {}
    longest, tiles = size.get("longest_edge"), value_at(config, "image_grid_pinpoints")
    if longest and longest <= _MAX_SIDE and not tiles:
        return int(longest)
    shortest = size.get("shortest_edge") or size.get("height")
    return min(_MAX_SIDE, 2 * int(shortest)) if shortest and shortest <= _MAX_SIDE else _SIDE


def _picture_tokens(folder: ModelFolder, pictures: Json) -> int:
    """Tokens of one picture, or about as many as models use that do not say."""
    config, processor = folder.config, folder.read("processor_config.json")
    found = first_of(config, *_TOKENS, default=processor.get("image_seq_len"))
    if not found:
        side, patch = (value_at(config, f"vision_config.{n}") for n in ("image_size", "patch_size"))
        plain = isinstance(side, int) and isinstance(patch, int) and patch > 0
        found = (side // patch) ** 2 if plain else _IMAGE_TOKENS
    return int(found) * _tiles(config, pictures)


def _tiles(config: Json, pictures: Json) -> int:
    """Of a square picture, the whole of it among them."""
    if value_at(config, "image_grid_pinpoints"):
        return 2 * 2 + 1
    whole, tile = (value_at(pictures, f"{n}.longest_edge") for n in ("size", "max_image_size"))
    if not (pictures.get("do_image_splitting") and whole and tile):
        return 1
    return int(-(-whole // tile)) ** 2 + 1
