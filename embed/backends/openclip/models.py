"""What a name of the open_clip family means: an architecture, its preprocessing, its weights.

    ViT-B-32/laion2b_s34b_b79k    an architecture and one of open_clip's tags for its weights
    ViT-B-32//data/weights.pt     the same and a file: after the first /, a path that begins with
                                  /, ./, ../ or ~
    ./folder                      a folder with open_clip_config.json and weights, as open_clip
                                  saves and the hub stores them
    hf-hub:OWNER/NAME             such a folder on the hub

Architectures are read from the JSON files of the open_clip package. Only its table of tags needs
the package itself, and so torch. It knows no network.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from embed.backends.bounds import SIDE, TOKENS, check_repeats, within
from embed.backends.recipes import ImageRecipe, Resize
from embed.errors import MissingDependency, MissingWeights, NotFound
from embed.registry import LoadOptions
from embed.weights import folder

CONFIG = "open_clip_config.json"
HUB = "hf-hub:"
UNFETCHED = "unfetched"
IMAGE_SIZE, CONTEXT = 224, 77  # open_clip's own defaults
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_PATHS = ("/", "./", "../", "~")
_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
)
_RESIZE: dict[str, Resize] = {
    "shortest": "shortest",
    "squash": "squash",
    "longest": "longest-pad",
}
_LICENCES = {
    "openai": "MIT",
    "laion": "MIT",
    "datacomp_": "MIT",
    "webli": "Apache-2.0",
    "metaclip": "CC BY-NC 4.0",
}
"""Of published weights, by how their tag begins, as their model pages say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnHub:
    """A file of a hub repository, under the first of `names` that is there."""

    repository: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be built. `config` is open_clip's: embed_dim, vision_cfg, text_cfg, …

    revision: of the weights; of a tag, the commit of its repository that is here.
    tokenizer: a folder that holds one, or None where the configuration says which.
    """

    config: Mapping[str, Any]
    image: ImageRecipe
    weights: Path | OnHub
    revision: str
    licence: str
    source: str
    tokenizer: Path | None = None

    @property
    def dim(self) -> int:
        return int(self.config["embed_dim"])

    @property
    def context(self) -> int:
        """Tokens that one text vector reads at most."""
        return int(self.text.get("context_length", CONTEXT))

    @property
    def text(self) -> Mapping[str, Any]:
        text: Mapping[str, Any] = self.config["text_cfg"]
        return text


def find(name: str, options: LoadOptions, *, describing: bool = False) -> Model:
    """Raises NotFound with the nearest names, MissingWeights, MissingDependency.

    describing: as for `weights.folder.resolve`.
    """
    if name.startswith(HUB):
        path = folder.resolve(name.removeprefix(HUB), options, describing=describing)
        return _in_folder(path, options)
    if name.startswith(_PATHS):
        return _in_folder(folder.resolve(name, options), options)
    architecture, _, weights = name.partition("/")
    config = _config(architecture)
    tags = _tags(architecture)
    if weights.startswith(_PATHS):
        return _from_file(config, tags, Path(weights).expanduser(), options)
    if weights not in tags:
        raise _unknown(weights, list(tags), f"pretrained weights of {architecture}")
    return _tagged(config, weights, tags[weights])


def named(name: str) -> str:
    """`name` as the name of a space has it: paths are absolute."""
    if name.startswith(_PATHS):
        return str(folder.absolute(name))
    architecture, slash, weights = name.partition("/")
    if weights.startswith(_PATHS):
        return f"{architecture}{slash}{folder.absolute(weights)}"
    return name


def fetch(model: Model, options: LoadOptions, *, here_only: bool = False) -> Path:
    """The file of the weights; from the hub if it is not here. Raises MissingWeights."""
    if isinstance(model.weights, Path):
        if not model.weights.is_file():
            raise MissingWeights(
                f"there are no weights at {model.weights}: check the path; in a folder, one of "
                f"{', '.join(_FILES)} is wanted"
            )
        return model.weights
    hub = model.weights
    for local in (True,) if here_only or options.offline else (True, False):
        for name in hub.names:
            try:
                return Path(hf_hub_download(hub.repository, name, local_files_only=local))
            except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
                reason = str(error).strip().split("\n")[0]
    raise MissingWeights(
        f"the weights {hub.repository} are not in the local cache and were not fetched ({reason}): "
        f"fetch them once where there is a network, `hf download {hub.repository} "
        f"{hub.names[0]}`, or name a file of them"
    )


def _commit(hub: OnHub) -> str:
    """Of the weights in the local cache, which keeps them in a folder of that name."""
    for name in hub.names:
        try:
            path = Path(hf_hub_download(hub.repository, name, local_files_only=True))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError):
            continue
        return path.parent.name[:12]
    return UNFETCHED


def _tagged(config: Mapping[str, Any], tag: str, entry: Mapping[str, Any]) -> Model:
    repository, _, file = entry["hf_hub"].rpartition("/")
    safe = (f"{file.rsplit('.', 1)[0]}.safetensors", file) if file else (_FILES[0], _FILES[2])
    page = f"https://huggingface.co/{repository}"
    known = [licence for start, licence in _LICENCES.items() if tag.startswith(start)]
    weights = OnHub(repository=repository, names=safe)
    return Model(
        # The weights were trained with one activation or the other, whatever the name says.
        config={**config, "quick_gelu": bool(entry.get("quick_gelu", False))},
        image=_image_recipe(config, entry),
        weights=weights,
        revision=_commit(weights),
        licence=known[0] if known else f"see {page}",
        source=page,
    )


def _from_file(
    config: Mapping[str, Any], tags: Mapping[str, Any], path: Path, options: LoadOptions
) -> Model:
    """Prepared as all published weights of the architecture are, where they agree."""
    if not path.is_file():
        raise MissingWeights(f"there are no weights at {path}: check the path")
    recipes = {_image_recipe(config, entry) for entry in tags.values()}
    return Model(
        config=config,
        image=recipes.pop() if len(recipes) == 1 else _image_recipe(config, {}),
        weights=path,
        revision=folder.digest_of(path, options.cache)[:12],
        licence=folder.UNKNOWN_LICENCE,
        source=str(path),
    )


def _in_folder(path: Path, options: LoadOptions) -> Model:
    try:
        document = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        config = document["model_cfg"]
        recipe = _image_recipe(config, document.get("preprocess_cfg", {}))
        check_repeats(config)
        within("embed_dim", config["embed_dim"], SIDE)
        within("context_length", config["text_cfg"].get("context_length", CONTEXT), TOKENS)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise MissingWeights(
            f"{path} holds no {CONFIG} that can be read ({error}): give a folder that open_clip "
            "saved, or an architecture and a file of weights"
        ) from error
    weights = [path / name for name in _FILES if (path / name).is_file()]
    return Model(
        config=config,
        image=recipe,
        weights=weights[0] if weights else path / _FILES[0],
        revision=folder.revision_of(path, options.cache)[:12],
        licence=folder.licence_of(path),
        source=str(path),
        tokenizer=path,
    )


def _image_recipe(config: Mapping[str, Any], entry: Mapping[str, Any]) -> ImageRecipe:
    """From open_clip's preprocessing entries; what is not said is as CLIP has it."""
    size = config["vision_cfg"].get("image_size", IMAGE_SIZE)
    height, width = size if isinstance(size, list) else (size, size)
    return ImageRecipe(
        height=height,
        width=width,
        resize=_RESIZE[entry.get("resize_mode") or "shortest"],
        interpolation=entry.get("interpolation") or "bicubic",
        centre="even",
        fill=entry.get("fill_color") or 0,
        mean=tuple(entry.get("mean") or _CLIP_MEAN),
        std=tuple(entry.get("std") or _CLIP_STD),
    )


