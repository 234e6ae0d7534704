"""What exploring a collection shows people: short tables, the most first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from api.lists import table_of
from api.shapes import many, marked, printable
from embed.types import Item
from index.metadata.facets import Facets
from index.search.survey import Cluster, Outlier, Twins

if TYPE_CHECKING:
    from api.terminal import Terminal

_TOLD = 20  # groups; --json has all
_BAR = 16  # cells


def facets(people: Terminal, found: Sequence[Facets]) -> None:
    for one in found:
        told = f"{many(one.items, 'item')}, {many(one.distinct, 'value')}"
        people.out.print(Text.assemble((printable(one.field), "bold"), (f"  {told}", "dim")))
        most = max((facet.items for facet in one.values), default=1)
        rows = table_of("", "", "")
        for facet in one.values:
            bar = "━" * max(1, round(_BAR * facet.items / most))
            value = facet.value if isinstance(facet.value, str) else str(facet.value).lower()
            rows.add_row(Text(bar, style="cyan"), str(facet.items), printable(value))
        people.out.print(rows)


def items(people: Terminal, found: Sequence[Item]) -> None:
    rows = table_of("id", "kind", "name")
    for item in found:
        rows.add_row(item.id, marked(item.modality), _name(item))
    people.out.print(rows)


def aliases(people: Terminal, known: Mapping[str, str]) -> None:
    if not known:
        people.note("no collection has another name")
        return
    rows = table_of("alias", "means")
    for alias, name in known.items():
        rows.add_row(alias, name)
    people.out.print(rows)


def duplicates(people: Terminal, groups: Sequence[Twins]) -> None:
    for group in groups[:_TOLD]:
        first, *others = group.items
        people.out.print(Text(_name(first), style="bold"))
        for other in others:
            people.out.print(Text(f"  {_name(other)}"))
        people.note(Text(f"  cosine {group.cosine:.4f} or more", style="dim"))
    spare = sum(len(group.items) - 1 for group in groups)
    people.note(f"{many(len(groups), 'group')} of near-duplicates, {many(spare, 'item')} to spare")


def clusters(people: Terminal, found: Sequence[Cluster]) -> None:
    rows = table_of("items", "alike", "for example")
    for one in found:
        examples = ", ".join(_name(item) for item in one.examples[:3])
        rows.add_row(str(one.size), f"{one.cosine:.3f}", examples)
    people.out.print(rows)


def outliers(people: Terminal, found: Sequence[Outlier]) -> None:
    rows = table_of("distance", "kind", "name")
    for one in found:
        rows.add_row(f"{one.distance:.3f}", marked(one.item.modality), _name(one.item))
    people.out.print(rows)


def _name(item: Item) -> str:
    return printable(item.title or item.text or item.uri or item.id)[:80]
