"""The network of a sentence-transformers folder: tokens, pooling, dense layers.

It knows no files but those of dense layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from embed.backends.huggingface.sentence import Dense
from embed.errors import MissingWeights

Weights = dict[str, Tensor]


class Sentences(nn.Module):
    """Ids and mask `(N, L)` to rows."""

    def __init__(self, model: nn.Module, poolings: Sequence[str], dense: Sequence[Dense]) -> None:
        super().__init__()
        self.model = model
        self.poolings = tuple(poolings)
        self.dense = nn.Sequential(*map(_layer, dense))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        tokens = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = torch.cat([pool(tokens, mask, mode) for mode in self.poolings], dim=-1)
        rows: Tensor = self.dense(pooled)
        return rows


def pool(tokens: Tensor, mask: Tensor, mode: str) -> Tensor:
    """`(N, L, D)` tokens to `(N, D)`; padding, on either side, takes no part."""
    real = mask.unsqueeze(-1).to(tokens.dtype)
    if mode == "max":
        return tokens.masked_fill(real == 0, float("-inf")).amax(1)
    if mode in ("cls", "lasttoken"):
        order = torch.arange(mask.shape[1], device=mask.device)
        if mode == "cls":
            order = order.flip(0)
        chosen = ((order + 1) * mask).argmax(1)
        return tokens.take_along_dim(chosen.view(-1, 1, 1), 1).squeeze(1)
    # The first token weighs 1, the next 2, and so on.
    weights = mask.cumsum(1).unsqueeze(-1) * real if mode == "weightedmean" else real
    count = weights.sum(1)
    return (tokens * weights).sum(1) / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)


def _layer(dense: Dense) -> nn.Module:
    linear = nn.Linear(dense.inputs, dense.outputs, bias=dense.bias)
    weights = {key.removeprefix("linear."): value for key, value in _weights(dense).items()}
    try:
        linear.load_state_dict(weights)
    except RuntimeError as error:
        raise MissingWeights(f"the weights in {dense.folder} do not fit: {error}") from error
    activation: nn.Module = getattr(nn, dense.activation)()
    return nn.Sequential(linear, activation)


def _weights(dense: Dense) -> Weights:
    safe, pickled = dense.folder / "model.safetensors", dense.folder / "pytorch_model.bin"
    try:
        if safe.is_file():
            return load_file(safe)
        found: Weights = torch.load(pickled, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own
        raise MissingWeights(f"the dense layer {dense.folder} cannot be read: {error}") from error
    return found
