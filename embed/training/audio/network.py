"""The network of the audio tower: what a log-mel spectrogram looks like, and how it is textured.

A small convolutional half sees shapes: strided 3x3 convolutions with residual depthwise-separable
ones (Howard et al., MobileNets, 2017), a convolution over what is left of the frequency axis, mean
and maximum over time. Rain, surf and fire have no shapes; they are told apart by statistics of each
band (McDermott & Simoncelli, Sound texture perception via statistics, Neuron 2011), which the other
half computes. It knows no sound and no word: it says how likely each of K classes is.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

RANGE_DB = 80.0  # below the loudest band of a clip everything is silence
QUIETEST_DB = -60.0  # the loudest of a clip in which nothing is heard
BANDS = 64
GROUPS = 16  # of neighbouring bands, for slow modulations
SCALES = 3  # of modulation: frames are averaged by fours, again and again
SHAPES, TEXTURES = 128, 96
FEATURES = SHAPES + TEXTURES


class Ear(nn.Module):
    """Decibels `(N, 1, T, 64)`, T at least 64, to logits `(N, K)`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.shapes = _Shapes()
        self.textures = _Textures()
        self.drop = nn.Dropout(0.2)
        self.classes = nn.Linear(FEATURES, classes)

    def forward(self, decibels: Tensor) -> Tensor:
        levels = relative(decibels)
        features = torch.cat([self.shapes(levels), self.textures(levels[:, 0])], 1)
        logits: Tensor = self.classes(self.drop(features))
        return logits


class _Shapes(nn.Module):
    """`(N, 1, T, 64)` to `(N, 128)`."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 6 * width)
        self.body = nn.Sequential(
            _convolved(1, width, (5, 3), (4, 2)),
            *(_Stage(before, after) for before, after in pairwise(widths)),
        )
        self.fold = nn.Sequential(
            nn.Conv2d(widths[-1], SHAPES, (1, BANDS // 16), bias=False),
            nn.BatchNorm2d(SHAPES),
            nn.ReLU(),
        )

    def forward(self, levels: Tensor) -> Tensor:
        over_time = self.fold(self.body(levels))[..., 0]
        both: Tensor = over_time.mean(-1) + over_time.amax(-1)
        return both

    def described(self, levels: Tensor) -> list[Tensor]:
        """All that is seen on the way, `(N, some)` each: it knows more sounds than were trained."""
        seen, now = [], levels
        for stage in self.body:
            now = stage(now)
            seen.append(now)
        over_time = self.fold(now)[..., 0]
        parts = [over_time.mean(-1), over_time.amax(-1), over_time.std(-1)]
        for maps in seen[1:]:
            over_bands = maps.mean(3)
            parts += [over_bands.mean(2), over_bands.std(2), maps.amax((2, 3))]
        quarters = seen[2].unflatten(3, (4, 2)).mean((2, 4))
        return [*parts, quarters.flatten(1)]


class _Stage(nn.Module):
    """Halves time and frequency, then adds a depthwise-separable convolution of the result."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.down = _convolved(before, after, (3, 3), (2, 2))
        self.more = nn.Sequential(
            nn.Conv2d(after, after, 3, padding=1, groups=after, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        smaller = self.down(inputs)
        return torch.relu(smaller + self.more(smaller))


class _Textures(nn.Module):
    """`(N, T, 64)` to `(N, 96)`, through statistics over time."""

    def __init__(self) -> None:
        super().__init__()
        count = 5 * BANDS + SCALES * GROUPS + 2
        self.learnt = nn.Sequential(
            nn.BatchNorm1d(count, affine=False),
            nn.Dropout(0.3),
            nn.Linear(count, TEXTURES),
            nn.BatchNorm1d(TEXTURES),
            nn.ReLU(),
        )

    def forward(self, levels: Tensor) -> Tensor:
        learnt: Tensor = self.learnt(statistics(levels.float()))
        return learnt


def statistics(levels: Tensor) -> Tensor:
    """`(N, T, 64)` to `(N, 370)`: moments of each band, its speed, modulations at three scales."""
    mean = levels.mean(1, keepdim=True)
    spread = _deviation(levels)
    score = (levels - mean) / spread[:, None]
    speed = (levels[:, 1:] - levels[:, :-1]).abs().mean(1)
    kurtosis = torch.log(score.pow(4).mean(1) + 0.1)
    parts = [mean[:, 0], torch.log(spread), torch.log(speed + 1e-2), score.pow(3).mean(1), kurtosis]
    slow = functional.avg_pool1d(levels, BANDS // GROUPS).transpose(1, 2)
    for _ in range(SCALES):
        slow = functional.avg_pool1d(slow, 4)
        parts.append(torch.log(_deviation(slow.transpose(1, 2))))
    loudness = levels.mean(2, keepdim=True)
    return torch.cat([*parts, torch.log(_deviation(loudness)), loudness.mean(1)], 1)


def _deviation(values: Tensor) -> Tensor:
    """Over axis 1; never 0."""
    return (values - values.mean(1, keepdim=True)).square().mean(1).add(1e-4).sqrt()


def _convolved(
    before: int, after: int, size: tuple[int, int], stride: tuple[int, int]
) -> nn.Sequential:
    padding = (size[0] // 2, size[1] // 2)
    convolution = nn.Conv2d(before, after, size, stride=stride, padding=padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def relative(decibels: Tensor) -> Tensor:
    """Levels under the clip's loudest, in [-1, 1]: how loud it was recorded says nothing."""
    loudest = decibels.amax((1, 2, 3), keepdim=True).clamp_min(QUIETEST_DB)
    return (decibels - loudest).clamp_min(-RANGE_DB) / (RANGE_DB / 2) + 1.0
