"""Joint media: a text and a picture, or a sound and a film, read together as one vector.

Not arithmetic on two vectors: the network sees both at once. Such a vector lies in the tower's own
space where the tower was trained so, else in a space of its own, which `embed_joint` names.
It knows no model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from embed.backends.tower import Encoder, Once, Rows, Tower, blamed, vectors_of
from embed.errors import UnsupportedModality
from embed.types import Batching, Media, Modality, Space, Vectors


class JointEncoder(ABC):
    """Several media of different modalities to one vector. `space` is where that lies."""

    def __init__(self, space: Space) -> None:
        self.space = space

    @abstractmethod
    def run(self, pieces: Mapping[Modality, Media]) -> Rows:
        """One row. Raises BadInput for a piece of the wrong type, shape or length."""


class JointTower(Tower):
    """A tower that also embeds some of its modalities together."""

    def __init__(
        self,
        space: Space,
        encoders: Mapping[Modality, Callable[[], Encoder[Any]]],
        *,
        joints: Mapping[frozenset[Modality], Callable[[], JointEncoder]],
        chunker: str,
        image_side: int,
        batching: Batching = Batching(),  # noqa: B008  immutable
    ) -> None:
        super().__init__(space, encoders, chunker=chunker, image_side=image_side, batching=batching)
        self._joints = {together: Once(make) for together, make in joints.items()}

    @property
    def joint(self) -> frozenset[frozenset[Modality]]:
        """What `embed_joint` takes; empty for most towers."""
        return frozenset(self._joints)

    def joint_encoder(self, together: frozenset[Modality]) -> JointEncoder:
        """What embeds these together. Raises KeyError for what is not in `joint`."""
        return self._joints[together]()

    def embed_joint(self, pieces: Sequence[Media]) -> Vectors:
        """One piece of each modality to one vector, in the space that the answer names.

        Raises UnsupportedModality for modalities that are not embedded together, and what
        `prepare` and `run` raise.
        """
        together = frozenset(piece.modality for piece in pieces)
        if together not in self._joints or len(pieces) != len(together):
            choices = [" and ".join(sorted(pair)) for pair in self._joints]
            raise UnsupportedModality(
                f"the space {self.space.name!r} embeds {'; '.join(choices) or 'nothing'} together, "
                f"one of each, not {', '.join(piece.modality for piece in pieces) or 'nothing'}"
            )
        encoder = self.joint_encoder(together)
        with blamed(encoder.space, " with ".join(sorted(together))):
            rows = encoder.run({piece.modality: piece for piece in pieces})
            return vectors_of(rows, encoder.space)
