"""Who meets whom in a batch: the records that have both modalities of a pair, as aligned rows.

Here too what may be added to an objective beside its pairs: `Term`. It knows no loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from embed.training.types import Batch
from embed.types import Modality

Pair = tuple[Modality, Modality]


class Term(Protocol):
    """A `torch.nn.Module` that adds something of its own to the loss, such as a caption's."""

    def __call__(self, vectors: Mapping[Modality, Tensor], batch: Batch) -> Tensor:
        """A scalar, as `embed.training.types.Objective` has its total."""
        ...


class Meeting(NamedTuple):
    """The records of a batch that have both modalities of a pair.

    u, v: `(n, D)`, unit rows, one record a row. keys: `(n, 2)` int64, the group of each side.
    """

    u: Tensor
    v: Tensor
    keys: Tensor


def meeting(pair: Pair, vectors: Mapping[Modality, Tensor], batch: Batch) -> Meeting:
    """vectors: `(M_m, D)` of at least one modality."""
    one, other = pair
    if one not in batch.rows or other not in batch.rows:
        some = next(iter(vectors.values()))
        none = some.new_zeros((0, some.shape[1]))
        return Meeting(none, none, torch.zeros((0, 2), dtype=torch.int64, device=some.device))
    first, second = having_both(pair, batch)
    keys = torch.stack([batch.group[one][first], batch.group[other][second]], 1)
    return Meeting(vectors[one][first], vectors[other][second], keys)


def having_both(pair: Pair, batch: Batch) -> tuple[Tensor | slice, Tensor | slice]:
    """Which rows of each side are of records that have both: indices of the same length."""
    one, other = (batch.rows[side] for side in pair)
    if len(one) == len(other) == len(batch.ids):
        return slice(None), slice(None)  # which rows there are need not be asked of the device
    return torch.isin(one, other), torch.isin(other, one)


def name_of(pair: Pair) -> str:
    """What a pair is called in logs, weights and checkpoints."""
    return f"{pair[0]}-{pair[1]}"
