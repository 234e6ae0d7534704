"""Where a network looks its tokens up: found by watching it read, so that any network will do.

It knows no tokenizer and no model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from embed.errors import BadInput


def token_embedding(network: nn.Module, read: Callable[[], object], ids: Tensor) -> nn.Embedding:
    """The embedding in which `network` looks up `ids` when `read` is called.

    Raises BadInput for a network that looks them up in none.
    """
    found: list[nn.Embedding] = []

    def note(module: nn.Module, args: tuple[Any, ...], _: object) -> None:
        if isinstance(module, nn.Embedding) and args and torch.equal(args[0], ids):
            found.append(module)

    watched = [module for module in network.modules() if isinstance(module, nn.Embedding)]
    handles = [module.register_forward_hook(note) for module in watched]
    try:
        with torch.no_grad():
            read()
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise BadInput(
            f"{type(network).__name__} looks no tokens up: a text tower that reads token ids is "
            "wanted, not a head on its vectors"
        )
    return found[0]
