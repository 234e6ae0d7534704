"""Distillation: against open_clip, and a student that learns what its teacher knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.loss import DistillClipLoss
from torch import Tensor
from torch.nn.functional import normalize

from embed.errors import BadInput, NotFound
from embed.registry import LoadOptions
from embed.training.distil import Features, Remembered, Similarity, similarity
from embed.training.examples import identity
from embed.training.objective import ObjectiveConfig
from embed.training.types import Batch, Record
from embed.types import Media, Modality, Space, Vectors, normalise

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE


def unit(rows: int, dim: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    drawn = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return normalize(drawn, dim=1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_loss_and_gradients_are_those_of_open_clip(dtype: torch.dtype, tolerance: float) -> None:
    by = [unit(20, 16, 1, dtype), unit(20, 16, 2, dtype), torch.tensor(12.0, dtype=dtype)]
    u, v, scale = (tensor.requires_grad_() for tensor in by)
    taught = unit(20, 24, 3, dtype), unit(20, 24, 4, dtype), torch.tensor(30.0, dtype=dtype)
    _, theirs = DistillClipLoss()(u, v, scale, *taught)
    ours = similarity(u, v, taught[0], taught[1], scale, taught[2])
    torch.testing.assert_close(
        [ours, *torch.autograd.grad(ours, by)],
        [theirs, *torch.autograd.grad(theirs, by)],
        rtol=tolerance,
        atol=tolerance,
    )


class Letters:
    """An embedder of texts and 2-pixel pictures: what it thinks of them is drawn by content."""

    space = Space(name="letters", revision="1", preprocessing="1", precision="fp32", dim=6)
    modalities = frozenset({TEXT, IMAGE})

    class batching:  # noqa: N801
        max_batch = 3

    def fragment(self, medium: Media) -> Sequence[tuple[None, Media]]:
        return [(None, medium)]

    def embed(self, media: Sequence[Media]) -> Vectors:
        assert len(media) <= 3
        rows = [np.random.default_rng(identity(m, "")).normal(size=6) for m in media]
        return Vectors(self.space, normalise(np.stack(rows)))


class Album:
    """Five records, of which one cannot be read; two share a caption."""

    failures: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 5

    def __getitem__(self, i: int) -> Record:
        if i == 3:
            raise NotFound("gone")
        picture = Media(IMAGE, np.full((1, 2, 3), i, np.uint8))
        return Record(
            str(i), {IMAGE: [picture], TEXT: [Media(TEXT, "ab"[i % 2]), Media(TEXT, "c")]}
        )


def batch_of(album: Album, numbers: Sequence[int]) -> Batch:
    media = {m: [album[i].media[m][0] for i in numbers] for m in (IMAGE, TEXT)}
    group = {m: torch.tensor([identity(one, "") for one in some]) for m, some in media.items()}
    rows = torch.arange(len(numbers))
    return Batch(list(map(str, numbers)), {}, {IMAGE: rows, TEXT: rows}, group)


def test_a_teacher_is_asked_once_and_remembered_by_content() -> None:
    album = Album()
    teacher = Remembered(Letters(), album, [IMAGE, TEXT, Modality.AUDIO])
    batch = batch_of(album, [4, 0, 1])
    taught = teacher(batch)
    wanted = Letters().embed([album[i].media[TEXT][0] for i in (4, 0, 1)]).joint
    assert teacher.modalities == [IMAGE, TEXT]
    assert taught[TEXT].numpy().tolist() == wanted.tolist()
    assert taught[TEXT][0].equal(taught[TEXT][1])
    only = Batch(batch.ids, {}, {TEXT: batch.rows[TEXT]}, {TEXT: batch.group[TEXT]})
    assert teacher(only)[IMAGE].shape == (0, 6)


def test_terms_are_least_for_the_student_that_agrees() -> None:
    album = Album()
    teacher = Remembered(Letters(), album, [IMAGE, TEXT])
    batch = batch_of(album, [0, 1, 2, 4])
    taught = teacher(batch)
    terms = [Similarity(teacher, [(IMAGE, TEXT)], 0.1), Features(teacher)]
    turned = torch.linalg.qr(unit(6, 6, 0, torch.float32)).Q
    rotated = {m: v @ turned for m, v in taught.items()}
    likeness, features = (term(taught, batch) for term in terms)
    assert features == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(terms[0](rotated, batch), likeness)  # only cosines matter to it
    assert terms[1](rotated, batch) > 0.1

    vectors = {m: unit(4, 6, 1, torch.float32).requires_grad_() for m in taught}
    for term, least in zip(terms, (likeness, 0.0), strict=True):
        loss = term(vectors, batch)
        assert loss > least + 0.1
        step = torch.autograd.grad(loss, list(vectors.values()))
        nearer = {
            m: normalize(v - 0.1 * g, dim=1)
            for (m, v), g in zip(vectors.items(), step, strict=True)
        }
        assert least < term(nearer, batch) < loss


def test_a_teacher_goes_with_a_weight() -> None:
    with pytest.raises(BadInput, match="distil for its similarities"):
        ObjectiveConfig.of({"teacher": "builtin"})
    with pytest.raises(BadInput, match="distil for its similarities"):
        ObjectiveConfig.of({"distil": 1.0})


class Pupil:
    modalities = frozenset({IMAGE, TEXT, Modality.AUDIO})

    def __init__(self, dim: int) -> None:
        self.dim = dim


def test_a_table_names_a_teacher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("embed.training.objective.load", lambda name, options: Letters())
    options = LoadOptions(cache=tmp_path, threads=1)
    asked = ObjectiveConfig.of({"teacher": "letters", "distil": 0.5, "imitate": 2.0})
    objective = asked.objective(Pupil.modalities, asked.terms(Pupil(6), Album(), options))
    assert objective.term_weights == {"distil": 0.5, "imitate": 2.0}
    batch = batch_of(Album(), [0, 1, 2])
    vectors = {m: unit(3, 6, 1, torch.float32) for m in (IMAGE, TEXT)}
    parts = objective(vectors, batch).parts
    assert parts["imitate"] == 2.0 * Features(Remembered(Letters(), Album(), [IMAGE, TEXT]))(
        vectors, batch
    )
    with pytest.raises(BadInput, match="the student's 7"):
        asked.terms(Pupil(7), Album(), options)
    sounds = ObjectiveConfig.of({"teacher": "letters", "distil": 1.0, "pairs": [["audio", "text"]]})
    with pytest.raises(BadInput, match="both sides of a pair"):
        sounds.terms(Pupil(6), Album(), options)


def test_a_prefix_is_shorter_than_the_vector() -> None:
    asked, options = (
        ObjectiveConfig.of({"matryoshka": [4, 16]}),
        LoadOptions(cache=Path("unused"), threads=1),
    )
    assert asked.terms(Pupil(17), Album(), options) == {}
    with pytest.raises(BadInput, match="names 16, and a vector has 16 numbers"):
        asked.terms(Pupil(16), Album(), options)
