"""Forms of one word are one, whoever compares; words that only look alike stay two."""

from __future__ import annotations

import pytest

from generation.endings import folded, stem

ONE = [
    *(("ring", "rings"), ("open", "opened"), ("open", "opening"), ("move", "moved")),
    *(("family", "families"), ("glass", "glasses"), ("stop", "stopped"), ("add", "adding")),
    *(("fill", "filled"), ("buzz", "buzzing"), ("slow", "slowly"), ("begin", "began")),
    *(("foot", "feet"), ("cat", "cat\u2019s"), ("caf\u00e9", "CAFES"), ("does", "doesn't")),
]
TWO = [
    *(("early", "ear"), ("early", "ears"), ("glass", "gas"), ("left", "leave"), ("sing", "s")),
    *(("found", "find"), ("reply", "rep"), ("bus", "bu"), ("need", "ne")),
]


@pytest.mark.parametrize(("one", "other"), ONE)
def test_forms_of_one_word_are_one(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(("one", "other"), TWO)
def test_words_that_only_look_alike_stay_two(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_folding_leaves_other_scripts_their_marks() -> None:
    assert folded(" \u00c9t\u00e9\n DE ") == "ete de"
    assert folded("\u304c") != folded("\u304b")  # ga and ka
