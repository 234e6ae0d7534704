"""From a folder's card to a tower that works: tokenizer, networks, one encoder a modality.

The model is loaded once, when the first encoder needs it, and shared by all. It knows no family
but where a family reads media together, or has parts instead of the usual methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel

from embed.backends.huggingface import networks as hf_networks
from embed.backends.huggingface import perception as hf_perception
from embed.backends.huggingface.families import Towers
from embed.backends.huggingface.files import ModelFolder
from embed.backends.huggingface.recipes import padding_token
from embed.backends.huggingface.sentence import Sentence
from embed.backends.huggingface.sentence_network import Sentences
from embed.backends.joint import JointEncoder, JointTower
from embed.backends.pairs import PairEncoder, Part
from embed.backends.recipe_encoders import (
    FilmEncoder,
    Made,
    PatchesEncoder,
    PixelsEncoder,
    SoundEncoder,
    WordsEncoder,
)
from embed.backends.recipes import ImageRecipe, PatchRecipe, TextRecipe
from embed.backends.torch_core import Core
from embed.backends.tower import Encoder, FramesEncoder, Once
from embed.backends.words import Words, chunker_of
from embed.errors import MissingDependency, MissingWeights
from embed.registry import LoadOptions
from embed.types import Modality, Space
from embed.weights import folder as weights
from embed.weights import store

_ENCODERS_OF_TWO = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel"}  # only half of it is weights

Makers = Mapping[Modality, Callable[[], Encoder[Any]]]


def tower(
    space: Space, folder: ModelFolder, towers: Towers | Sentence, options: LoadOptions
) -> JointTower:
    """Makes nothing yet: each encoder is made when it is first needed."""
    workshop = _Workshop(space, folder, towers, options)
    if isinstance(towers, Sentence):
        makers: Makers = {Modality.TEXT: workshop.texts}
        joints: Mapping[frozenset[Modality], Callable[[], JointEncoder]] = {}
        side = 1
    else:
        makers = workshop.makers(towers)
        joints = {towers.family.joint: workshop.joint_encoder} if towers.family.joint else {}
        side = workshop.min_side
    return JointTower(
        space, makers, joints=joints, chunker=chunker_of(towers.text), image_side=side
    )


class _Workshop:
    """What the encoders of one folder share."""

    def __init__(
        self, space: Space, folder: ModelFolder, towers: Towers | Sentence, options: LoadOptions
    ) -> None:
        self._space = space
        self._folder = folder
        self._towers = towers
        self._options = options
        self._model = Once(self._load)
        self.texts = Once(self._words_encoder)
        self._pictures = Once(self._image_encoder)
        self._sounds = Once(self._sound_encoder)
        self._films = Once(self._film_encoder)

    @property
    def min_side(self) -> int:
        """Pixels that pictures and frames need."""
        assert isinstance(self._towers, Towers)
        recipe = self._towers.image or self._towers.video
        return recipe.min_side if recipe else 1

    def makers(self, towers: Towers) -> Makers:
        """An encoder for each modality; films go frame by frame where there is no better way."""
        found: dict[Modality, Callable[[], Encoder[Any]]] = {Modality.TEXT: self.texts}
        if towers.image:
            found[Modality.IMAGE] = self._pictures
            found[Modality.VIDEO] = self._frames_encoder
        if towers.audio:
            found[Modality.AUDIO] = self._sounds
        if towers.video:
            found[Modality.VIDEO] = self._films
        return found

    def _words_encoder(self) -> WordsEncoder:
        words = open_words(self._towers.text, self._folder, self._options.cache)
        return WordsEncoder(words, *self._core_and_export(self._text_network))

    def _text_network(self, model: PreTrainedModel) -> nn.Module:
        towers = self._towers
        if isinstance(towers, Sentence):
            return Sentences(model, towers.poolings, towers.dense)
        kind = hf_perception.PerceptionTexts if self._in_parts else hf_networks.Texts
        return kind(model)

    def joint_encoder(self) -> JointEncoder:
        """Sound with film, or text with picture.

        PE-AV's were trained against its single towers, and lie in their space; FLAVA's never were,
        and get a space of their own.
        """
        assert isinstance(self._towers, Towers)
        if self._in_parts:
            frames = self._towers.video
            assert frames is not None
            heard: Mapping[Modality, Part] = {
                Modality.AUDIO: self._sounds(),
                Modality.VIDEO: self._films(),
            }
            made = self._core_and_export(lambda m: hf_perception.PerceptionPairs(m, frames))
            return PairEncoder(self._space, heard, *made)
        recipe, pictures = self._towers.image, self._pictures()
        assert isinstance(recipe, ImageRecipe)
        assert isinstance(pictures, PixelsEncoder)
        dim = int(self._model().config.multimodal_config.hidden_size)
        apart = replace(self._space, name=f"{self._space.name}#text+image", dim=dim)
        seen: Mapping[Modality, Part] = {Modality.TEXT: self.texts(), Modality.IMAGE: pictures}
        made = self._core_and_export(lambda m: hf_networks.FlavaPairs(m, recipe))
        return PairEncoder(apart, seen, *made)

    @property
    def _in_parts(self) -> bool:
        return self._folder.model_type == "pe_audio_video"

    def _image_encoder(self) -> PixelsEncoder | PatchesEncoder:
        assert isinstance(self._towers, Towers)
        recipe = self._towers.image
        if isinstance(recipe, PatchRecipe):
            patched = self._core_and_export(lambda m: hf_networks.PatchedPictures(m, recipe))
            return PatchesEncoder(recipe, *patched)
        assert recipe is not None
        made = self._core_and_export(lambda model: hf_networks.Pictures(model, recipe))
        return PixelsEncoder(recipe, *made)

    def _frames_encoder(self) -> FramesEncoder[Any]:
        return FramesEncoder(self._pictures(), min_side=self.min_side)

    def _film_encoder(self) -> FilmEncoder:
        assert isinstance(self._towers, Towers)
        recipe = self._towers.video
        assert recipe is not None
        kind = hf_perception.PerceptionFilms if self._in_parts else hf_networks.Films
        core, made = self._core_and_export(lambda model: kind(model, recipe))
        return FilmEncoder(recipe, core, self._towers.frames, made)

    def _sound_encoder(self) -> SoundEncoder:
        assert isinstance(self._towers, Towers)
        recipe = self._towers.audio
        assert recipe is not None
        kind = hf_perception.PerceptionSounds if self._in_parts else hf_networks.Sounds
        return SoundEncoder(recipe, *self._core_and_export(kind))

    def _core_and_export(self, make: Callable[[PreTrainedModel], nn.Module]) -> tuple[Core, Made]:
        """A network over the model that all share, and the way to one of its own."""
        return self._core(make(self._model())), Made(lambda: make(self._load()).eval())

    def _load(self) -> PreTrainedModel:
        return load_model(self._folder, text_alone=isinstance(self._towers, Sentence))

    def _core(self, module: nn.Module) -> Core:
        return Core(module, precision=self._space.precision, threads=self._options.threads)


def load_model(folder: ModelFolder, *, text_alone: bool) -> PreTrainedModel:
    """The network in `folder`, whole: weights that are missing would be random numbers.

    text_alone: a pooling head of its own may be missing, as nothing reads it.
    Raises MissingWeights, MissingDependency.
    """
    kind = folder.model_type
    if kind not in transformers.CONFIG_MAPPING:
        raise MissingDependency(
            f"transformers {transformers.__version__} has no {kind} models; a later one may: "
            "pip install --upgrade transformers"
        )
    name = _ENCODERS_OF_TWO.get(kind, "AutoModel") if text_alone else "AutoModel"
    try:
        with quiet():
            model, found = getattr(transformers, name).from_pretrained(
                folder.path,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # the library raises what its file formats raise
        raise MissingWeights(
            f"the weights in {folder.path} cannot be loaded: {_reason(error)}"
        ) from error
    missing = [key for key in found["missing_keys"] if not (text_alone and "pooler." in key)]
    if missing:
        raise MissingWeights(
            f"the weights in {folder.path} lack {len(missing)} tensors, {sorted(missing)[0]!r} "
            "among them: fetch them again"
        )
    loaded: PreTrainedModel = model
    return loaded


def open_words(recipe: TextRecipe, folder: ModelFolder, cache: Path) -> Words:
    """The tokenizer of `folder`; one that has no JSON file is converted, once, into the cache."""
    path = folder.path
    if not (path / recipe.tokenizer).is_file():
        key = weights.revision_of(path, cache)
        path = store.derived(cache, "tokenizer", key, lambda out: _convert(folder, out))
    words = Words(recipe, path)
    return words.padded_with(padding_token(folder), _padding_id(folder))


def _reason(error: Exception) -> str:
    """What the library says, but where it points to a report that it gives to its log alone."""
    if "ignore_mismatched_sizes" in str(error):
        return "their tensors have other shapes than its config.json says; fetch them again"
    return str(error)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's progress bars and advice, which are for people who call it."""
    talk: Any = transformers.logging
    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity_error()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if bars:
            talk.enable_progress_bar()


def _convert(folder: ModelFolder, out: Path) -> None:
    """Writes tokenizer.json as the library makes it of older files. Raises MissingWeights."""
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder.path, local_files_only=True, trust_remote_code=False
            )
        backend: Tokenizer = tokenizer.backend_tokenizer
        backend.save(str(out / "tokenizer.json"))
    except Exception as error:  # the library raises what its converters raise
        raise MissingWeights(
            f"{folder.path} has no tokenizer.json, and none can be made of what it has: {error}"
        ) from error


def _padding_id(folder: ModelFolder) -> int:
    config = folder.config
    text = config.get("text_config")
    inner = text.get("pad_token_id") if isinstance(text, Mapping) else None
    found = inner if inner is not None else config.get("pad_token_id")
    return found if isinstance(found, int) else 0
