"""The objective: pairs of modalities, masks, weights, prefixes, and its table of a config."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from embed.errors import BadInput
from embed.training.infonce import infonce
from embed.training.meeting import meeting
from embed.training.objective import Contrastive, ObjectiveConfig
from embed.training.sigmoid import sigmoid
from embed.training.types import Batch, Objective
from embed.types import Modality

TEXT, IMAGE, AUDIO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO


def make(
    rows: Mapping[Modality, Sequence[int]],
    records: int,
    *,
    dim: int = 8,
    group: Mapping[Modality, Sequence[int]] | None = None,
) -> tuple[dict[Modality, Tensor], Batch]:
    """Random unit vectors in fp64 for the records that have each modality; all media differ."""
    torch.manual_seed(0)
    vectors = {
        m: normalize(torch.randn(len(r), dim, dtype=torch.float64), dim=1).requires_grad_()
        for m, r in rows.items()
    }
    numbers = {m: torch.tensor(r) for m, r in rows.items()}
    groups = numbers | {m: torch.tensor(g) for m, g in (group or {}).items()}
    return vectors, Batch([str(i) for i in range(records)], {}, numbers, groups)


def test_each_pair_learns_from_the_records_that_have_both_of_it() -> None:
    rows = {IMAGE: [0, 1, 3, 4, 5], TEXT: [0, 2, 3, 4], AUDIO: [2, 3, 4]}
    vectors, batch = make(rows, 6)
    objective = Contrastive(
        [(IMAGE, TEXT), (AUDIO, TEXT)], weights={"audio-text": 0.5}, temperature=0.2
    ).double()
    assert isinstance(objective, Objective)
    loss = objective(vectors, batch)
    assert objective.theta["image-text"].item() == pytest.approx(math.log(5))
    scale = objective.theta["image-text"].detach().exp()
    image, audio = vectors[IMAGE][[0, 2, 3]], vectors[AUDIO]
    wanted = {
        "image-text": infonce(image, vectors[TEXT][[0, 2, 3]], scale),
        "audio-text": 0.5 * infonce(audio, vectors[TEXT][1:], scale),
    }
    torch.testing.assert_close(dict(loss.parts), wanted, rtol=1e-12, atol=0)
    torch.testing.assert_close(loss.total, sum(wanted.values()), rtol=1e-12, atol=0)
    loss.total.backward()
    assert vectors[IMAGE].grad is not None
    assert vectors[IMAGE].grad[1].eq(0).all()
    assert vectors[IMAGE].grad[2].ne(0).all()
    assert all(theta.grad.item() != 0 for theta in objective.theta.values())


@pytest.mark.parametrize("loss", ["infonce", "sigmoid"])
def test_a_pair_that_too_few_records_have_adds_nothing_and_breaks_nothing(loss: Any) -> None:
    vectors, batch = make({IMAGE: [0, 1, 2], TEXT: [0, 1, 2]}, 3)
    pairs = [(IMAGE, TEXT), (IMAGE, AUDIO)]
    objective = Contrastive(pairs, loss).double()
    made = objective(vectors, batch)
    assert made.parts["image-audio"] == 0
    made.total.backward()
    assert all(p.grad is not None for p in objective.parameters())
    assert objective.theta["image-audio"].grad == 0

    vectors, batch = make({IMAGE: [0, 1, 2], AUDIO: [1]}, 3)
    assert objective(vectors, batch).total == 0


def test_the_same_medium_on_either_side_makes_positives() -> None:
    group = {IMAGE: [9, 9, 2, 3], TEXT: [0, 1, 7, 7]}
    vectors, batch = make({IMAGE: range(4), TEXT: range(4)}, 4, group=group)
    keys = meeting((IMAGE, TEXT), vectors, batch).keys.unbind(1)
    objective = Contrastive([(IMAGE, TEXT)]).double()
    made, scale = objective(vectors, batch).total, objective.theta["image-text"].exp()
    positives = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    logits = scale * vectors[IMAGE] @ vectors[TEXT].T
    logs = logits.log_softmax(1) + logits.T.log_softmax(1).T
    wanted = -(positives / 2 * logs).sum() / 8
    torch.testing.assert_close(made, wanted, rtol=1e-12, atol=0)
    assert [column.tolist() for column in keys] == [group[IMAGE], group[TEXT]]


def test_prefixes_are_trained_as_vectors_of_their_own() -> None:
    vectors, batch = make({IMAGE: range(5), TEXT: range(5)}, 5)
    objective = Contrastive([(IMAGE, TEXT)], "sigmoid", matryoshka=[2, 4]).double()
    made = objective(vectors, batch).total
    cut = [{m: normalize(v[:, :length], dim=1) for m, v in vectors.items()} for length in (2, 4, 8)]
    scale, bias = objective.theta["image-text"].exp(), objective.bias["image-text"]
    each = [sigmoid(v[IMAGE], v[TEXT], scale, bias) for v in cut]
    torch.testing.assert_close(made, sum(each) / 3, rtol=1e-12, atol=0)


def test_the_first_bias_fits_the_first_batch_and_is_kept() -> None:
    vectors, batch = make({IMAGE: range(64), TEXT: range(64)}, 64, dim=128)
    objective = Contrastive([(IMAGE, TEXT)], "sigmoid").double()
    first = objective(vectors, batch).total.item()
    mean = (vectors[IMAGE] @ vectors[TEXT].T).mean().item()
    assert objective.scales()["bias image-text"] == pytest.approx(-math.log(63) - 10 * mean)
    objective.bias["image-text"].data.fill_(-1.0)
    resumed = Contrastive([(IMAGE, TEXT)], "sigmoid").double()
    resumed.load_state_dict(objective.state_dict())
    resumed(vectors, batch)
    assert resumed.scales()["bias image-text"] == -1.0
    ten = sigmoid(
        vectors[IMAGE], vectors[TEXT], torch.tensor(10.0).double(), torch.tensor(-10.0).double()
    )
    assert first < ten


def test_terms_are_weighed_and_trained_with_it() -> None:
    class Pull(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.towards = nn.Parameter(torch.ones(8, dtype=torch.float64))

        def forward(self, vectors: Mapping[Modality, Tensor], batch: Batch) -> Tensor:
            return -(vectors[IMAGE] @ self.towards).mean()

    vectors, batch = make({IMAGE: range(3), TEXT: range(3)}, 3)
    pull = Pull()
    objective = Contrastive([(IMAGE, TEXT)], terms={"pull": (2.0, pull)}).double()
    loss = objective(vectors, batch)
    assert loss.parts["pull"] == 2 * pull(vectors, batch)
    loss.total.backward()
    assert pull.towards.grad is not None
    assert any(p is pull.towards for p in objective.parameters())


def test_clamp_and_scales() -> None:
    objective = Contrastive([(IMAGE, TEXT), (AUDIO, TEXT)], temperature=0.05)
    assert objective.scales()["temperature image-text"] == pytest.approx(0.05)
    objective.theta["image-text"].data.fill_(7.0)
    objective.theta["audio-text"].data.fill_(-1.0)
    objective.clamp()
    assert list(objective.scales().values()) == pytest.approx([0.01, 1.0])


def test_a_table_becomes_an_objective() -> None:
    table = {"loss": "sigmoid", "pairs": "star:text", "matryoshka": [4], "temperature": 0.1}
    objective = ObjectiveConfig.of(table).objective({TEXT, IMAGE, AUDIO})
    assert list(objective.pairs) == ["text-audio", "text-image"]
    assert objective.matryoshka == (4,)
    every = ObjectiveConfig.of({}).objective({TEXT, IMAGE, AUDIO})
    assert list(every.pairs) == ["audio-image", "audio-text", "image-text"]
    listed = ObjectiveConfig.of(
        {"pairs": [["image", "text"]], "weights": {"image-text": 2}}
    ).objective({TEXT, IMAGE, AUDIO})
    assert listed.weights == {"image-text": 2.0}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"lose": "sigmoid"}, "loss, pairs, weights"),
        ({"loss": "triplet"}, "infonce, sigmoid"),
        ({"pairs": "most"}, '"star:text"'),
        ({"pairs": [["image"]]}, '"star:text"'),
        ({"pairs": "star:depth"}, "image, text"),
        ({"pairs": [["image", "smell"]]}, "image, text"),
        ({"pairs": [["image", "image"]]}, "must differ"),
        ({"pairs": [["image", "text"], ["text", "image"]]}, "twice"),
        ({"pairs": []}, "one pair"),
        ({"weights": {"text-image": 1.0}}, "image-text"),
        ({"weights": {"image-text": -1.0}}, "the weight of image-text is -1.0; at least 0"),
        ({"weights": {"image-text": float("nan")}}, "is nan; at least 0"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": 2.0}, "temperature"),
        ({"matryoshka": [0]}, "matryoshka"),
    ],
)
def test_a_wrong_table_is_refused_with_what_there_is(table: Mapping[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        ObjectiveConfig.of(table).objective({TEXT, IMAGE})
