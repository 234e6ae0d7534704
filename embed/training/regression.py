"""Softmax regression: the smallest head there is, fitted to its one optimum.

Minimises Σ cross-entropy + |W|² / (2 strength) by L-BFGS in double precision, so that it needs no
seed and no schedule (Bishop 2006, 4.3.4). The bias is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from embed.types import Floats

_STEPS = 500


class Softmax(NamedTuple):
    """`names[j]` is as likely as softmax(x @ weight + bias)[j]. weight `(F, J)`, bias `(J,)`."""

    names: Sequence[str]
    weight: Floats
    bias: Floats

    def posterior(self, features: Floats) -> Floats:
        """`(N, F)` to `(N, J)`."""
        logits = features @ self.weight + self.bias
        likely = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(likely / likely.sum(axis=1, keepdims=True), np.float32)


def fit(features: Floats, labels: Sequence[str], strength: float) -> Softmax:
    """features `(N, F)`, labels N names. The larger `strength`, the larger weights may be."""
    names = sorted(set(labels))
    target = torch.tensor([names.index(label) for label in labels])
    mean = features.mean(axis=0, dtype=np.float64)
    inputs = torch.from_numpy(features - mean)
    weight = torch.zeros(inputs.shape[1], len(names), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=_STEPS, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        cost = functional.cross_entropy(inputs @ weight + bias, target, reduction="sum")
        total = cost + weight.square().sum() / (2 * strength)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    found = weight.detach().numpy()
    shifted = bias.detach().numpy() - mean @ found
    return Softmax(names, found.astype(np.float32), shifted.astype(np.float32))
