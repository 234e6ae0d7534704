"""Captions from vectors: CoCa's loss as open_clip has it, and a decoder that learns to tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from open_clip.loss import CoCaLoss
from torch import Tensor, nn
from torch.nn.functional import normalize

from embed.errors import BadInput
from embed.training.caption import Captioner, caption_sum
from embed.training.contrastive import Contrastive
from embed.training.infonce import infonce
from embed.training.types import Batch
from embed.types import Media, Modality

TEXT, IMAGE, AUDIO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_contrast_and_caption_are_those_of_coca(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    u, v = (normalize(torch.randn(6, 8, dtype=dtype), dim=1).requires_grad_() for _ in range(2))
    logits = torch.randn(6, 5, 11, dtype=dtype, requires_grad=True)
    labels = torch.randint(1, 11, (6, 5))
    labels[2, 3:] = labels[4, 1:] = 0
    scale = torch.tensor(14.0, dtype=dtype, requires_grad=True)
    theirs = CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0)(u, v, logits, labels, scale)
    real = labels != 0
    ours = infonce(u, v, scale), 2.0 * caption_sum(logits, labels, real) / real.sum()
    by = [u, v, logits, scale]
    torch.testing.assert_close(
        [*ours, *torch.autograd.grad(sum(ours), by)],
        [*theirs, *torch.autograd.grad(sum(theirs), by)],
        rtol=tolerance,
        atol=tolerance,
    )


def captioner(**numbers: Any) -> Captioner:
    torch.manual_seed(0)
    return Captioner(8, 12, pad=0, width=16, depth=1, heads=2, **numbers)


def batch_of(ids: Tensor, *, mask: bool) -> Batch:
    """Four records: pictures of the first three, sounds of 1 and 3, captions of all but 0."""
    inputs = (ids, (ids != 0).long()) if mask else (ids,)
    rows = {IMAGE: [0, 1, 2], AUDIO: [1, 3], TEXT: [1, 2, 3]}
    numbers = {m: torch.tensor(r) for m, r in rows.items()}
    return Batch(list("abcd"), {TEXT: inputs}, numbers, numbers)


IDS = torch.tensor([[1, 5, 6, 2], [1, 0, 2, 0], [1, 2, 0, 0]])


def test_each_vector_tells_the_caption_of_its_own_record() -> None:
    model = captioner()
    vectors = {
        m: torch.randn(n, 8, requires_grad=True) for m, n in ((IMAGE, 3), (AUDIO, 2), (TEXT, 3))
    }
    loss = model(vectors, batch_of(IDS, mask=False))
    told = [(IMAGE, 1, 0), (IMAGE, 2, 1), (AUDIO, 0, 0), (AUDIO, 1, 2)]
    length = [4, 3, 2]  # the 0 within the second is a word
    sums = [
        -model.logits(vectors[m][row : row + 1], IDS[of : of + 1])[0, : length[of]]
        .log_softmax(-1)
        .gather(1, IDS[of, : length[of], None])
        .sum()
        for m, row, of in told
    ]
    torch.testing.assert_close(loss, sum(sums) / sum(length[of] for _, _, of in told))
    masked = model(vectors, batch_of(IDS, mask=True))
    assert masked != loss  # a mask says that it is none
    loss.backward()
    assert vectors[IMAGE].grad is not None
    assert vectors[IMAGE].grad.ne(0).any(1).tolist() == [False, True, True]


def test_no_word_sees_itself_or_what_follows() -> None:
    model = captioner()
    vectors, other = torch.randn(1, 8), IDS[:1].clone()
    other[0, 2] = 9
    before, after = model.logits(vectors, IDS[:1]), model.logits(vectors, other)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_chunks_of_captions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = captioner(length=3), batch_of(IDS, mask=True)
    vectors = {m: torch.randn(n, 8, requires_grad=True) for m, n in ((IMAGE, 3), (AUDIO, 2))}
    made = []
    for chunk in (256, 1):
        monkeypatch.setattr("embed.training.caption.CHUNK", chunk)
        loss = model(vectors, batch)
        made.append([loss, *torch.autograd.grad(loss, [*vectors.values(), model.first.weight])])
    torch.testing.assert_close(*made)


class Reader(nn.Module):
    """A student of texts and pictures, whose words are letters."""

    dim = 8
    modalities = frozenset({TEXT, IMAGE})

    def __init__(self, limb: nn.Module) -> None:
        super().__init__()
        self.limb = limb

    def prepare(self, medium: Media, *, seed: int | None) -> list[int]:
        return [2 + ord(letter) % 30 for letter in str(medium.data)]

    def collate(self, modality: Modality, prepared: Sequence[list[int]]) -> tuple[Tensor, ...]:
        rows = [torch.tensor(ids) for ids in prepared]
        return (nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1),)

    def forward(self, modality: Modality, inputs: tuple[Tensor, ...]) -> Tensor:
        made: Tensor = self.limb(*inputs)
        return made


def test_it_fits_what_the_student_reads_and_makes_vectors_tell() -> None:
    torch.manual_seed(0)
    student = Reader(nn.EmbeddingBag(32, 8))
    with pytest.raises(BadInput, match="looks no tokens up"):
        Captioner.beside(student)
    student = Reader(nn.Embedding(32, 8))
    term = Captioner.beside(student)
    assert (term.pad, term.tokens.num_embeddings) == (1, 32)

    words = [student.prepare(Media(TEXT, word), seed=None) for word in ("red", "green", "a sea")]
    rows = {m: torch.arange(3) for m in (IMAGE, TEXT)}
    batch = Batch(list("abc"), {TEXT: student.collate(TEXT, words)}, rows, rows)
    vectors = {m: normalize(torch.randn(3, 8), dim=1) for m in rows}
    objective = Contrastive([(IMAGE, TEXT)], terms={"caption": (2.0, term)})
    optimiser = torch.optim.Adam(objective.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = objective(vectors, batch)
        loss.total.backward()
        optimiser.step()
        losses.append(loss.parts["caption"].item() / 2)
    assert losses[0] == pytest.approx(math.log(32), abs=0.3)
    assert losses[-1] < 0.05
