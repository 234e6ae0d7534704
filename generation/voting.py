"""What several things are said to be together: the words that most of them share, by weight.

Each thing votes for the phrases in what is said of it with its probability, as neighbours do in
Dudani's distance-weighted rule (1976). It knows no question.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from generation.claims import claim_of
from generation.readings import Reading, Said
from generation.types import Saying

_LONGEST = 4  # words of a phrase
_AGREED = 0.4  # of all votes
_LONGER = 0.3  # a word more is worth so much more of the votes
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_ENDING = re.compile(r"\.\w{2,4}$")


class Agreed(NamedTuple):
    """numbers: of the evidence that says the phrase, the likeliest first. share: of all votes."""

    phrase: str
    numbers: tuple[int, ...]
    share: float


def consensus(found: Sequence[Reading]) -> Agreed | None:
    """The phrase that two at least and a good part of all votes agree on; None without one."""
    votes: dict[tuple[str, ...], dict[int, float]] = defaultdict(dict)
    written: dict[tuple[str, ...], str] = {}
    for one in found:
        for said in _telling(one):
            for meaning, phrase in _phrases(said):
                votes[meaning][one.evidence.number] = one.evidence.probability
                written.setdefault(meaning, phrase)
    total = sum(one.evidence.probability for one in found)
    best, best_worth = None, 0.0
    for meaning, voters in votes.items():
        share = sum(voters.values()) / total if total else 0.0
        worth = share * (1 + _LONGER * (len(meaning) - 1))
        if len(voters) > 1 and share >= _AGREED and worth > best_worth:
            numbers = sorted(voters, key=lambda n: -voters[n])
            best, best_worth = Agreed(written[meaning], tuple(numbers), share), worth
    return best


def _telling(one: Reading) -> list[Said]:
    """What is said of it, or noted; its title where that is all there is."""
    told = [said for said in one.said if said.by not in (Saying.TITLE, Saying.METADATA)]
    noted = [said for said in one.said if said.by is Saying.METADATA]
    return told or noted or list(one.said)


def _phrases(said: Said) -> Iterator[tuple[tuple[str, ...], str]]:
    """Neighbouring words, the first and the last of which count: by what they mean, as written."""
    text = said.text.partition(":")[2] if said.by is Saying.METADATA else said.text
    words = list(_WORD.finditer(_ENDING.sub("", text) if said.by is Saying.TITLE else text))
    breaks = {
        n + 1 for n, (a, b) in enumerate(pairwise(words)) if text[a.end() : b.start()].strip()
    }
    for start in range(len(words)):
        for end in range(start + 1, min(start + _LONGEST, len(words)) + 1):
            if end - 1 in breaks and end - 1 > start:
                break
            phrase = text[words[start].start() : words[end - 1].end()]
            meaning = tuple(word.word for word in claim_of(phrase).words)
            if meaning and _counts(words[start].group()) and _counts(words[end - 1].group()):
                yield meaning, phrase


def _counts(word: str) -> bool:
    return bool(claim_of(word).words)
