"""Generators by name: what each can do is readable before anything heavy is imported.

A name is `family` or `family:detail`: `extractive`, `hf:FOLDER`, `openai:MODEL@URL`. A family is
two import paths, written as `module:attribute` and resolved on first use: `describe(detail,
options) -> Capabilities` loads no network and asks nobody; `load(detail, options) -> Generator`
raises what is missing, and loads weights no sooner than they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from embed.families import Families, resolve
from embed.registry import LoadOptions
from embed.types import Modality
from generation.types import Generator, Taste

SEEN = frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO})
ENDPOINT_TASTE = Taste(context=8192, images=8, image_side=1024, seconds=30.0)
"""An endpoint does not say what it holds; this is what small models do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorOptions:
    """What generators may need to know of the machine, and where an endpoint is.

    url, api_key: of the endpoint that `openai:MODEL` means; the key goes nowhere else. timeout:
    seconds of silence after which an endpoint is given up. inputs, taste: what the models of
    endpoints take, as they do not say it themselves.
    """

    load: LoadOptions
    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 120.0
    inputs: frozenset[Modality] = SEEN
    taste: Taste = ENDPOINT_TASTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a generator can do, known without loading it.

    missing: what there is to do before it works; None where nothing is known to be missing.
    """

    name: str
    summary: str
    inputs: frozenset[Modality]
    outputs: frozenset[Modality]
    taste: Taste
    licence: str
    source: str
    missing: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of generator. `form` shows how its names are written, for messages and lists.

    describe, load: import paths. listed: names of this family that everybody has.
    """

    form: str
    describe: str
    load: str
    listed: tuple[str, ...] = ()


_FAMILIES = Families[Family](
    "generator",
    {
        "extractive": Family(
            form="extractive",
            describe="generation.registry:_describe_extractive",
            load="generation.registry:_load_extractive",
            listed=("extractive",),
        ),
        "hf": Family(
            form="hf:FOLDER or hf:OWNER/NAME",
            describe="generation.language:describe",
            load="generation.language:load",
        ),
        "openai": Family(
            form="openai:MODEL or openai:MODEL@URL",
            describe="generation.remote:describe",
            load="generation.remote:load",
        ),
    },
)


def register(name: str, family: Family) -> None:
    """Adds a family, or replaces it."""
    _FAMILIES[name] = family


def names() -> list[str]:
    """The forms of all names, sorted."""
    return _FAMILIES.forms()


def listed() -> list[str]:
    """The names that can be asked for without weights or endpoints of one's own."""
    return _FAMILIES.listed()


def describe(name: str, options: GeneratorOptions) -> Capabilities:
    """What the generator called `name` can do. Raises NotFound, naming the choices."""
    family, detail = _family(name)
    capabilities: Capabilities = resolve(family.describe)(detail, options)
    return capabilities


def open_generator(name: str, options: GeneratorOptions) -> Generator:
    """The generator called `name`; close it when done.

    Raises NotFound, naming the choices; MissingWeights, MissingDependency, Forbidden.
    """
    family, detail = _family(name)
    generator: Generator = resolve(family.load)(detail, options)
    return generator


def _family(name: str) -> tuple[Family, str]:
    family, detail = _FAMILIES.of(name)
    if family.listed and name not in family.listed:
        raise _FAMILIES.unknown(name)
    return family, detail


def _load_extractive(_detail: str, _options: GeneratorOptions) -> Generator:
    generator: Generator = resolve("generation.extractive:Extractive")()
    return generator


def _describe_extractive(detail: str, options: GeneratorOptions) -> Capabilities:
    generator = _load_extractive(detail, options)
    return Capabilities(
        name=generator.name,
        summary="composes answers from what the evidence says, word for word; no model",
        inputs=generator.inputs,
        outputs=generator.outputs,
        taste=generator.taste,
        licence="Apache-2.0",
        source="built in",
    )
