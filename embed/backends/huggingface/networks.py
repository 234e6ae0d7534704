"""Networks of transformers models as `Core` runs them and ONNX exports them: arrays in, rows out.

What a family calls its outputs differs (a tensor, an object with `pooler_output`, one row or one
a token) and `rows_of` is the one place that knows. Pixels come as uint8 and are normalised here.
Nothing is random: dropout is off in eval mode, and no input is cut at random.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from embed.backends.recipes import ImageRecipe, PatchRecipe


def rows_of(output: Any) -> Tensor:
    """`(N, D)` of whatever a `get_*_features` returned: of one row a token, the first (CLS)."""
    found = output if isinstance(output, Tensor) else output.pooler_output
    rows: Tensor = found[:, 0] if found.ndim == 3 else found
    return rows


class Texts(nn.Module):
    """Ids and mask `(N, L)` to rows, by `get_text_features`."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        return rows_of(self.model.get_text_features(input_ids=ids, attention_mask=mask))


class Normalised(nn.Module):
    """uint8, channels last, to `(x / 255 - mean) / std`.

    In fp32 whatever the network's precision is: half of it would lose grey levels.
    """

    def __init__(self, recipe: ImageRecipe | PatchRecipe) -> None:
        super().__init__()
        self._scale = tuple(1.0 / (255.0 * std) for std in recipe.std)
        self._shift = tuple(-mean / std for mean, std in zip(recipe.mean, recipe.std, strict=True))

    def channels(self, pixels: Tensor) -> list[Tensor]:
        """Three tensors without the last axis."""
        numbers = zip(pixels.unbind(-1), self._scale, self._shift, strict=True)
        return [channel.float() * scale + shift for channel, scale, shift in numbers]

    def forward(self, pixels: Tensor) -> Tensor:
        """`(…, H, W, 3)` to `(…, 3, H, W)`."""
        return torch.stack(self.channels(pixels), dim=-3)


class Pictures(nn.Module):
    """Pixels `(N, H, W, 3)` uint8 to rows, by `get_image_features`."""

    def __init__(self, model: PreTrainedModel, recipe: ImageRecipe) -> None:
        super().__init__()
        self.model: Any = model
        self.normalised = Normalised(recipe)

    def forward(self, pixels: Tensor) -> Tensor:
        values = self.normalised(pixels).to(self.model.dtype)
        return rows_of(self.model.get_image_features(pixel_values=values))


class PatchedPictures(nn.Module):
    """Patches `(N, P, F)` uint8, mask `(N, P)` and grids `(N, 2)` to rows (NaFlex).

    The library fits the table of places to each picture in a loop, which no exporter can follow;
    here it is one product for all of them.
    """

    def __init__(self, model: PreTrainedModel, recipe: PatchRecipe) -> None:
        super().__init__()
        self.model: Any = model
        self.normalised = Normalised(recipe)
        tower: Any = model.vision_model
        tower.embeddings.resize_positional_embeddings = places

    def forward(self, patches: Tensor, mask: Tensor, grids: Tensor) -> Tensor:
        colours = self.normalised.channels(patches.reshape(*patches.shape[:2], -1, 3))
        values = torch.stack(colours, dim=-1).flatten(-2) * mask.unsqueeze(-1)
        found = self.model.get_image_features(
            pixel_values=values.to(self.model.dtype),
            pixel_attention_mask=mask,
            spatial_shapes=grids,
        )
        return rows_of(found)


def places(table: Tensor, grids: Tensor, max_length: int) -> Tensor:
    """`(H, W, D)` places to `(N, max_length, D)`: of picture n those of its grid, row by row.

    Bilinear and antialiased, as `torch.nn.functional.interpolate` has it: place i of h is the mean
    of the H under a triangle around (i + ½) H / h - ½, as wide as the larger of 1 and H / h. What
    stands after a picture's last patch is masked by the network.
    """
    patch = torch.arange(max_length, device=table.device)
    rows = _triangles(patch // grids[:, 1:], grids[:, :1], table.shape[0])
    columns = _triangles(patch % grids[:, 1:], grids[:, 1:], table.shape[1])
    return torch.einsum("nph,npw,hwd->npd", rows, columns, table.float()).to(table.dtype)


def _triangles(place: Tensor, count: Tensor, length: int) -> Tensor:
    """`(N, P, length)`: how much of each source point is in place `(N, P)` of `count` `(N, 1)`."""
    scale = (length / count).unsqueeze(-1)
    centre = (place.unsqueeze(-1) + 0.5) * scale - 0.5
    distance = torch.arange(length, device=place.device) - centre
    weights = (1 - distance.abs() / scale.clamp(min=1.0)).clamp(min=0.0)
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-6)


class Sounds(nn.Module):
    """Log-mel features `(N, 1, T, F)` to rows, by `get_audio_features`.

    No sound is "longer" than CLAP hears at once, as long ones come in pieces. So its fusion of
    random excerpts, which would follow the first channel, never takes part and is switched off.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model

        audio: Any = model.audio_model
        encoder = audio.audio_encoder
        encoder.enable_fusion = encoder.patch_embed.enable_fusion = False

    def forward(self, features: Tensor) -> Tensor:
        values = features.to(self.model.dtype)
        return rows_of(self.model.get_audio_features(input_features=values))


class Films(nn.Module):
    """Frames `(N, T, H, W, 3)` uint8 to rows, by `get_video_features`."""

    def __init__(self, model: PreTrainedModel, recipe: ImageRecipe) -> None:
        super().__init__()
        self.model: Any = model
        self.normalised = Normalised(recipe)

    def forward(self, frames: Tensor) -> Tensor:
        values = self.normalised(frames).to(self.model.dtype)
        return rows_of(self.model.get_video_features(pixel_values=values))


class FlavaPairs(nn.Module):
    """A text and a picture to a row: CLS of the multimodal encoder (Singh et al., FLAVA, 2022)."""

    def __init__(self, model: PreTrainedModel, recipe: ImageRecipe) -> None:
        super().__init__()
        self.model: Any = model
        self.normalised = Normalised(recipe)

    def forward(self, ids: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
        values = self.normalised(pixels).to(self.model.dtype)
        found = self.model(input_ids=ids, attention_mask=mask, pixel_values=values)
        row: Tensor = found.multimodal_embeddings[:, 0]
        return row
