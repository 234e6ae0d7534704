"""What is minimised: contrastive losses over pairs of modalities, and terms beside them.

L = Σ over pairs w·L_pair, each pair with its own θ (and b), over the records of the batch that
have both modalities: so records with any subset of media train every pair they have (ImageBind,
Girdhar et al. 2023, section 3.1, where all pairs share an anchor; here any pairs may be trained).

Two rows of a pair are positives of each other where either side is the same medium: if photos 3
and 8 carry one caption, the caption of each was written for both. That is all that the data says;
chains (3 like 8 on one side, 8 like 9 on the other) are not followed.

Matryoshka (Kusupati et al. 2022, equation 1): the loss is the mean over some prefixes of the
vectors, each brought to unit length, so that a cut vector is a good one too.

In several processes (`distributed`) the mean over processes is the loss of all records. Numbers in
`Batch.group` must then mean the same medium everywhere. It knows no network and no data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from embed.errors import BadInput
from embed.training import infonce, sigmoid
from embed.training.distributed import Counts, counts_of, gather, ring, total, world
from embed.training.meeting import Meeting, Pair, meeting, name_of
from embed.training.options import at_least
from embed.training.pairwise import CHUNK
from embed.training.types import Batch, Loss
from embed.types import Modality

Pairs = Sequence[Pair]
Kind = Literal["infonce", "sigmoid"]


class Contrastive(nn.Module):
    """Implements `embed.training.types.Objective`."""

    begun: Tensor

    def __init__(
        self,
        pairs: Pairs,
        loss: Kind = "infonce",
        *,
        weights: Mapping[str, float] | None = None,
        matryoshka: Sequence[int] = (),
        temperature: float | None = None,
        terms: Mapping[str, tuple[float, nn.Module]] | None = None,
        chunk: int = CHUNK,
    ) -> None:
        """weights: by name of a pair ("image-text"), 1 where none is given.

        matryoshka: lengths of prefixes trained beside the whole vector.
        temperature: 1/s at the start; 0.07, or 0.1 for the sigmoid loss.
        terms: by name a weight and a `meeting.Term`.
        Raises BadInput for pairs or weights that make no sense.
        """
        super().__init__()
        self.pairs = {name_of(pair): pair for pair in _checked(pairs)}
        self.weights = {**dict.fromkeys(self.pairs, 1.0), **_known(weights or {}, self.pairs)}
        self.kind = loss
        self.matryoshka = tuple(matryoshka)
        self.chunk = chunk
        start = temperature or (1 / sigmoid.SCALE if loss == "sigmoid" else infonce.TEMPERATURE)
        self.theta = _scalars(self.pairs, -math.log(start))
        self.bias = _scalars(self.pairs if loss == "sigmoid" else (), 0.0)
        self.register_buffer("begun", torch.zeros(len(self.bias), dtype=torch.bool))
        self._begun: set[str] = set()  # what the buffer says, without asking the device
        self.term_weights = {name: weight for name, (weight, _) in (terms or {}).items()}
        self.terms = nn.ModuleDict({name: term for name, (_, term) in (terms or {}).items()})

    def forward(self, vectors: Mapping[Modality, Tensor], batch: Batch) -> Loss:
        """parts: by name of the pair or term, its weight included."""
        meetings = [meeting(pair, vectors, batch) for pair in self.pairs.values()]
        counts = counts_of([len(rows.u) for rows in meetings], meetings[0].u.device)
        parts = {
            name: self.weights[name] * self._pair(name, rows, count)
            for name, rows, count in zip(self.pairs, meetings, counts, strict=True)
        }
        for name, term in self.terms.items():
            parts[name] = self.term_weights[name] * term(vectors, batch)
        return Loss(torch.stack(list(parts.values())).sum(), parts)

    def clamp(self) -> None:
        for theta in self.theta.values():
            infonce.clamp_scale(theta)

    def scales(self) -> Mapping[str, float]:
        """1/s and b of each pair."""
        temperatures = {
            f"temperature {name}": math.exp(-theta.item()) for name, theta in self.theta.items()
        }
        return temperatures | {f"bias {name}": bias.item() for name, bias in self.bias.items()}

    def _pair(self, name: str, rows: Meeting, counts: Counts) -> Tensor:
        if sum(counts) < 2:  # nothing to tell apart; a gradient all the same, as DDP wants one
            own = [values[name] for values in (self.theta, self.bias) if name in values]
            return 0.0 * torch.stack(own).sum()
        if self.kind == "infonce":
            share = self._infonce(self.theta[name].exp(), rows, counts)
        else:
            share = self._sigmoid(name, rows, counts)
        return share * world() / sum(counts)

    def _infonce(self, scale: Tensor, rows: Meeting, counts: Counts) -> Tensor:
        """This process's rows, each among the rows of all."""
        everyone = Meeting(*(gather(side, counts) for side in rows))
        keys, all_keys = rows.keys.unbind(1), everyone.keys.unbind(1)
        sums = [
            infonce.row_sum(queries, gallery, scale, keys, all_keys, chunk=self.chunk)
            for one, other in ((rows.u, everyone.v), (rows.v, everyone.u))
            for queries, gallery in self._prefixes(one, other)
        ]
        return torch.stack(sums).sum() / len(sums)

    def _sigmoid(self, name: str, rows: Meeting, counts: Counts) -> Tensor:
        """This process's rows against those of all, which come around a ring."""
        if name not in self._begun:
            self._begin(name, rows, sum(counts))
        scale, bias, keys = self.theta[name].exp(), self.bias[name], rows.keys.unbind(1)
        sums = [
            sigmoid.block_sum(u, v, scale, bias, keys, other.unbind(1), chunk=self.chunk)
            for block, other in ring((rows.v, rows.keys), counts)
            for u, v in self._prefixes(rows.u, block)
        ]
        return torch.stack(sums).sum() / (1 + len(self.matryoshka))

    def _prefixes(self, u: Tensor, v: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        yield u, v
        for length in self.matryoshka:
            yield normalize(u[:, :length], dim=1), normalize(v[:, :length], dim=1)

    def _begin(self, name: str, rows: Meeting, count: int) -> None:
        """The pair's first bias, of the first vectors that it sees; a resumed one is left alone."""
        number = list(self.bias).index(name)
        if not self.begun[number]:
            means = [total(side.sum(0)) / count for side in (rows.u, rows.v)]
            scale = math.exp(self.theta[name].item())
            first = sigmoid.first_bias(count, scale, (means[0] @ means[1]).item())
            self.bias[name].data.fill_(first)
            self.begun[number] = True
        self._begun.add(name)


def _checked(pairs: Pairs) -> Pairs:
    """Raises BadInput unless there are pairs, of two modalities each, and none twice."""
    if not pairs:
        raise BadInput("nothing to learn from: an objective takes one pair of modalities at least")
    for pair in pairs:
        if pair[0] == pair[1]:
            raise BadInput(f"{name_of(pair)} is no pair: its modalities must differ")
        if sum(set(pair) == set(other) for other in pairs) > 1:
            raise BadInput(f"the pair {name_of(pair)} is there twice, or its reverse: leave one")
    return pairs


def _known(weights: Mapping[str, float], names: Iterable[str]) -> Mapping[str, float]:
    """Raises BadInput for the weight of a pair that is not trained, or one below 0."""
    for name, weight in weights.items():
        if name not in names:
            raise BadInput(
                f"weights has {name!r}; the pairs are: {', '.join(names)}", param="weights"
            )
        at_least(f"the weight of {name}", weight, 0)
    return weights


def _scalars(names: Iterable[str], value: float) -> nn.ParameterDict:
    return nn.ParameterDict([(name, nn.Parameter(torch.tensor(value))) for name in names])
