"""What looks into a collection: `collections count`, `facets`, `duplicates` and so on."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from api import sights
from api.arguments import UsageError
from api.commands import agreed, print_json, watch
from api.commands_search import modalities
from api.errors import OK
from api.exploring import (
    cluster_to_json,
    facets_to_json,
    outlier_to_json,
    spot_to_json,
    twins_to_json,
)
from api.service import Service
from api.shapes import many
from api.wire import item_to_json
from embed.types import Modality
from index.metadata.facets import EVERYTHING
from index.metadata.filter_text import parse_filter
from index.metadata.filters import Filter
from index.search.survey import ALIKE

if TYPE_CHECKING:
    from api.terminal import Terminal


def run(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> int:
    """Runs one of them and returns its exit code."""
    _ACTIONS[arguments.action](arguments, service, people)
    return OK


def _meant(arguments: argparse.Namespace) -> Filter:
    return EVERYTHING if arguments.filter is None else parse_filter(arguments.filter)


def _modality(arguments: argparse.Namespace) -> Modality | None:
    chosen = modalities(arguments.modality)
    if chosen is not None and len(chosen) > 1:
        raise UsageError(f"--modality is {arguments.modality!r}; one kind is looked over at a time")
    return None if chosen is None else next(iter(chosen))


def _count(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    count = service.exploring.count(arguments.name, _meant(arguments))
    if people:
        people.out.print(many(count, "item"))
    else:
        print_json({"count": count})


def _facets(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    found = service.exploring.facets(
        arguments.name, arguments.fields, _meant(arguments), limit=arguments.limit
    )
    if people:
        sights.facets(people, found)
    else:
        print_json({"facets": [facets_to_json(one) for one in found]})


def _sample(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    items = service.exploring.sample(
        arguments.name, _meant(arguments), count=arguments.k, seed=arguments.seed
    )
    if people:
        sights.items(people, items)
    else:
        print_json({"items": [item_to_json(item, arguments.name) for item in items]})


def _export(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    meant = None if arguments.filter is None else parse_filter(arguments.filter)
    with watch(people, arguments) as progress:
        count = service.exploring.export(arguments.name, arguments.file, meant, progress)
    if people:
        people.note(f"{many(count, 'vector')} with their items in {arguments.file}")
    else:
        print_json({"file": str(arguments.file), "fragments": count})


def _clear(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    name, meant = arguments.name, parse_filter(arguments.filter)
    if not arguments.yes:
        count = many(service.exploring.count(name, meant), "item")
        if not agreed(f"Forget {count} of {name!r}?"):
            raise UsageError("nothing was forgotten; add --yes to do so without being asked")
    gone = len(service.delete_where(name, meant))
    if people:
        people.note(f"{many(gone, 'item')} of {name!r} forgotten; their files are untouched")
    else:
        print_json({"deleted": gone})


def _index(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    name, index = arguments.name, arguments.index
    with people.waiting(f"building {index}") if people else nullcontext():
        made = service.set_index(name, index, wait=True)
    if people:
        people.note(f"{name!r} is searched by {index}: {many(sum(made.counts.values()), 'item')}")
    else:
        print_json(made.to_json())


def _alias(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    alias, name = arguments.alias, arguments.name
    if arguments.delete and alias and not name:
        service.delete_alias(alias)
    elif alias and name and not arguments.delete:
        service.point_alias(alias, name)
    elif alias or arguments.delete:
        raise UsageError("give an alias and the collection it is to mean, or an alias and --delete")
    known = service.aliases()
    if people:
        sights.aliases(people, known)
    else:
        print_json({"aliases": known})


def _duplicates(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    least = ALIKE if arguments.least is None else arguments.least
    groups = service.exploring.duplicates(arguments.name, _modality(arguments), least=least)
    if people:
        sights.duplicates(people, groups)
    else:
        print_json({"groups": [twins_to_json(group, arguments.name) for group in groups]})


def _clusters(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    found = service.exploring.clusters(arguments.name, _modality(arguments), count=arguments.count)
    if people:
        sights.clusters(people, found)
    else:
        print_json({"clusters": [cluster_to_json(one, arguments.name) for one in found]})


def _outliers(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    found = service.exploring.outliers(arguments.name, _modality(arguments), count=arguments.count)
    if people:
        sights.outliers(people, found)
    else:
        print_json({"outliers": [outlier_to_json(one, arguments.name) for one in found]})


def _map(arguments: argparse.Namespace, service: Service, people: Terminal | None) -> None:
    spots = service.exploring.map(arguments.name, _modality(arguments))
    if people:
        people.note(f"{many(len(spots), 'item')} on the map; --json has it, and the page draws it")
    else:
        print_json({"spots": [spot_to_json(spot) for spot in spots]})


_ACTIONS: dict[str, Callable[[argparse.Namespace, Service, Terminal | None], None]] = {
    "count": _count,
    "facets": _facets,
    "sample": _sample,
    "export": _export,
    "clear": _clear,
    "index": _index,
    "alias": _alias,
    "duplicates": _duplicates,
    "clusters": _clusters,
    "outliers": _outliers,
    "map": _map,
}
