"""ImageBind's towers as networks of their own, which take what an encoder prepares."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embed.backends.imagebind.config import TEXT, VISION
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
        """`(N, 224, 224, 3)` stills or `(N, 2, 224, 224, 3)` pairs of frames."""
        frames = pixels if pixels.ndim == 5 else pixels.unsqueeze(1)
        standard = (frames.to(self.mean.dtype) / 255 - self.mean) / self.std
        return super().forward(standard.permute(0, 4, 1, 2, 3))