def _config(architecture: str) -> Mapping[str, Any]:
    files = {path.stem: path for path in (package() / "model_configs").glob("*.json")}
    if architecture not in files:
        raise _unknown(architecture, sorted(files), "architecture of open_clip")
    config: Mapping[str, Any] = json.loads(files[architecture].read_text(encoding="utf-8"))
    return config


def package() -> Path:
    """The folder of the open_clip package, which is not imported. Raises MissingDependency."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency("open_clip is not installed: pip install open-clip-torch")
    return Path(spec.submodule_search_locations[0])


@cache
def _tags(architecture: str) -> Mapping[str, Mapping[str, Any]]:
    from open_clip.pretrained import (  # noqa: PLC0415 (loads torch)
        get_pretrained_cfg,
        list_pretrained_tags_by_model,
    )

    tags = list_pretrained_tags_by_model(architecture)
    return {tag: get_pretrained_cfg(architecture, tag) for tag in tags}


def _unknown(name: str, choices: list[str], what: str) -> NotFound:
    near = difflib.get_close_matches(name, choices, n=5, cutoff=0.4) or choices[:10]
    listed = ", ".join(near) if near else "none; give a file of weights after the /"
    return NotFound(f"no {what} is called {name!r}; the nearest are: {listed}", param="space")
