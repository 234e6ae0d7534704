"""The nouns hold what they promise."""

from __future__ import annotations

import json

import numpy as np
import pytest

from embed.errors import InvalidVector
from embed.types import (
    BoxSpan,
    CharSpan,
    PageSpan,
    Space,
    Span,
    TimeSpan,
    Vectors,
    normalise,
    span_from_json,
    span_to_json,
)

SPACE = Space(name="toy", revision="r1", preprocessing="p1", precision="fp32", dim=3)


def test_a_space_id_changes_with_everything_that_changes_a_vector() -> None:
    ids = {
        SPACE.id,
        Space(name="toy2", revision="r1", preprocessing="p1", precision="fp32", dim=3).id,
        Space(name="toy", revision="r2", preprocessing="p1", precision="fp32", dim=3).id,
        Space(name="toy", revision="r1", preprocessing="p2", precision="fp32", dim=3).id,
        Space(name="toy", revision="r1", preprocessing="p1", precision="bf16", dim=3).id,
        Space(name="toy", revision="r1", preprocessing="p1", precision="fp32", dim=4).id,
    }
    assert len(ids) == 6
    assert SPACE.id.startswith("toy@")


@pytest.mark.parametrize(
    ("span", "kind"),
    [
        (CharSpan(0, 9), "chars"),
        (TimeSpan(1.5, 3.0), "seconds"),
        (PageSpan(7), "page"),
        (BoxSpan(0.0, 0.1, 0.5, 1.0), "box"),
    ],
)
def test_spans_survive_json(span: Span, kind: str) -> None:
    wire = json.loads(json.dumps(span_to_json(span)))
    assert wire["kind"] == kind
    assert span_from_json(wire) == span
    assert type(span_from_json(wire)) is type(span)


def test_normalise_gives_unit_rows() -> None:
    rows = normalise(np.array([[3.0, 0.0, 4.0], [0.0, 0.5, 0.0]]))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]], atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_row_without_direction_is_refused_by_number(bad: float) -> None:
    rows = np.array([[1.0, 0.0, 0.0], [bad, 0.0, 0.0]])
    with pytest.raises(InvalidVector, match="vector 1 "):
        normalise(rows)


@pytest.mark.parametrize(
    ("joint", "reason"),
    [
        (np.eye(3, dtype=np.float64), "float64"),
        (np.eye(4, dtype=np.float32), r"\(N, 3\)"),
        (np.ones((1, 3), np.float32), "length 1.732"),
        (np.full((1, 3), np.nan, np.float32), "length nan"),
        (np.ones(3, np.float32), "shape"),
    ],
)
def test_vectors_refuse_what_is_not_unit_float32(joint: np.ndarray, reason: str) -> None:
    with pytest.raises(InvalidVector, match=reason):
        Vectors(SPACE, joint)


def test_native_vectors_must_match_row_for_row() -> None:
    eye = np.eye(3, dtype=np.float32)
    assert len(Vectors(SPACE, eye, np.eye(3, 5, dtype=np.float32))) == 3
    with pytest.raises(InvalidVector, match="2 native vectors beside 3"):
        Vectors(SPACE, eye, np.eye(2, 5, dtype=np.float32))
