"""open_clip's networks as `Core` runs them and ONNX exports them: uint8 pixels or ids to rows.

The layers and their weights are open_clip's own; what is written here is the way through them
where a shorter one gives the same vectors: causal text towers read only as many positions as a
batch has tokens, towers that pool one token compute the last block for that token alone, and the
normalisation of pixels is folded into the first product. open_clip.model and .transformer (MIT)
are the reference, and the tests hold every way against `encode_image` and `encode_text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import Tensor, nn

from embed.backends.packed import Block
from embed.backends.recipes import ImageRecipe
from embed.errors import MissingWeights


def build(config: Mapping[str, Any], weights: Path) -> nn.Module:
    """The model of an open_clip configuration with the weights of a file, float32.

    Pickles are read with `weights_only=True`. Raises MissingWeights for a file that is not of
    this architecture, or not one of weights at all.
    """
    parts = {
        **config,
        "vision_cfg": dict(config["vision_cfg"]),
        "text_cfg": dict(config["text_cfg"]),
    }
    # All weights come from the one file: nothing is fetched for either half.
    parts["vision_cfg"]["timm_model_pretrained"] = False
    parts["text_cfg"]["hf_model_pretrained"] = False
    own_text = parts.pop("custom_text", False) or "hf_model_name" in parts["text_cfg"]
    kind = open_clip.CLIP
    if own_text:
        kind = open_clip.CoCa if "multimodal_cfg" in parts else open_clip.CustomTextCLIP
    try:
        model: nn.Module = kind(**parts)
        open_clip.load_checkpoint(model, str(weights), strict=True, weights_only=True)
    except Exception as error:  # whatever an odd file or a foreign configuration leads to
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise MissingWeights(
            f"{weights} cannot be read as weights of this architecture: {reason}; give a state "
            "dict of it, as safetensors or as torch.save wrote it"
        ) from error
    return model.eval().requires_grad_(False)


def pictures(model: Any, recipe: ImageRecipe) -> nn.Module:
    """The picture half of a model: `(N, H, W, 3)` uint8 to `(N, D)`."""
    visual = model.visual
    plain = (
        type(visual) is VisionTransformer
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and isinstance(visual.patch_dropout, nn.Identity)
    )
    return ClassToken(visual, recipe) if plain else Pictures(visual, recipe)


def texts(model: Any) -> nn.Module:
    """The text half of a model: ids `(N, L)` int64 to `(N, D)`."""
    if not hasattr(model, "text"):
        return OneToken(model, pool=model.text_pool_type, end=model.text_eos_id)
    text = model.text
    if isinstance(text, TextTransformer) and text.cls_emb is None:
        return OneToken(text, pool=text.pool_type, end=text.eos_id)
    return Texts(text)


class Pictures(nn.Module):
    """Any of open_clip's picture towers, called as it is."""

    def __init__(self, visual: nn.Module, recipe: ImageRecipe) -> None:
        super().__init__()
        self.visual = visual
        self.register_buffer("scale", 1 / (255 * torch.tensor(recipe.std)))
        self.register_buffer("shift", -torch.tensor(recipe.mean) / torch.tensor(recipe.std))
        self.scale: Tensor
        self.shift: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        values = pixels.to(self.scale.dtype) * self.scale + self.shift
        return _first(self.visual(values.permute(0, 3, 1, 2)))


class ClassToken(nn.Module):
    """A ViT that pools its class token: patches as one product, the last block for one token."""

    def __init__(self, visual: Any, recipe: ImageRecipe) -> None:
        super().__init__()
        self.visual = visual
        self.patch: tuple[int, int] = visual.patch_size
        self.embed = _patch_embedding(visual.conv1.weight, recipe)

    def forward(self, pixels: Tensor) -> Tensor:
        visual = self.visual
        x = self.embed(self._patches(pixels).to(visual.proj.dtype))
        first = visual.class_embedding.expand(len(x), 1, -1)
        x = visual.ln_pre(torch.cat([first, x], dim=1) + visual.positional_embedding)
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            x = block(x)
        start = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        rows: Tensor = visual.ln_post(_token(last, x, None, start)) @ visual.proj
        return rows

    def _patches(self, pixels: Tensor) -> Tensor:
        """`(N, H, W, 3)` to `(N, patches, numbers of a patch)`."""
        high, wide = self.patch
        rows, columns = pixels.shape[1] // high, pixels.shape[2] // wide
        cut = pixels.reshape(len(pixels), rows, high, columns, wide, 3).transpose(2, 3)
        return cut.reshape(len(pixels), rows * columns, high * wide * 3)


class OneToken(nn.Module):
    """A text transformer that pools one token of each text."""

    def __init__(self, text: Any, *, pool: str, end: int) -> None:
        super().__init__()
        self.token_embedding = text.token_embedding
        self.positional_embedding = text.positional_embedding
        self.blocks = text.transformer.resblocks
        self.ln_final = text.ln_final
        self.text_projection = text.text_projection
        self.register_buffer("mask", text.attn_mask, persistent=False)
        self.mask: Tensor | None
        self.pool = pool
        self.end = end

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        mask = None if self.mask is None else self.mask[:length, :length]
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x, attn_mask=mask)
        row = self.ln_final(_token(last, x, mask, self._pooled(ids)))
        if self.text_projection is None:
            found: Tensor = row
        elif isinstance(self.text_projection, Tensor):
            found = row @ self.text_projection
        else:
            found = self.text_projection(row)
        return found

    def _pooled(self, ids: Tensor) -> Tensor:
        """Which token of each text is pooled, as open_clip's `text_global_pool` has it."""
        if self.pool == "argmax":
            return ids.argmax(dim=-1)
        if self.pool == "eos":
            return (ids == self.end).int().argmax(dim=-1)
        position = 0 if self.pool == "first" else ids.shape[1] - 1
        return torch.full((len(ids),), position, dtype=torch.int64, device=ids.device)


class Texts(nn.Module):
    """Any of open_clip's text towers, called as it is."""

    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        self.text = text

    def forward(self, ids: Tensor) -> Tensor:
        return _first(self.text(ids))


def _patch_embedding(kernel: Tensor, recipe: ImageRecipe) -> nn.Linear:
    """The stem on raw pixels: w · (p / 255 - mean) / std is (w / 255 std) · p + a constant."""
    weight = kernel.permute(0, 2, 3, 1)
    std, mean = torch.tensor(recipe.std), torch.tensor(recipe.mean)
    layer = nn.Linear(weight[0].numel(), len(weight))
    layer.weight.data = (weight / (255 * std)).flatten(1)
    layer.bias.data = -(weight * (mean / std)).sum(dim=(1, 2, 3))
    return layer.requires_grad_(False)


def _token(block: nn.Module, x: Tensor, mask: Tensor | None, at: Tensor) -> Tensor:
    """One token of each row of `block(x)`: `(N, C)`."""
    if isinstance(block, Block):
        one: Tensor = block(x, attn_mask=mask, at=at)[:, 0]
        return one
    rows: Tensor = block(x, attn_mask=mask)[torch.arange(len(x), device=x.device), at]
    return rows


def _first(found: Tensor | tuple[Tensor, ...]) -> Tensor:
    """CoCa's towers return their tokens beside the vector."""
    return found[0] if isinstance(found, tuple) else found
