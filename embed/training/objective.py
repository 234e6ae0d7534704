"""The table [objective] of a config, and what it builds: pairs of modalities, terms beside them.

It knows what a student and a source offer, and no maths: that is in `contrastive`, `caption` and
`distil`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from torch import nn

from embed.errors import BadInput
from embed.registry import LoadOptions, load
from embed.training.caption import Captioner
from embed.training.contrastive import Contrastive, Kind, Pairs
from embed.training.data.source import Source
from embed.training.distil import Features, Remembered, Similarity
from embed.training.options import Table, at_least, fill
from embed.training.types import Student
from embed.types import Modality

__all__ = ["Contrastive", "ObjectiveConfig", "pairs_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveConfig:
    """The table [objective]; `of` reads it.

    pairs: "all"; "star:text", each other modality with that one; or those listed. weights,
    temperature, matryoshka: as `Contrastive` has them. caption: weight of telling the text from
    each other vector (`caption`). teacher: a space to learn from, any that can be named. distil,
    imitate: weights of its similarities, at `teacher_temperature`, and of its vectors themselves
    (`distil`).
    """

    loss: Kind = "infonce"
    pairs: str | tuple[tuple[str, str], ...] = "all"
    weights: Mapping[str, float] = field(default_factory=dict)
    temperature: float | None = None
    matryoshka: tuple[int, ...] = ()
    caption: float = 0.0
    teacher: str = ""
    distil: float = 0.0
    imitate: float = 0.0
    teacher_temperature: float = 0.05

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0.01 <= self.temperature <= 1:
            raise BadInput(
                f"[objective] temperature is {self.temperature}; 0.01 to 1 is wanted",
                param="temperature",
            )
        for length in self.matryoshka:
            at_least("[objective] matryoshka", length, 1)
        for name in ("caption", "distil", "imitate"):
            at_least(f"[objective] {name}", getattr(self, name), 0)
        at_least("[objective] teacher_temperature", self.teacher_temperature, 0.01)
        if bool(self.teacher) != bool(self.distil or self.imitate):
            raise BadInput(
                "[objective] a teacher goes with a weight: distil for its similarities, imitate "
                "for its vectors",
                param="teacher",
            )

    @classmethod
    def of(cls, table: Table) -> ObjectiveConfig:
        """Raises BadInput, naming what is wrong with which key."""
        rest = {key: value for key, value in table.items() if key != "pairs"}
        return replace(fill(cls, rest, "objective"), pairs=_written(table.get("pairs", "all")))

    def objective(
        self,
        modalities: Iterable[Modality],
        terms: Mapping[str, tuple[float, nn.Module]] | None = None,
    ) -> Contrastive:
        """For a student of these modalities. Raises BadInput for a pair that it cannot make.

        terms: those of `terms`, where the table asks for any.
        """
        assert len(terms or {}) == sum(map(bool, (self.caption, self.distil, self.imitate)))
        return Contrastive(
            pairs_of(self.pairs, modalities),
            self.loss,
            weights=self.weights,
            matryoshka=self.matryoshka,
            temperature=self.temperature,
            terms=terms,
        )

    def terms(
        self, student: Student, source: Source, options: LoadOptions
    ) -> dict[str, tuple[float, nn.Module]]:
        """What the table asks for beside the pairs. A teacher embeds the source first.

        Raises BadInput where student and teacher do not fit, or a prefix is no prefix, and what
        loading the teacher raises.
        """
        if longer := [length for length in self.matryoshka if length >= student.dim]:
            raise BadInput(
                f"[objective] matryoshka names {longer[0]}, and a vector has {student.dim} "
                "numbers: a prefix is shorter",
                param="matryoshka",
            )
        terms: dict[str, tuple[float, nn.Module]] = {}
        if self.caption:
            terms["caption"] = (self.caption, Captioner.beside(student))
        if self.teacher:
            teacher = Remembered(load(self.teacher, options), source, student.modalities)
            terms |= self._taught(teacher, student)
        return terms

    def _taught(
        self, teacher: Remembered, student: Student
    ) -> Mapping[str, tuple[float, nn.Module]]:
        known = set(teacher.modalities)
        pairs = [p for p in pairs_of(self.pairs, student.modalities) if known.issuperset(p)]
        if (self.distil and not pairs) or (self.imitate and teacher.dim != student.dim):
            raise BadInput(
                f"{self.teacher} embeds {', '.join(sorted(known)) or 'nothing of this'} in "
                f"{teacher.dim} dimensions: distil wants both sides of a pair, imitate as many "
                f"dimensions as the student's {student.dim}",
                param="teacher",
            )
        terms: dict[str, tuple[float, nn.Module]] = {}
        if self.distil:
            terms["distil"] = (self.distil, Similarity(teacher, pairs, self.teacher_temperature))
        if self.imitate:
            terms["imitate"] = (self.imitate, Features(teacher))
        return terms


def pairs_of(written: str | Sequence[tuple[str, str]], modalities: Iterable[Modality]) -> Pairs:
    """The pairs that a config means. Raises BadInput for a modality that is not there."""
    known = sorted(modalities)
    if written == "all":
        return list(combinations(known, 2))
    if isinstance(written, str):
        anchor = _one_of(known, written.removeprefix("star:"))
        return [(anchor, other) for other in known if other != anchor]
    return [(_one_of(known, one), _one_of(known, other)) for one, other in written]


def _written(pairs: Any) -> str | tuple[tuple[str, str], ...]:
    """What a TOML has for pairs, as `ObjectiveConfig` has it."""
    if isinstance(pairs, str) and (pairs == "all" or pairs.startswith("star:")):
        return pairs
    if isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return tuple((str(one), str(other)) for one, other in pairs)
    raise BadInput(
        f'[objective] pairs is {pairs!r}; "all", "star:text" or a list such as '
        '[["image", "text"]] is wanted',
        param="pairs",
    )


def _one_of(known: Sequence[Modality], name: str) -> Modality:
    if name not in known:
        raise BadInput(
            f"[objective] pairs names {name!r}; the model has: {', '.join(known)}", param="pairs"
        )
    return Modality(name)
