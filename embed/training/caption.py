"""Captions told from vectors, as a term beside the contrastive loss.

CoCa (Yu et al. 2022, equations 2 to 4): L = w_con · L_con + w_cap · L_cap, with
L_cap = -Σ_t log P(y_t | y_<t, x), here the mean over the tokens of a batch. The paper's decoder
looks at all tokens of its picture tower; this one reads the one vector that a student has, and is
small: what it asks is that the vector keep what the caption says. One decoder serves all
modalities, since they share a space. It is trained beside the student and not shipped.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from embed.backends.trained.networks import Block
from embed.training.distributed import total, world
from embed.training.meeting import having_both
from embed.training.tokens import token_embedding
from embed.training.types import Batch, Student
from embed.types import Media, Modality

CHUNK = 256
"""Captions whose logits are in memory at once."""
_SHORT, _LONG = "a", "a longer text than the other one is"


def caption_sum(logits: Tensor, ids: Tensor, real: Tensor) -> Tensor:
    """-Σ log P(y_t) over the real tokens. logits `(N, L, V)`; ids, real (bool) `(N, L)`."""
    return cross_entropy(logits[real], ids[real], reduction="sum")


class Captioner(nn.Module):
    """A `meeting.Term`: a causal transformer that says a record's text from its other vectors."""

    def __init__(
        self,
        dim: int,
        vocabulary: int,
        *,
        pad: int,
        length: int = 77,
        width: int = 128,
        depth: int = 2,
        heads: int = 4,
    ) -> None:
        """dim: of vectors. pad: the id of padding, for texts without a mask. length: of captions,
        in tokens; longer ones are learnt up to there.
        """
        super().__init__()
        self.pad = pad
        self.first = nn.Linear(dim, width)
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, vectors: Mapping[Modality, Tensor], batch: Batch) -> Tensor:
        told = [next(iter(vectors.values())).sum() * 0.0]
        words = torch.zeros((), device=told[0].device)
        for modality in sorted(vectors.keys() & batch.rows.keys() - {Modality.TEXT}):
            if Modality.TEXT in batch.inputs:
                texts, others = having_both((Modality.TEXT, modality), batch)
                ids, real = (column[texts] for column in self._read(batch.inputs[Modality.TEXT]))
                told += self._tell(vectors[modality][others], ids, real)
                words += real.sum()
        return torch.stack(told).sum() * world() / total(words).clamp(min=1)

    def logits(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """What comes at each place, `(N, L, V)`, given the vector `(N, D)` and the ids before."""
        said = self.tokens(ids[:, :-1])
        x = torch.cat([self.first(vectors).unsqueeze(1), said], 1) + self.positions[: ids.shape[1]]
        seen = torch.ones(2 * [ids.shape[1]], dtype=torch.bool, device=ids.device).tril()
        for block in self.blocks:
            x = block(x, seen)
        made: Tensor = self.norm(x) @ self.tokens.weight.T
        return made

    @classmethod
    def beside(cls, student: Student) -> Captioner:
        """For the captions that a student reads: its vocabulary, its padding.

        Raises UnsupportedModality for a student without texts, BadInput for one whose texts come as
        vectors of another tower.
        """
        assert isinstance(student, nn.Module)
        texts = [Media(Modality.TEXT, text) for text in (_SHORT, _LONG)]
        prepared = [student.prepare(text, seed=None) for text in texts]
        device = next(student.parameters()).device
        inputs = tuple(x.to(device) for x in student.collate(Modality.TEXT, prepared))
        embedding = token_embedding(student, lambda: student(Modality.TEXT, inputs), inputs[0])
        return cls(student.dim, embedding.num_embeddings, pad=int(inputs[0][0, -1]))

    def _read(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Ids, and which of them are no padding: all to the last that is not, where none says."""
        ids, *mask = (column[:, : len(self.positions)] for column in inputs)
        if mask:
            return ids, mask[0].bool()
        return ids, (ids != self.pad).flip(1).cummax(1).values.flip(1)

    def _tell(self, vectors: Tensor, ids: Tensor, real: Tensor) -> list[Tensor]:
        """The sums of some rows each, whose logits are made again for their gradient."""
        chunks = zip(*(torch.split(x, CHUNK) for x in (vectors, ids, real)), strict=True)
        return [checkpoint(self._sum, *chunk, use_reentrant=False) for chunk in chunks]

    def _sum(self, vectors: Tensor, ids: Tensor, real: Tensor) -> Tensor:
        return caption_sum(self.logits(vectors, ids), ids, real)
