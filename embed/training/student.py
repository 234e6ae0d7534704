"""The student: one limb a modality, each from what it reads to one space.

How limbs are made is in `limbs`, what they are made of in `parts`; `save` writes what was learnt as
a space that `trained:FOLDER` opens. It knows no loss, no data and no optimiser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from embed.backends.trained import manifest as manifests
from embed.backends.trained.manifest import Manifest
from embed.errors import BadInput, CrossbindError
from embed.registry import LoadOptions
from embed.training.files import Files, writing
from embed.training.limb import Limb
from embed.training.limbs import limb_of
from embed.training.parts import PartSpec
from embed.training.ready import Preparer, Reader
from embed.types import Media, Modality
from embed.weights.folder import absolute


class Limbs(nn.Module):
    """Implements `embed.training.types.Student`.

    preparer: `prepare` and `collate` alone, which can be pickled and sent to other processes.
    """

    def __init__(self, limbs: Mapping[Modality, Limb], dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.limbs = nn.ModuleDict({modality.value: limb for modality, limb in limbs.items()})
        readers = {modality: Reader(limb.ready, limb.crops) for modality, limb in limbs.items()}
        self.preparer = Preparer(readers)

    @classmethod
    def of(
        cls,
        spec: Mapping[Modality, PartSpec],
        dim: int,
        options: LoadOptions,
        *,
        captions: Iterable[str] = (),
    ) -> Limbs:
        """The student that `spec` asks for; what is new in it is random by torch's own generator.

        captions: what the tokenizer of a `words` network is made of, where the spec names none.
        Raises BadInput, and what loading a base raises.
        """
        if not spec:
            raise BadInput("a student has a limb for one modality at least: add [model.text]")
        limbs = {
            modality: limb_of(modality, part, dim, options, captions)
            for modality, part in spec.items()
        }
        return cls(limbs, dim)

    @property
    def modalities(self) -> frozenset[Modality]:
        return frozenset(map(Modality, self.limbs))

    def parts(self) -> Iterator[tuple[Modality, Limb]]:
        """Its limbs by modality."""
        for name, limb in self.limbs.items():
            assert isinstance(limb, Limb)
            yield Modality(name), limb

    def prepare(self, medium: Media, *, seed: int | None) -> Any:
        """What the limb's network reads of one medium: see `ready.Preparer`."""
        return self.preparer.prepare(medium, seed=seed)

    def collate(self, modality: Modality, prepared: Sequence[Any]) -> tuple[Tensor, ...]:
        """N prepared media as tensors, axis 0 of length N."""
        return self.preparer.collate(modality, prepared)

    def forward(self, modality: Modality, inputs: tuple[Tensor, ...]) -> Tensor:
        """`(N, dim)`, fp32, not brought to unit length."""
        rows: Tensor = self.limbs[modality.value](*inputs)
        return rows.float()


def save(student: Limbs, folder: Path, *, name: str, licence: str, made: Mapping[str, Any]) -> Path:
    """Writes `folder`, which `trained:FOLDER` opens, and returns it, absolute.

    made: how it came about, as JSON has it: config, seed, data, metrics. What was there before
    stays whole until the new manifest takes its place; then its files go.
    Raises StorageFull, and BadInput for a folder that cannot be written.
    """
    folder = absolute(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        before = _files_of(folder)
        files = Files(folder)
        parts = {modality: limb.kept(modality, files) for modality, limb in student.parts()}
        manifests.write(
            Manifest(
                folder=folder,
                name=name,
                dim=student.dim,
                licence=licence,
                parts=parts,
                files=files.facts,
                made=made,
            )
        )
        for stale in before - files.facts.keys():
            (folder / stale).unlink(missing_ok=True)
    return folder


def _files_of(folder: Path) -> set[str]:
    """What an older manifest in `folder` names; nothing where there is none, or a broken one."""
    try:
        return set(manifests.read(folder).files)
    except CrossbindError:
        return set()
