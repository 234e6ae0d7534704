"""The runner of torch modules: packed layers against PyTorch's own, from one thread and several."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from open_clip.transformer import QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn

from embed.backends import packed
from embed.backends.torch_core import DTYPES, Core

BATCHES = (1, 2, 7, 16)


class Perceptron(nn.Module):
    """Calls one layer, reads the weight of another, and takes uint8."""

    def __init__(self) -> None:
        super().__init__()
        self.called = nn.Linear(12, 20)
        self.read = nn.Linear(20, 8, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inner = torch.relu(self.called(x.to(self.read.weight.dtype)))
        return nn.functional.linear(inner, self.read.weight), inner


def arrays(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 255, (count, 12), np.uint8)


def close(found: NDArray[Any], wanted: Tensor, precision: str) -> None:
    tolerance = {"fp32": 1e-5, "bf16": 2e-2, "fp16": 2e-3}[precision]
    scale = float(wanted.abs().max())
    np.testing.assert_allclose(found / scale, wanted.float().numpy() / scale, atol=tolerance)


@pytest.mark.parametrize("precision", DTYPES)
def test_a_core_computes_what_its_module_does(precision: str) -> None:
    torch.manual_seed(0)
    module = Perceptron().requires_grad_(False)
    wanted = {n: module(torch.from_numpy(arrays(n))) for n in BATCHES}
    core = Core(module, precision=precision, threads=2)
    for count in (*BATCHES, *BATCHES):  # the first call packs, later ones run packed
        rows, inner = core(arrays(count))
        assert rows.dtype == inner.dtype == np.float32
        close(rows, wanted[count][0], precision)
        close(inner, wanted[count][1], precision)


@pytest.mark.skipif(not packed.usable(torch.float32), reason="layers are not packed here")
def test_only_called_layers_are_packed() -> None:
    core = Core(Perceptron(), precision="fp32", threads=1)
    assert isinstance(core.module.called, nn.Linear)
    core(arrays(2))
    assert isinstance(core.module.called, packed.Linear)
    assert isinstance(core.module.read, nn.Linear)


def test_a_forward_of_ones_own_is_called() -> None:
    module = nn.Linear(3, 3)
    core = Core(module, precision="fp32", threads=1, forward=lambda ids: ids.float() * 2)
    (found,) = core(np.arange(6, dtype=np.int64).reshape(2, 3))
    np.testing.assert_array_equal(found, np.arange(6).reshape(2, 3) * 2.0)


def test_several_threads_share_a_core() -> None:
    torch.manual_seed(0)
    module = Perceptron().requires_grad_(False)
    wanted = module(torch.from_numpy(arrays(7)))[0]
    core = Core(module, precision="fp32", threads=3)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: core(arrays(7))[0], range(30)))
    for rows in found:
        close(rows, wanted, "fp32")


def test_a_failed_call_leaves_the_core_whole() -> None:
    core = Core(Perceptron(), precision="fp32", threads=2)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            core(np.zeros((2, 5), np.uint8))
    assert core(arrays(2))[0].shape == (2, 8)
    assert core._running == 0


def test_calls_at_the_same_time_share_the_cores() -> None:
    core = Core(nn.Identity(), precision="fp32", threads=4)
    with core._share():
        assert torch.get_num_threads() == 4
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(share, core).result() == 2
    with core._share():
        assert torch.get_num_threads() == 4


def share(core: Core) -> int:
    with core._share():
        return torch.get_num_threads()


@pytest.mark.skipif(not packed.usable(torch.float32), reason="layers are not packed here")
@pytest.mark.parametrize("act", [nn.GELU, QuickGELU, lambda: nn.GELU(approximate="tanh")])
@pytest.mark.parametrize("masked", [False, True])
def test_a_packed_block_is_open_clips(act: Any, masked: bool) -> None:
    torch.manual_seed(0)
    block = ResidualAttentionBlock(32, 4, act_layer=act).eval().requires_grad_(False)
    for parameter in block.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(3, 6, 32)
    mask = torch.full((6, 6), -torch.inf).triu(1) if masked else None
    at = torch.tensor([0, 5, 2])
    with torch.inference_mode():
        wanted = block(x, attn_mask=mask)
        own = packed.Block(block)
        torch.testing.assert_close(own(x, attn_mask=mask), wanted, atol=1e-5, rtol=1e-5)
        one = own(x, attn_mask=mask, at=at)[:, 0]
        torch.testing.assert_close(one, wanted[torch.arange(3), at], atol=1e-5, rtol=1e-5)
