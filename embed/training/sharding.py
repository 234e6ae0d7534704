"""One student over several processes: each keeps a share of every weight, its gradient and moments.

FSDP2 (`torch.distributed.fsdp.fully_shard`): a limb, and each block in a row of blocks, is put
together when it runs, forward or backward, and taken apart after. Gradients come out averaged over
processes. All of them must then run the same limbs the same number of times, evaluate together and
gather together; a checkpoint holds whole tensors, as that of a run which shares nothing.

It knows no loss and no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from embed.errors import BadInput
from embed.training import distributed
from embed.training.types import Batch, Feed
from embed.types import Modality

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def wanted(shard: bool) -> bool:
    """Whether there is anybody to share with."""
    return shard and distributed.world() > 1


def share_out(limbs: Iterable[nn.Module], device: torch.device) -> None:
    """Leaves in this process its share of each limb that learns."""
    from torch.distributed.device_mesh import init_device_mesh  # noqa: PLC0415 (loads DTensor)
    from torch.distributed.fsdp import fully_shard  # noqa: PLC0415 (loads FSDP)

    mesh = init_device_mesh(device.type, (distributed.world(),))
    for limb in limbs:
        if not any(parameter.requires_grad for parameter in limb.parameters()):
            continue
        for parameter in limb.parameters():  # shares are cut along memory: no channels_last
            parameter.data = parameter.data.contiguous()
        inmost_first = reversed(list(limb.modules()))
        for row in [part for part in inmost_first if isinstance(part, nn.ModuleList)]:
            for block in row:
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
        # a root would stay whole after its last forward, and not see weights that are put in
        fully_shard(limb, mesh=mesh, reshard_after_forward=True)


def whole(tensor: Tensor) -> Tensor:
    """All of it, off the device, where this process has a share. All processes must ask."""
    if not distributed.is_share(tensor):
        return tensor
    gathered: Tensor = cast("DTensor", tensor).full_tensor()
    return gathered.cpu()


@torch.no_grad()
def put(into: Tensor, value: Tensor) -> None:
    """Copies a whole tensor to where it belongs, or its share."""
    if distributed.is_share(into):
        from torch.distributed.tensor import distribute_tensor  # noqa: PLC0415 (loads DTensor)

        share = cast("DTensor", into)
        value = distribute_tensor(value.to(into.device), share.device_mesh, share.placements)
    into.copy_(value)


def clip(parameters: Sequence[nn.Parameter], longest: float) -> Tensor:
    """Brings the gradient of all parameters to this length, if it is longer. Its length before."""
    if not any(map(distributed.is_share, parameters)):
        return nn.utils.clip_grad_norm_(parameters, longest)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    here = [cast("DTensor", one).to_local() for one in gradients if distributed.is_share(one)]
    everywhere = [one for one in gradients if not distributed.is_share(one)]
    shared = distributed.total(nn.utils.get_total_norm(here).square())
    norm = (shared + nn.utils.get_total_norm(everywhere).square()).sqrt()
    factor = (longest / (norm + 1e-6)).clamp(max=1.0) if longest < math.inf else 1.0
    for gradient in (*here, *everywhere):
        gradient.mul_(factor)
    return norm


class Alike:
    """Implements `Feed`: batches of another that ask the same of every process, or none at all."""

    def __init__(
        self, feed: Feed, modalities: Iterable[Modality], chunk: int, device: torch.device
    ) -> None:
        self._feed = feed
        self._modalities = sorted(modalities)
        self._chunk = chunk
        self._device = device

    def batches(self, *, start: int) -> Iterator[Batch]:
        """Raises BadInput, in all processes, where one would wait for the others for ever."""
        for batch in self._feed.batches(start=start):
            calls = [self._calls(batch, modality) for modality in self._modalities]
            counts = distributed.counts_of(calls, self._device)
            for modality, found in zip(self._modalities, counts, strict=True):
                if len(set(found)) > 1:
                    raise BadInput(
                        f"[run] shard: {modality} of a batch is read in "
                        f"{' and '.join(map(str, found))} pieces by the processes, and a shared "
                        "limb wants as many of each: take records that have all media, a larger "
                        "batch, or no shard",
                        param="shard",
                    )
            yield batch

    def _calls(self, batch: Batch, modality: Modality) -> int:
        """How often the limb will run."""
        rows = len(batch.rows[modality]) if modality in batch.rows else 0
        return math.ceil(rows / self._chunk) if self._chunk else min(rows, 1)
