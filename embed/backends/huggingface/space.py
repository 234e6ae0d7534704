"""Towers of the transformers library by what they can do: `hf:FOLDER`, `hf:OWNER/NAME[@REVISION]`.

A folder's JSON says its family (`families`), its preprocessing (`recipes`) and, for
sentence-transformers, its chain (`sentence`); so a space can be described before torch is
imported. `loading` makes the networks.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass

from embed.backends import precision
from embed.backends.bounds import check_repeats
from embed.backends.huggingface.families import FAMILIES, Towers, towers_of
from embed.backends.huggingface.files import ModelFolder
from embed.backends.huggingface.sentence import (
    Sentence,
    check_nothing_follows,
    sentence_of,
    transformer_of,
)
from embed.backends.recipes import Recipe, summary
from embed.errors import MissingDependency, MissingWeights, NotFound
from embed.registry import Capabilities, LoadOptions
from embed.types import Embedder, Modality, Space
from embed.weights import folder as weights

log = logging.getLogger(__name__)

_NEEDS = {"pe_audio_video": ("timm",)}
VERSION = "1"  # raise it when our own preprocessing changes what a folder's files lead to


@dataclass(frozen=True, slots=True)
class Card:
    """What a folder says of itself: `root` as named, `network` the folder that holds weights."""

    space: Space
    root: ModelFolder
    network: ModelFolder
    towers: Towers | Sentence


def describe(detail: str, options: LoadOptions) -> Capabilities:
    """What the tower at `detail` can do. Of a repository that is not here no weights are fetched.

    Raises NotFound for an empty detail, MissingWeights for what is not there or not known.
    """
    card = read(detail, options, describing=True)
    licence = weights.licence_of(card.root.path)
    return Capabilities(
        space=card.space,
        summary=f"{card.network.model_type} by transformers",
        modalities=_modalities(card.towers),
        native_dims={},
        preprocessing=card.space.preprocessing,
        licence=licence,
        source=detail,
        fetches=weights.is_snapshot(card.root.path) and not weights.weight_files(card.network.path),
    )


def check(detail: str, options: LoadOptions) -> None:
    """Raises MissingWeights or MissingDependency when `load` is bound to."""
    _check(read(detail, options, describing=not weights.is_offline(options)))


def load(detail: str, options: LoadOptions) -> Embedder:
    """The tower at `detail`; its weights load on first use. Raises what `check` raises."""
    card = read(detail, options)
    _check(card)
    from embed.backends.huggingface.loading import tower  # noqa: PLC0415 (loads torch and transformers)

    log.info("weights of %s: %s", card.space.name, weights.licence_of(card.root.path))
    return tower(card.space, card.network, card.towers, options)


def read(detail: str, options: LoadOptions, *, describing: bool = False) -> Card:
    """The card of `detail`, its space named by a digest of all that is in the folder.

    describing: as for `weights.resolve`. Raises NotFound, MissingWeights.
    """
    reference, chosen = precision.split(detail, family="hf")
    if not reference:
        raise NotFound("hf: names no model: write hf:FOLDER or hf:OWNER/NAME", param="space")
    root = ModelFolder(weights.resolve(reference, options, describing=describing))
    try:
        network = transformer_of(root)
        towers = _towers(root, network)
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise MissingWeights(
            f"the files of {root.path} describe no tower ({error!r}): fetch them again"
        ) from error
    space = Space(
        name=f"hf:{weights.named(reference)}{detail.removeprefix(reference)}",
        revision=weights.revision_of(root.path, options.cache)[:12],
        preprocessing="; ".join([*map(summary, _recipes(towers)), f"hf {VERSION}"]),
        precision=chosen,
        dim=towers.dim,
    )
    return Card(space, root, network, towers)


def _check(card: Card) -> None:
    path = card.network.path
    if not weights.is_snapshot(card.root.path) and not weights.weight_files(path):
        raise MissingWeights(f"{path} holds no weights: .safetensors or .bin files are wanted")
    more = _NEEDS.get(card.network.model_type, ())
    for package in ("torch", "transformers", *more):
        if importlib.util.find_spec(package) is None:
            raise MissingDependency(f"{package} is not installed: pip install {package}")


def _towers(root: ModelFolder, network: ModelFolder) -> Towers | Sentence:
    check_repeats(network.config)
    if root.modules and network.model_type not in FAMILIES:
        return sentence_of(root)
    check_nothing_follows(root)
    return towers_of(network)


def _modalities(towers: Towers | Sentence) -> frozenset[Modality]:
    return frozenset({Modality.TEXT}) if isinstance(towers, Sentence) else towers.modalities


def _recipes(towers: Towers | Sentence) -> list[Recipe]:
    if isinstance(towers, Sentence):
        return [towers.text]
    found = (towers.text, towers.image, towers.audio, towers.video)
    return [recipe for recipe in found if recipe is not None]
