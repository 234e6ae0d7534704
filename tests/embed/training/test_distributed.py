"""Two gloo processes are one: losses, and gradients of encoders, temperatures and biases.

This file is also the program that each of the two runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import normalize

from embed.training import distributed, gradcache
from embed.training.caption import Captioner
from embed.training.contrastive import Contrastive, Kind
from embed.training.distil import Features, Similarity
from embed.training.types import Batch
from embed.types import Modality

TEXT, IMAGE, AUDIO, DEPTH = Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.DEPTH
ROWS = {
    IMAGE: [0, 1, 2, 3, 5, 6, 7, 9],
    TEXT: [0, 1, 2, 4, 5, 6, 8, 9],
    AUDIO: [6, 7, 8, 9],
    DEPTH: [2, 7],
}
"""Which of ten records has what. One process gets the first six, and with them no sound at all."""
GROUP = {
    IMAGE: [0, 1, 2, 3, 5, 6, 2, 9],
    TEXT: [0, 1, 2, 4, 5, 1, 8, 0],
    AUDIO: ROWS[AUDIO],
    DEPTH: [2, 7],
}
PAIRS = [(IMAGE, TEXT), (IMAGE, AUDIO), (TEXT, AUDIO), (AUDIO, DEPTH), (IMAGE, DEPTH)]
CUT = 6
WORDS = 9
CASES: dict[str, tuple[Kind, tuple[int, ...], int]] = {
    "infonce": ("infonce", (), 0),
    "sigmoid": ("sigmoid", (), 0),
    "infonce and terms": ("infonce", (), 0),
    "infonce, prefixes, GradCache": ("infonce", (3,), 2),
    "sigmoid, prefixes, GradCache": ("sigmoid", (3,), 2),
}


class Limbs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.limbs = nn.ModuleDict({m.value: nn.Linear(5, 7) for m in ROWS})
        self.limbs[TEXT.value] = nn.EmbeddingBag(WORDS, 7)

    def forward(self, modality: Modality, inputs: tuple[Tensor, ...]) -> Tensor:
        made: Tensor = self.limbs[modality.value](*inputs)
        return made


def batch_of(records: range) -> Batch:
    """Those of the ten records, the first of them number 0."""
    generator = torch.Generator().manual_seed(3)
    drawn = {m: torch.randn(10, 5, generator=generator, dtype=torch.float64) for m in ROWS}
    drawn[TEXT] = torch.randint(WORDS, (10, 4), generator=generator)
    here = {m: [r for r in rows if r in records] for m, rows in ROWS.items()}
    group = {m: [g for r, g in zip(ROWS[m], GROUP[m], strict=True) if r in records] for m in ROWS}
    held = [m for m in ROWS if here[m]]
    return Batch(
        [str(r) for r in records],
        {m: (drawn[m][here[m]],) for m in held},
        {m: torch.tensor(here[m]) - records.start for m in held},
        {m: torch.tensor(group[m]) for m in held},
    )


class Sage:
    """A teacher whose vectors follow from a record's name."""

    modalities = (TEXT, IMAGE, DEPTH)

    def __call__(self, batch: Batch) -> dict[Modality, Tensor]:
        return {m: self.rows(m, batch) for m in self.modalities}

    def rows(self, modality: Modality, batch: Batch) -> Tensor:
        places = batch.rows[modality].tolist() if modality in batch.rows else []
        angles = torch.tensor([len(modality) + int(batch.ids[place]) for place in places])
        return normalize(torch.cos(torch.outer(angles.double(), torch.arange(1.0, 8.0))), dim=1)


def terms() -> dict[str, tuple[float, nn.Module]]:
    pairs = [(IMAGE, TEXT), (IMAGE, DEPTH)]
    return {
        "caption": (0.5, Captioner(7, WORDS, pad=0, width=8, depth=1, heads=2)),
        "distil": (2.0, Similarity(Sage(), pairs, 0.1)),
        "imitate": (1.0, Features(Sage())),
    }


def step(case: str, records: range) -> dict[str, Tensor]:
    """The loss, its parts and all gradients, as means over processes."""
    kind, matryoshka, chunk = CASES[case]
    torch.manual_seed(1)
    student = Limbs().double()
    more = terms() if "terms" in case else {}
    objective = Contrastive(PAIRS, kind, matryoshka=matryoshka, terms=more).double()
    batch = batch_of(records)
    if chunk:
        loss = gradcache.backward(student, objective, batch, chunk)
    else:
        vectors = {m: normalize(student(m, x), dim=1) for m, x in batch.inputs.items()}
        loss = objective(vectors, batch)
        loss.total.backward()
    named = dict(student.named_parameters()) | dict(objective.named_parameters())
    distributed.BUCKET = 100  # several, of a few gradients each
    distributed.average_gradients(named.values())
    made = {name: p.grad for name, p in named.items() if p.grad is not None}
    for name, value in {"total": loss.total, **loss.parts}.items():
        made[name] = distributed.total(value) / distributed.world()
    return made | {"first biases": torch.tensor(list(objective.scales().values()))}


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, Any]]:
    """What each of two processes made of every case."""
    folder = tmp_path_factory.mktemp("processes")
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-W", "error", __file__, str(folder)]
    running = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
    try:
        assert [process.wait(240) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(case: str, of_two: list[Mapping[str, Any]]) -> None:
    alone = step(case, range(10))
    assert alone["audio-depth"] == 0  # one record has both: there is nothing to tell apart
    assert alone["image-depth"] > 0  # one in each process: neither alone has a loss
    for process in of_two:
        torch.testing.assert_close(process[case], alone, rtol=1e-12, atol=1e-14)


def test_rows_go_around_the_ring_and_their_gradients_come_back(
    of_two: list[Mapping[str, Any]],
) -> None:
    own, other = [0.0, 1.0], [10.0]
    assert of_two[0]["ring"] == [own, other]
    assert of_two[1]["ring"] == [other, own]
    assert of_two[0]["returned"] == [1.0 + 200.0, 1.0 + 200.0]  # its own 1, and 2·100 from afar
    assert of_two[1]["returned"] == [100.0 + 2.0]


def test_one_process_exchanges_nothing() -> None:
    rows = torch.ones(3, 2)
    assert distributed.world() == 1
    assert distributed.gather(rows, (3,)) is rows
    assert next(block for (block,) in distributed.ring([rows], (3,))).equal(rows)
    assert distributed.counts_of([3, 0], rows.device) == [(3,), (0,)]


def around(rank: int) -> dict[str, Any]:
    rows = torch.tensor([[0.0], [1.0]] if rank == 0 else [[10.0]], requires_grad=True)
    blocks = [block for (block,) in distributed.ring([rows], (2, 1))]
    weight = (1.0, 100.0)[rank]
    sum(weight * (1 + far) * block.sum() for far, block in enumerate(blocks)).backward()
    return {
        "ring": [b.flatten().tolist() for b in blocks],
        "returned": rows.grad.flatten().tolist(),
    }


def run(folder: Path, rank: int) -> None:
    start = (folder / "start").as_uri()
    dist.init_process_group("gloo", init_method=start, rank=rank, world_size=2)
    own = (range(CUT), range(CUT, 10))[rank]
    made: dict[str, Any] = {case: step(case, own) for case in CASES} | around(rank)
    torch.save(made, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
    os._exit(0)  # as a run of ours ends: Python's shutdown may meet a thread of the group
