"""The sigmoid loss: every pair is a yes or a no of its own (SigLIP, Zhai et al. 2023, equation 1).

With x_ij = t·⟨u_i, v_j⟩ + b and z_ij = 1 for pairs that belong together, -1 for others,
L = -(1/N) Σ_ij log sigmoid(z_ij x_ij).
It needs no sum over a row, so blocks of pairs may be added up wherever they lie.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from embed.training.pairwise import CHUNK, Keys, matches, numbered, pair_sum

SCALE = 10.0
"""Where training begins: t = e^{t'}, t' = ln 10 (section 3.2 of the paper)."""


def sigmoid(
    u: Tensor,
    v: Tensor,
    scale: Tensor,
    bias: Tensor,
    keys: Keys | None = None,
    *,
    chunk: int = CHUNK,
) -> Tensor:
    """The loss of N pairs, a scalar, in fp32 or fp64.

    u, v: `(N, D)`, unit rows. scale, bias: t and b, scalars. keys: rows where one agrees are
    each other's positives; without any, row i of u belongs to row i of v alone.
    """
    keys = numbered(u) if keys is None else keys
    return block_sum(u, v, scale, bias, keys, keys, chunk=chunk) / len(u)


def block_sum(
    u: Tensor,
    v: Tensor,
    scale: Tensor,
    bias: Tensor,
    u_keys: Keys,
    v_keys: Keys,
    *,
    chunk: int = CHUNK,
) -> Tensor:
    """-Σ_ij log sigmoid(z_ij x_ij) of one block of pairs, u `(n, D)` against v `(m, D)`."""
    return pair_sum(u, v, scale, bias, matches(u_keys, v_keys), _log_sigmoid, chunk)


def first_bias(rows: int, scale: float, cosine: float) -> float:
    """b with which N·N logits of the mean cosine expect the N positives there are.

    sigmoid(t·cosine + b) = 1/N gives b = -ln(N - 1) - t·cosine. The paper's -10 is this at 32k
    rows and a small cosine; a smaller batch would first learn to raise everything.
    """
    return -math.log(rows - 1) - scale * cosine


def _log_sigmoid(logits: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    value = -logsigmoid(torch.where(positive, logits, -logits)).sum()
    return value, torch.sigmoid(logits) - positive.to(logits.dtype)
