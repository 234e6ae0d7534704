"""How a student stands on records that it does not learn from: R@1, and whether it collapses.

A glance while a run goes on; `embed.training.evaluate` is the whole examination. It knows no
network, no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from embed.training.gradcache import Encode
from embed.training.types import Batch
from embed.types import Modality


@dataclass(frozen=True, slots=True)
class Standing:
    """recall: by pair of modalities R@1 in [0, 1], the mean of both directions, equal media
    counting as found. unmatched: mean cosine of what does not belong together. chance: R@1 of
    guessing."""

    recall: Mapping[str, float]
    unmatched: float
    chance: float

    @property
    def r1(self) -> float:
        """The mean over pairs; 0 where there are none."""
        return sum(self.recall.values()) / max(len(self.recall), 1)


@torch.no_grad()
def standing(encode: Encode, batches: Iterable[Batch]) -> Standing:
    """Of all pairs of modalities that at least two records have. `encode` as `Student.__call__`."""
    found: dict[Modality, list[tuple[Tensor, Tensor, Tensor]]] = {}
    seen = 0
    for batch in batches:
        for modality, inputs in batch.inputs.items():
            vectors = normalize(encode(modality, inputs).float(), dim=-1).cpu()
            rows, group = batch.rows[modality].cpu() + seen, batch.group[modality].cpu()
            found.setdefault(modality, []).append((vectors, rows, group))
        seen += len(batch.ids)
    halves = {m: _Half(*map(torch.cat, zip(*parts, strict=True))) for m, parts in found.items()}
    pairs = {f"{a}-{b}": _met(halves[a], halves[b]) for a, b in combinations(sorted(halves), 2)}
    measured = {name: _measured(*met) for name, met in pairs.items() if len(met[0]) > 1}
    count = max(len(measured), 1)
    return Standing(
        recall={name: recall for name, (recall, _, _) in measured.items()},
        unmatched=sum(cosine for _, cosine, _ in measured.values()) / count,
        chance=sum(chance for _, _, chance in measured.values()) / count,
    )


class _Half(NamedTuple):
    """Unit vectors `(M, D)` of one modality, whose they are, and which are of equal media."""

    vectors: Tensor
    rows: Tensor
    group: Tensor


def _met(a: _Half, b: _Half) -> tuple[_Half, _Half]:
    """The records that have both, in the same order."""
    in_a, in_b = torch.isin(a.rows, b.rows), torch.isin(b.rows, a.rows)
    return _Half(*(one[in_a] for one in a)), _Half(*(one[in_b] for one in b))


def _measured(a: _Half, b: _Half) -> tuple[float, float, float]:
    """R@1, the mean cosine of what is unmatched, and the R@1 of guessing."""
    cosines = a.vectors @ b.vectors.T
    matches = (a.group[:, None] == a.group) | (b.group[:, None] == b.group)
    hits = [
        table.gather(1, scores.argmax(1, keepdim=True)).double().mean()
        for table, scores in ((matches, cosines), (matches.T, cosines.T))
    ]
    apart = cosines[~matches]
    return (
        float(sum(hits)) / 2,
        float(apart.mean()) if len(apart) else 0.0,
        float(matches.double().mean()),
    )
