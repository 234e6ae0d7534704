"""The sigmoid loss: against open_clip and transformers, and its memory."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from open_clip.loss import SigLipLoss
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import SiglipConfig, SiglipModel

from embed.training.infonce import infonce
from embed.training.sigmoid import first_bias, sigmoid

PRECISIONS = [(torch.float32, 1e-6), (torch.float64, 1e-12)]


def leaves(rows: int, dtype: torch.dtype = torch.float64, dim: int = 16) -> list[Tensor]:
    torch.manual_seed(0)
    sides = [normalize(torch.randn(rows, dim, dtype=dtype), dim=1) for _ in range(2)]
    numbers = [torch.tensor(value, dtype=dtype) for value in (math.log(10), -3.0)]
    return [tensor.requires_grad_() for tensor in (*sides, *numbers)]


def value_and_gradients(loss: Tensor, by: list[Tensor]) -> list[Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss, by, retain_graph=True)]


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("chunk", [5, 1024])
def test_loss_and_gradients_are_those_of_open_clip(
    dtype: torch.dtype, tolerance: float, chunk: int
) -> None:
    by = leaves(24, dtype)
    u, v, theta, bias = by
    ours = value_and_gradients(sigmoid(u, v, theta.exp(), bias, chunk=chunk), by)
    theirs = value_and_gradients(SigLipLoss()(u, v, theta.exp(), bias), by)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_loss_and_gradients_are_those_of_a_transformers_siglip(
    dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    small |= {"num_attention_heads": 2}
    config = SiglipConfig(
        text_config={**small, "vocab_size": 50, "max_position_embeddings": 8},
        vision_config={**small, "image_size": 16, "patch_size": 8},
    )
    model = SiglipModel(config).eval().to(dtype)
    model.logit_scale.data.fill_(math.log(10))
    model.logit_bias.data.fill_(-2.0)
    ids, pixels = torch.randint(0, 49, (6, 8)), torch.randn(6, 3, 16, 16, dtype=dtype)
    made = model(input_ids=ids, pixel_values=pixels, return_loss=True)
    scale, bias = model.logit_scale.exp().squeeze(), model.logit_bias.squeeze()
    ours = sigmoid(made.image_embeds, made.text_embeds, scale, bias)
    by = [made.image_embeds, made.text_embeds, model.logit_scale, model.logit_bias]
    theirs = value_and_gradients(made.loss, by)
    torch.testing.assert_close(
        value_and_gradients(ours, by), theirs, rtol=tolerance, atol=tolerance
    )


def test_every_pair_of_a_repeated_caption_is_a_yes() -> None:
    by = leaves(6)
    u, v, theta, bias = by
    captions = torch.tensor([0, 1, 1, 3, 0, 5])
    logits = theta.exp() * u @ v.T + bias
    signs = torch.where(captions[:, None] == captions, 1.0, -1.0)
    wanted = -logsigmoid(signs * logits).sum() / 6
    for chunk in (1, 4, 6):
        ours = sigmoid(u, v, theta.exp(), bias, (captions,), chunk=chunk)
        torch.testing.assert_close(
            value_and_gradients(ours, by), value_and_gradients(wanted, by), rtol=1e-12, atol=1e-13
        )


@pytest.mark.parametrize("loss", ["infonce", "sigmoid"])
def test_nothing_of_size_n_by_n_is_kept_or_made(loss: str) -> None:
    rows, chunk, dim = 512, 32, 4
    u, v, theta, bias = leaves(rows, torch.float32, dim)
    largest = Largest()
    kept: list[int] = []
    packed = torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: (kept.append(tensor.numel()), tensor)[1], lambda tensor: tensor
    )
    with largest, packed:
        if loss == "sigmoid":
            sigmoid(u, v, theta.exp(), bias, chunk=chunk).backward()
        else:
            infonce(u, v, theta.exp(), chunk=chunk).backward()
    assert max(kept) <= rows * dim
    assert largest.elements == chunk * rows


class Largest(TorchDispatchMode):
    """The most elements that any tensor made under it has, forward and backward."""

    elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made


def test_first_bias_expects_as_many_matches_as_there_are() -> None:
    bias = first_bias(256, 10.0, 0.4)
    assert 1 / (1 + math.exp(-(10 * 0.4 + bias))) == pytest.approx(1 / 256)
    assert first_bias(32_768, 10.0, 0.0) == pytest.approx(-10.4, abs=0.01)
