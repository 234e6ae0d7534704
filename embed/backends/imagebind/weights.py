"""ImageBind's checkpoint: opened without being read, checked whole, one tower taken at a time.

The file is mapped into memory and a tower's parameters are the mapped tensors themselves: nothing
is allocated twice, and of what no tower needs nothing is read. It knows no address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from embed.backends.imagebind.config import Config
from embed.backends.imagebind.model import ImageBind
from embed.errors import MissingWeights

SHOWN = 3  # keys named in a message


class Checkpoint:
    """The state dict of a whole ImageBind."""

    def __init__(self, path: Path, config: Config) -> None:
        """Raises MissingWeights for a file that is not, key for key, what `config` asks for."""
        self._config = config
        self._state = _opened(path)
        _check(path, self._state, config)

    def tower(self, name: str) -> ImageBind:
        """An ImageBind of one tower, in eval mode; its parameters lie in the file."""
        with torch.device("meta"):
            model = ImageBind(self._config, [name])
        state = {key: self._state[key] for key in model.state_dict()}
        model.load_state_dict(state, assign=True)
        return model.eval().requires_grad_(False)


def _opened(path: Path) -> Mapping[str, Tensor]:
    """The one place where what torch raises becomes ours."""
    try:
        state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # a damaged pickle fails in every way there is
        raise MissingWeights(f"{path} is no checkpoint that torch can map: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise MissingWeights(f"{path} holds no state dict: a mapping of names to tensors is wanted")
    return state


def _check(path: Path, state: Mapping[str, Tensor], config: Config) -> None:
    with torch.device("meta"):
        wanted = ImageBind(config).state_dict()
    lacking = [key for key in wanted if key not in state]
    strange = [key for key in state if key not in wanted]
    other = [
        f"{key} is {tuple(state[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in state and state[key].shape != tensor.shape
    ]
    faults = [
        *_listed("tensors are missing", lacking),
        *_listed("are not of this model", strange),
        *_listed("have another shape", other),
    ]
    if faults:
        raise MissingWeights(
            f"{path} is not the state dict of this ImageBind, which has {len(wanted)} tensors: "
            f"{'; '.join(faults)}. Download it again, or name another file"
        )


def _listed(what: str, names: Iterable[str]) -> list[str]:
    found = list(names)
    more = ", …" if len(found) > SHOWN else ""
    return [f"{len(found)} {what} ({', '.join(found[:SHOWN])}{more})"] if found else []
