"""Runs torch modules for inference: one place for device, precision and threads.

On a CPU the layers are packed (`packed`) when the first call has shown which of them run. A call
that is alone uses every core it may; calls at the same time share them, for two on one core each
do more than two after each other on both. On a GPU (written to PyTorch's documentation and not
tried here: the project's own machines have none) inputs go through pinned memory, one call a time.

It knows nothing of what a module computes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embed.backends import packed

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Core:
    """A module, ready to be called with arrays from several threads at once."""

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        precision: str,
        threads: int,
        forward: Callable[..., Any] | None = None,
    ) -> None:
        """forward: what to call with the tensors, by default the module itself.

        It returns a tensor, or a tuple of them. Integer arrays stay integers; the first thing a
        module does with pixels is to make them floats of its own `dtype`. The module belongs to
        the core: its first call on a CPU replaces layers, so export it before.
        """
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = DTYPES[precision]
        self.module = module.eval().requires_grad_(False).to(self.device, self.dtype)
        self.on_cpu = self.device.type == "cpu"
        self._forward = forward or self.module
        self._threads = threads
        self._running = 0
        self._count = threading.Lock()
        self._turn = threading.Lock()
        self._packed = not self.on_cpu or not packed.usable(self.dtype)

    def __call__(self, *arrays: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """Arrays in, float32 arrays out."""
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        with torch.inference_mode(), self._share():
            if not self._packed:
                self._pack(tensors)
            found = self._forward(*map(self._placed, tensors))
            outputs = found if isinstance(found, tuple) else (found,)
            return tuple(output.float().cpu().numpy() for output in outputs)

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.on_cpu:
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _pack(self, tensors: list[torch.Tensor]) -> None:
        with self._turn:
            if not self._packed:
                with packed.called(self.module) as seen:
                    self._forward(*tensors)
                packed.pack(self.module, seen)
                self._packed = True

    @contextmanager
    def _share(self) -> Iterator[None]:
        """The caller's share of the cores while it runs; PyTorch counts threads per caller."""
        if not self.on_cpu:
            with self._turn:
                yield
            return
        with self._count:
            self._running += 1
            share = max(1, self._threads // self._running)
        try:
            if torch.get_num_threads() != share:
                torch.set_num_threads(share)
            yield
        finally:
            with self._count:
                self._running -= 1
