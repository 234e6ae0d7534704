"""InfoNCE: against open_clip and transformers, in chunks, and with captions that repeat."""

from __future__ import annotations

import math

import pytest
import torch
from open_clip.loss import ClipLoss
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPConfig, CLIPModel

from embed.training.infonce import clamp_scale, infonce

PRECISIONS = [(torch.float32, 1e-6), (torch.float64, 1e-12)]


def draw(rows: int, dim: int = 16, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(rows, dim, generator=generator, dtype=dtype)
    return normalize(vectors, dim=1).requires_grad_()


def leaves(rows: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    scale = torch.tensor(math.log(1 / 0.07), dtype=dtype, requires_grad=True)
    return draw(rows, dtype=dtype, seed=1), draw(rows, dtype=dtype, seed=2), scale


def value_and_gradients(loss: Tensor, *by: Tensor) -> list[Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss, by, retain_graph=True)]


def plain(u: Tensor, v: Tensor, scale: Tensor, positive: Tensor) -> Tensor:
    """The definition, written out."""
    logits = scale * u @ v.T
    there = positive / positive.sum(1, keepdim=True)
    back = positive / positive.sum(0, keepdim=True)
    by_row = -(there * logits.log_softmax(1)).sum(1).mean()
    by_column = -(back * logits.log_softmax(0)).sum(0).mean()
    return (by_row + by_column) / 2


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("chunk", [5, 1024])
def test_loss_and_gradients_are_those_of_open_clip(
    dtype: torch.dtype, tolerance: float, chunk: int
) -> None:
    u, v, theta = leaves(24, dtype)
    ours = value_and_gradients(infonce(u, v, theta.exp(), chunk=chunk), u, v, theta)
    theirs = value_and_gradients(ClipLoss()(u, v, theta.exp()), u, v, theta)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_loss_and_gradients_are_those_of_a_transformers_clip(
    dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    small |= {"num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **small,
            "vocab_size": 50,
            "max_position_embeddings": 8,
            "bos_token_id": 1,
            "eos_token_id": 49,
        },
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=12,
    )
    model = CLIPModel(config).eval().to(dtype)
    ids = torch.randint(0, 49, (6, 8))
    ids[:, -1] = 49
    pixels = torch.randn(6, 3, 16, 16, dtype=dtype)
    made = model(input_ids=ids, pixel_values=pixels, return_loss=True)
    ours = infonce(made.image_embeds, made.text_embeds, model.logit_scale.exp())
    by = [made.image_embeds, made.text_embeds, model.logit_scale]
    theirs = value_and_gradients(made.loss, *by)
    torch.testing.assert_close(
        value_and_gradients(ours, *by), theirs, rtol=tolerance, atol=tolerance
    )


def test_repeated_captions_are_positives_shared_in_each_direction() -> None:
    u, v, theta = leaves(7)
    photos = torch.tensor([0, 1, 2, 2, 4, 5, 6])
    captions = torch.tensor([0, 1, 2, 3, 4, 0, 0])
    positive = (photos[:, None] == photos) | (captions[:, None] == captions)
    wanted = plain(u, v, theta.exp(), positive.double())
    for chunk in (2, 3, 7):
        ours = infonce(u, v, theta.exp(), (photos, captions), chunk=chunk)
        torch.testing.assert_close(
            value_and_gradients(ours, u, v, theta),
            value_and_gradients(wanted, u, v, theta),
            rtol=1e-12,
            atol=1e-13,
        )


def test_autocast_and_half_vectors_are_summed_in_fp32() -> None:
    u, v, theta = leaves(32, torch.float32)
    exact = infonce(u, v, theta.exp())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(infonce(u, v, theta.exp()), exact)
    halves = infonce(u.bfloat16(), v.bfloat16(), theta.exp())
    assert halves.dtype == torch.float32
    torch.autograd.grad(halves, (u, v))


def test_scale_is_kept_between_1_and_100() -> None:
    theta = torch.tensor([-1.0, 2.0, 9.0])
    clamp_scale(theta)
    torch.testing.assert_close(theta, torch.tensor([0.0, 2.0, math.log(100)]))
