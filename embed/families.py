"""Things called `head:detail`, by families that are known before anything heavy is imported.

A family says how its names are written and where its functions are, as `module:function`; what they
do, whoever keeps the families knows.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Generic, Protocol, TypeVar

from embed.errors import NotFound


class Named(Protocol):
    """form: how names are written, for messages and lists. listed: those that everybody has."""

    @property
    def form(self) -> str: ...

    @property
    def listed(self) -> tuple[str, ...]: ...


F = TypeVar("F", bound=Named)


class Families(dict[str, F], Generic[F]):
    """By the head of their names. what: they are called in messages, and as a parameter."""

    def __init__(self, what: str, families: Mapping[str, F]) -> None:
        super().__init__(families)
        self._what = what

    def forms(self) -> list[str]:
        """The forms of all names, sorted."""
        return sorted(family.form for family in self.values())

    def listed(self) -> list[str]:
        """The names that everybody has, sorted."""
        return sorted(name for family in self.values() for name in family.listed)

    def of(self, name: str) -> tuple[F, str]:
        """The family of a name, and the rest of the name. Raises NotFound, naming the choices."""
        head, _, detail = name.partition(":")
        if head not in self:
            raise self.unknown(name)
        return self[head], detail

    def unknown(self, name: str) -> NotFound:
        """That nothing is called so, the choices, and the one that was meant, perhaps."""
        near = difflib.get_close_matches(name.partition(":")[0], self, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        choices = ", ".join(self.forms())
        return NotFound(
            f"no {self._what} is called {name!r}; the choices are: {choices}.{hint}",
            param=self._what,
        )


def resolve(target: str | Callable[..., Any]) -> Callable[..., Any]:
    """The function at `module:function`; a function itself is one already."""
    if callable(target):
        return target
    module, _, attribute = target.partition(":")
    resolved: Callable[..., Any] = getattr(import_module(module), attribute)
    return resolved
