"""Folders of sentence-transformers, read without that library.

`modules.json` lists a chain: a transformer, pooling over its tokens, dense layers, and a
normalisation, which every vector gets here anyway (Reimers & Gurevych, Sentence-BERT, 2019). A
chain that holds anything else is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from embed.backends.huggingface.files import Json, ModelFolder, first_of
from embed.backends.huggingface.recipes import text_recipe
from embed.backends.recipes import TextRecipe
from embed.errors import MissingWeights

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid")

_OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_UNLIMITED = 1_000_000


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer: where its weights lie, and what follows it."""

    folder: Path
    inputs: int
    outputs: int
    bias: bool
    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """What the chain of a folder says. `poolings` are set side by side."""

    text: TextRecipe
    poolings: tuple[str, ...]
    dense: tuple[Dense, ...]
    dim: int


def transformer_of(folder: ModelFolder) -> ModelFolder:
    """The folder of the chain's first module, which holds the network; else `folder` itself."""
    if not folder.modules:
        return folder
    kind = _kind(folder.modules[0])
    if kind not in ("Transformer", "CLIPModel"):
        raise MissingWeights(
            f"{folder.path} begins with the module {kind}; those that are read begin with "
            "Transformer or CLIPModel"
        )
    return ModelFolder(_inside(folder, folder.modules[0]))


def check_nothing_follows(folder: ModelFolder) -> None:
    """Raises MissingWeights for a chain whose later modules would change a tower's vectors."""
    for module in folder.modules[1:]:
        if _kind(module) != "Normalize":
            raise MissingWeights(
                f"{folder.path} has the module {_kind(module)} after a tower of several "
                "modalities, which is not read: only Normalize may follow"
            )


def sentence_of(folder: ModelFolder) -> Sentence:
    """Raises MissingWeights for a chain that holds what is not read here."""
    first = transformer_of(folder)
    poolings: tuple[str, ...] = ("mean",)
    dense: list[Dense] = []
    for module in folder.modules[1:]:
        settings = ModelFolder(_inside(folder, module)).read("config.json")
        if _kind(module) == "Pooling":
            poolings = _poolings(settings, folder)
        elif _kind(module) == "Dense":
            dense.append(_dense(_inside(folder, module), settings))
        elif _kind(module) != "Normalize":
            raise MissingWeights(
                f"{folder.path} has the module {_kind(module)}; those that are read are "
                "Transformer, Pooling, Dense and Normalize"
            )
    wide = int(first_of(first.config, "hidden_size", "dim", "d_model", default=768))
    dim = dense[-1].outputs if dense else wide * len(poolings)
    return Sentence(text=_text(folder, first), poolings=poolings, dense=tuple(dense), dim=dim)


def _text(folder: ModelFolder, first: ModelFolder) -> TextRecipe:
    settings = first.read("sentence_bert_config.json")
    limit = settings.get("max_seq_length")
    recipe = text_recipe(first, tokens=int(limit or _UNLIMITED), whole=False, mask=True)
    prompts = folder.read("config_sentence_transformers.json")
    name = prompts.get("default_prompt_name")
    prefix = str((prompts.get("prompts") or {}).get(name, "")) if name else ""
    if recipe.max_tokens >= _UNLIMITED:
        raise MissingWeights(f"{first.path} does not say how many tokens it reads at most")
    lower = recipe.lowercase or bool(settings.get("do_lower_case"))
    return replace(recipe, prefix=prefix, lowercase=lower)


def _poolings(settings: Json, folder: ModelFolder) -> tuple[str, ...]:
    given = settings.get("pooling_mode")
    if given is None:
        given = [mode for key, mode in _OLD_POOLINGS.items() if settings.get(key)] or "mean"
    modes = (given,) if isinstance(given, str) else tuple(given)
    if strange := [mode for mode in modes if mode not in POOLINGS]:
        raise MissingWeights(
            f"{folder.path} pools by {strange[0]!r}; the choices are: {', '.join(POOLINGS)}"
        )
    return modes


def _dense(path: Path, settings: Json) -> Dense:
    activation = str(settings.get("activation_function", "Tanh")).rpartition(".")[2]
    if activation not in ACTIVATIONS or settings.get("use_residual"):
        raise MissingWeights(
            f"the dense layer {path} has {activation} or a residual; those that are read have "
            f"one of {', '.join(ACTIVATIONS)} and no residual"
        )
    inputs, outputs = int(settings["in_features"]), int(settings["out_features"])
    return Dense(path, inputs, outputs, bool(settings.get("bias", True)), activation)


def _kind(module: Json) -> str:
    return str(module.get("type", "")).rpartition(".")[2]


def _inside(folder: ModelFolder, module: Json) -> Path:
    """Raises MissingWeights for a path that leads out of the folder."""
    path = (folder.path / str(module.get("path", ""))).resolve()
    if not path.is_relative_to(folder.path.resolve()):
        raise MissingWeights(f"modules.json of {folder.path} leads out of it: {module['path']!r}")
    return path
