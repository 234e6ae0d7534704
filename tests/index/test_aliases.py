"""Other names of collections: they resolve, hide nothing, move at once, go with what they mean."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from embed.errors import BadInput, Conflict, NotFound
from embed.types import Space
from index.catalog import Catalog
from index.types import CollectionInfo


@pytest.fixture
def make(catalog: Catalog, space: Space) -> Callable[[str], CollectionInfo]:
    return lambda name: catalog.create_collection(name, space=space, chunker="whole")


def test_an_alias_is_another_name(catalog: Catalog, make) -> None:
    first, second = make("first"), make("second")
    assert catalog.point_alias("live", "first") == first
    assert catalog.collection("live") == first
    assert catalog.point_alias("newest", "live") == first  # what that means now
    catalog.point_alias("live", "second")
    assert catalog.collection("live") == second
    assert catalog.aliases() == {"live": "second", "newest": "first"}
    assert [info.name for info in catalog.collections()] == ["first", "second"]
    catalog.delete_alias("live")
    with pytest.raises(NotFound, match=r"'live'; the choices are: first, second, newest"):
        catalog.collection("live")


def test_a_name_is_of_a_collection_or_of_an_alias(catalog: Catalog, make) -> None:
    make("first")
    make("second")
    catalog.point_alias("live", "first")
    with pytest.raises(Conflict, match=r"'live' is an alias of collection 'first'"):
        make("live")
    with pytest.raises(Conflict, match=r"'live' is an alias"):
        catalog.check_new_name("live")
    with pytest.raises(Conflict, match=r"there is a collection 'second'") as error:
        catalog.point_alias("second", "first")
    assert error.value.param == "alias"
    for bad in ("", "a b", "x~migrating", "ä"):
        with pytest.raises(BadInput, match="no name for an alias"):
            catalog.point_alias(bad, "first")
    with pytest.raises(NotFound, match="'third'"):
        catalog.point_alias("live", "third")
    with pytest.raises(NotFound, match=r"'old'; the choices are: live"):
        catalog.delete_alias("old")


def test_a_collection_is_deleted_by_its_own_name_and_its_aliases_go_with_it(
    catalog: Catalog, make
) -> None:
    make("first")
    catalog.point_alias("live", "first")
    with pytest.raises(Conflict, match="by its own name"):
        catalog.delete_collection("live")
    catalog.delete_collection("first")
    assert catalog.aliases() == {}
    with pytest.raises(NotFound, match="there is none yet"):
        catalog.delete_alias("live")
    make("live")


def test_who_asks_while_an_alias_moves_finds_one_of_the_two(catalog: Catalog, make) -> None:
    make("blue")
    catalog.point_alias("live", "blue")
    seen: set[str] = set()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            seen.add(catalog.collection("live").name)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for number in range(10):
            make(f"green{number}")
            catalog.point_alias("live", f"green{number}")
            catalog.delete_collection("blue" if not number else f"green{number - 1}")
    finally:
        done.set()
        asking.join()
    assert catalog.collection("live").name == "green9"
    assert seen <= {"blue", *(f"green{number}" for number in range(10))}
