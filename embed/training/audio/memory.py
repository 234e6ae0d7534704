"""From networks to the tower: descriptions of sounds, and kernel regression on remembered ones.

A few hundred recordings are too few to train a network well, and enough for this. Networks that
know rendered sounds alone describe a sound, with the statistics of its texture; the description is
brought to some principal components of rendered sounds, partly whitened, and to unit length.
Scores of the concepts are what the networks guess and, on top of it, kernel ridge regression
(Saunders et al., 1998) with the kernel exp(cosine - 1) over all sounds that are remembered; a
network that was tuned on recordings has its say. The posterior is the softmax of scores, and how
high the best one is says how certain it is. It knows no word and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from embed.training.audio.network import Ear, relative, statistics
from embed.training.audio.vocabulary import Prototypes

DIMS = 128
WHITENING = 0.3  # 0 leaves the spread of components as it is, 1 makes them all alike
RIDGE = 0.1
SHARPNESS = 20.0  # of the posterior
OPINION = 0.5  # what a network trained on few recordings counts beside likeness
_BATCH = 64
_FAR = 10.0  # deviations: further out, one number would speak for the whole description


class Describer(nn.Module):
    """Decibels `(N, 1, T, 64)` to `(N, 128 + C)`: the native vector, unit, and what is guessed.

    The guess is the networks' mean posterior over the C sounds that they were taught.
    """

    middle: Tensor
    spread: Tensor
    axes: Tensor

    def __init__(self, ears: Sequence[Ear], clips: Tensor) -> None:
        """clips: `(M, T, 64)` rendered sounds, which say in what ways sounds differ."""
        super().__init__()
        self.ears = nn.ModuleList(ears).eval()
        self._ears = tuple(ears)  # the same, of a known type
        found = _in_batches(self._described, clips)
        self.register_buffer("middle", found.mean(0))
        self.register_buffer("spread", found.std(0) + 1e-2)
        self.register_buffer("axes", _axes(self._scaled(found).double()))

    def forward(self, decibels: Tensor) -> Tensor:
        native = self._scaled(self._described(decibels)) @ self.axes
        guesses = [torch.softmax(ear(decibels), 1) for ear in self._ears]
        return torch.cat([functional.normalize(native, dim=1), torch.stack(guesses).mean(0)], 1)

    def of(self, clips: Tensor) -> Tensor:
        """As `forward`, of `(M, T, 64)`, some at a time."""
        return _in_batches(self, clips)

    def _described(self, decibels: Tensor) -> Tensor:
        levels = relative(decibels)
        seen = [part for ear in self._ears for part in ear.shapes.described(levels)]
        return torch.cat([statistics(levels[:, 0]), *seen], 1)

    def _scaled(self, described: Tensor) -> Tensor:
        return ((described - self.middle) / self.spread).clamp(-_FAR, _FAR)


class Binding(nn.Module):
    """Descriptions `(N, 128 + C)` to joint vectors `(N, D)`, unit rows.

    Kernel regression learns what the guess lacks, so that what is rendered is told by networks that
    know it and recordings by likeness. Concepts are mixed as ConSE does (Norouzi et al., 2014), and
    leant towards a direction in which no text lies, the more the less certain: all cosines with
    texts shrink, and their order stays.
    """

    known: Tensor
    weights: Tensor
    prototypes: Tensor
    nowhere: Tensor

    def __init__(
        self, described: Tensor, concepts: Tensor, words: Prototypes, opinion: float = OPINION
    ) -> None:
        """Remembers descriptions `(M, 128 + C)` of `(M,)` concepts, the first K of those C.

        opinion: what that of the tuned network counts beside likeness.
        """
        super().__init__()
        self._weight = opinion
        count = len(words.concepts)
        known, guess = native(described), described[:, DIMS : DIMS + count]
        kernel = _kernel(known.double(), known.double())
        kernel.diagonal().add_(RIDGE)
        lacking = functional.one_hot(concepts, count).double() - guess
        self.register_buffer("known", known)
        self.register_buffer("weights", torch.linalg.solve(kernel, lacking).float())
        self.register_buffer("prototypes", torch.from_numpy(words.concepts))
        self.register_buffer("nowhere", torch.from_numpy(words.nowhere))

    def forward(self, described: Tensor, opinion: Tensor) -> Tensor:
        """opinion: `(N, C)`, the posterior of a network that has heard recordings too."""
        count = len(self.prototypes)
        guess = described[:, DIMS : DIMS + count]
        likeness = guess + _kernel(native(described), self.known) @ self.weights
        scores = (likeness + self._weight * opinion[:, :count]) / (1 + self._weight)
        certain = scores.amax(1, keepdim=True).clamp(0.05, 1.0)
        meant = functional.normalize(torch.softmax(SHARPNESS * scores, 1) @ self.prototypes)
        joint: Tensor = certain * meant + (1 - certain.square()).sqrt() * self.nowhere
        return joint


class Tower(nn.Module):
    """Decibels `(N, 1, T, 64)` to joint `(N, D)` and native `(N, 128)`, unit rows: what ships."""

    def __init__(self, describer: Describer, ear: Ear, binding: Binding) -> None:
        super().__init__()
        self.describer, self.ear, self.binding = describer, ear, binding
        self.eval()

    def forward(self, decibels: Tensor) -> tuple[Tensor, Tensor]:
        described = self.describer(decibels)
        opinion = torch.softmax(self.ear(decibels), 1)
        return self.binding(described, opinion), native(described)

    def joint(self, clips: Tensor) -> Tensor:
        """`(M, D)` of `(M, T, 64)`, some at a time."""
        return _in_batches(lambda decibels: self(decibels)[0], clips)


def native(described: Tensor) -> Tensor:
    """`(N, 128)` of descriptions."""
    return described[:, :DIMS]


def _axes(rows: Tensor) -> Tensor:
    """`(F, 128)`: the first principal components of `(M, F)`, the wider ones made narrower."""
    # Of the products of rows, which are fewer than columns.
    spreads, left = torch.linalg.eigh(rows @ rows.T / len(rows))
    best = spreads.flip(0)[:DIMS]
    best = best[best > 1e-6 * best[0]]
    axes = rows.T @ left.flip(1)[:, : len(best)] / (len(rows) * best).sqrt()
    return functional.pad(axes * best ** (-WHITENING / 2), (0, DIMS - len(best))).float()


def _kernel(some: Tensor, others: Tensor) -> Tensor:
    return torch.exp(some @ others.T - 1)


@torch.no_grad()
def _in_batches(network: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
    starts = range(0, len(clips), _BATCH)
    return torch.cat([network(clips[at : at + _BATCH, None].float()) for at in starts])
