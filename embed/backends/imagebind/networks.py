"""ImageBind's towers as networks of their own, which take what an encoder prepares.

Clips of a sound or a film are averaged after the tower's scale, as the authors have it; only the
mean is brought to unit length, elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embed.backends.imagebind.config import AUDIO, TEXT, VISION
from embed.backends.imagebind.inputs import PICTURE
from embed.backends.imagebind.model import ImageBind


class Fed(nn.Module):
    """One tower as a network of its own: `(N, …)` floats or ids to `(N, D)`."""

    def __init__(self, model: ImageBind, tower: str) -> None:
        super().__init__()
        self.model = model
        self.tower = tower

    def forward(self, x: Tensor) -> Tensor:
        floats = x if self.tower == TEXT else x.to(next(self.model.parameters()).dtype)
        rows: Tensor = self.model(self.tower, floats)
        return rows


class Seen(Fed):
    """Vision on pixels, uint8: (p / 255 - mean) / std, then the tower."""

    def __init__(self, model: ImageBind) -> None:
        super().__init__(model, VISION)
        self.register_buffer("mean", torch.tensor(PICTURE.mean))
        self.register_buffer("std", torch.tensor(PICTURE.std))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        """`(N, 224, 224, 3)` stills, or `(N, K, 2, 224, 224, 3)`: K clips of two frames."""
        frames = pixels.flatten(0, 1) if pixels.ndim == 6 else pixels.unsqueeze(1)
        standard = (frames.to(self.mean.dtype) / 255 - self.mean) / self.std
        rows = super().forward(standard.permute(0, 4, 1, 2, 3))
        return mean_of_clips(rows, pixels.shape[1]) if pixels.ndim == 6 else rows


class Heard(Fed):
    """Audio on the spectrograms `(N, K, 1, 128, 204)` of K clips."""

    def __init__(self, model: ImageBind) -> None:
        super().__init__(model, AUDIO)

    def forward(self, clips: Tensor) -> Tensor:
        return mean_of_clips(super().forward(clips.flatten(0, 1)), clips.shape[1])


def mean_of_clips(rows: Tensor, clips: int) -> Tensor:
    """`(N * clips, D)` to `(N, D)`."""
    return rows.view(-1, clips, rows.shape[-1]).mean(1)
