"""Learned prompts: a few vectors in front of a class's name do what a hand-written sentence does.

CoOp (Zhou et al. 2022, equations 2 and 3): the prompt of class k is [v_1] … [v_M] [name_k], its
vector g_k what a frozen text tower makes of it, and P(k | x) the softmax over s·cos(x, g_k). Only
v_1 … v_M learn, shared by all classes, from a few labelled pictures (or sounds) whose vectors are
computed once. The tower is any network that looks token ids up: it reads prompts with M places held
free, and what it looks up for these is replaced on the way. It knows no model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from embed.backends.words import Words
from embed.errors import BadInput, MissingWeights, TooLarge
from embed.training.tokens import token_embedding
from embed.types import Floats

SPREAD = 0.02
"""Standard deviation of vectors that begin at random (section 3.2 of the paper)."""
RATE, WARMING = 2e-3, 1e-5
"""Learning rates: the highest, and that of the first epoch (section 4.1)."""


class LearnedPrompts(nn.Module):
    """M vectors, and the class vectors that a frozen text tower makes with them.

    Its state is the M vectors alone.
    """

    def __init__(
        self, network: nn.Module, words: Words, names: Sequence[str], context: int | str = 16
    ) -> None:
        """network, words: of a `WordsEncoder`: its `network().module` and its `words`.

        names: of the K classes. context: how many vectors, drawn at random; or a text such as
        "a photo of a" whose own vectors they begin as.
        Raises BadInput for a network that reads no tokens, TooLarge for a name that leaves no room.
        """
        super().__init__()
        self.names = tuple(names)
        self._network = (network.eval().requires_grad_(False),)  # in a tuple: no part of the state
        device = next(network.parameters()).device
        special = _special(words)
        start = _own(words, context, special) if isinstance(context, str) else []
        count = context if isinstance(context, int) else len(start)
        rows = [_with_room(words, name, special, count) for name in names]
        arrays = words.pad(rows)[: 2 if words.recipe.mask else 1]
        self._inputs = tuple(torch.from_numpy(array).to(device) for array in arrays)
        self._lookup = (token_embedding(network, lambda: network(*self._inputs), self._inputs[0]),)
        self._free = slice(special.before, special.before + count)
        weight = self._lookup[0].weight
        drawn = torch.randn(count, weight.shape[1]).to(weight) * SPREAD
        self.context = nn.Parameter(weight[start].clone() if start else drawn)

    def forward(self) -> Tensor:
        """`(K, D)` unit rows, with a gradient by the M vectors."""
        handle = self._lookup[0].register_forward_hook(self._fill)
        try:
            found = self._network[0](*self._inputs)
        finally:
            handle.remove()
        rows = found[0] if isinstance(found, tuple) else found
        return normalize(rows.float(), dim=1)

    def _fill(self, _module: nn.Module, _args: Any, looked_up: Tensor) -> Tensor:
        """The learned vectors in the places held free for them."""
        learned = self.context.to(looked_up.dtype).expand(len(looked_up), -1, -1)
        before, after = looked_up[:, : self._free.start], looked_up[:, self._free.stop :]
        return torch.cat([before, learned, after], dim=1)


def learn(
    prompts: LearnedPrompts,
    features: Floats,
    labels: NDArray[np.int64],
    *,
    scale: float = 100.0,
    epochs: int = 50,
    batch: int = 32,
    seed: int = 0,
) -> list[float]:
    """Trains the context in place; the mean loss of each epoch (section 4.1 of the paper).

    features: `(N, D)`, unit rows, of the same space. labels: `(N,)`, numbers of `prompts.names`.
    scale: the tower's own s.
    """
    device = prompts.context.device
    x, y = torch.from_numpy(features).to(device), torch.from_numpy(labels).to(device)
    optimiser = torch.optim.SGD([prompts.context], lr=RATE, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for epoch in range(epochs):
        rate = RATE * (1 + math.cos(math.pi * epoch / epochs)) / 2 if epoch else WARMING
        optimiser.param_groups[0]["lr"] = rate
        total = 0.0
        for rows in torch.split(torch.randperm(len(x), generator=generator).to(device), batch):
            optimiser.zero_grad()
            loss = cross_entropy(scale * x[rows] @ prompts().T, y[rows])
            torch.autograd.backward(loss)
            optimiser.step()
            total += loss.item() * len(rows)
        losses.append(total / len(x))
    return losses


def shots(labels: NDArray[np.int64], count: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Which examples are learnt from: `count` of each class, or all where there are fewer."""
    rng = np.random.default_rng(seed)
    each = [rng.permutation(np.flatnonzero(labels == label))[:count] for label in np.unique(labels)]
    return np.sort(np.concatenate(each))


class ClassVectors(NamedTuple):
    """What zero-shot classification compares with: a vector `(K, D)` for each of K names."""

    names: tuple[str, ...]
    vectors: Floats
    space: str


def write(prompts: LearnedPrompts, path: Path, space: str) -> None:
    """A prompt file: the class vectors and their names, the context, the id of the space."""
    with torch.no_grad():
        tensors = {"vectors": prompts().cpu(), "context": prompts.context.cpu()}
    save_file(tensors, path, {"names": json.dumps(prompts.names), "space": space})


def read(path: Path) -> ClassVectors:
    """Raises MissingWeights for a file that is not there, BadInput for another kind of file."""
    if not path.is_file():
        raise MissingWeights(f"there is no prompt file at {path}: learn one first")
    try:
        with safe_open(path, "np") as file:
            about = file.metadata() or {}
            vectors = file.get_tensor("vectors")
        return ClassVectors(tuple(json.loads(about["names"])), vectors, about["space"])
    except (SafetensorError, KeyError) as error:
        raise BadInput(f"{path} is no prompt file: {error}") from error


class _Special(NamedTuple):
    """How many tokens a text gets before and after its own."""

    before: int
    after: int


def _special(words: Words) -> _Special:
    one, other = words.encode("a"), words.encode("b")
    same = [x == y for x, y in zip(one, other, strict=False)]
    return _Special(same.index(False), len(one) - 1 - same.index(False))


def _own(words: Words, text: str, special: _Special) -> list[int]:
    ids = words.encode(text)
    return ids[special.before : len(ids) - special.after]


def _with_room(words: Words, name: str, special: _Special, count: int) -> list[int]:
    """The ids of a name with `count` places before it, which hold any word's id."""
    ids = words.encode(name)
    if len(ids) + count > words.recipe.max_tokens:
        raise TooLarge(
            f"the class {name!r} has {len(ids)} tokens and the prompt {count}; the tower reads "
            f"{words.recipe.max_tokens}: shorten one of them"
        )
    return (
        ids[: special.before] + count * [words.encode("a")[special.before]] + ids[special.before :]
    )
