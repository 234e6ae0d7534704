"""Two media read as one by one network: what the tower's own encoders prepare of each, together.

Each part makes its medium ready as it does for itself, and the network takes the arrays of all
parts, in order. It knows no model and no library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from embed.backends.joint import JointEncoder
from embed.backends.recipe_encoders import Core, Example, Made, network_of
from embed.backends.recipes import Network
from embed.backends.tower import Rows
from embed.types import Media, Modality, Space

if TYPE_CHECKING:
    from torch.nn import Module


@runtime_checkable
class Part(Protocol):
    """The half of an encoder that prepares, as most of `recipe_encoders` have it."""

    def prepare(self, piece: Media) -> Any: ...

    def arrays(self, batch: Sequence[Any]) -> tuple[NDArray[Any], ...]: ...

    def example(self) -> Example: ...


class PairEncoder(JointEncoder):
    """One piece for each of `parts`, whose order is that of the network's arguments."""

    def __init__(
        self,
        space: Space,
        parts: Mapping[Modality, Part],
        core: Core,
        module: Module | Made | None = None,
    ) -> None:
        super().__init__(space)
        self._parts = parts
        self._core = core
        self._module = module

    def run(self, pieces: Mapping[Modality, Media]) -> Rows:
        read = [
            array
            for modality, part in self._parts.items()
            for array in part.arrays([part.prepare(pieces[modality])])
        ]
        return Rows(*self._core(*read))

    def network(self) -> Network:
        """Raises NotAvailable where there is no module."""
        examples = [part.example() for part in self._parts.values()]
        inputs = {name: array for one in examples for name, array in one.inputs.items()}
        dynamic = {name: axes for one in examples for name, axes in one.dynamic.items()}
        numbers = {"parts": list(self._parts)}
        return network_of(self._module, Example(inputs, dynamic), kind="pair", numbers=numbers)
