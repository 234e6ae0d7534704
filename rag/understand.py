"""A question to a plan of what to look for, by rules that people can read and a plan that they can
look at: what it takes over from earlier turns, what it excludes, how many things it asks for, which
media it names, and which filter it states. No model has a say.

How questions are worded is `wording.py`; how they lean on earlier turns, `turns.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from embed.errors import InvalidQuery, TooLarge
from embed.types import Modality
from index.metadata.filters import And, Filter, filter_to_json
from rag.library import Library
from rag.seeking.narrowing import filter_of
from rag.seeking.turns import standing_alone
from rag.seeking.wording import LONG, bare, media_named, terms_of
from rag.types import Ask, Plan, SubQuery

MAX_WORDS = 32_768  # characters: about a second of embedding
MOST = 4  # things that one question looks for

_SMALL_TALK = re.compile(
    r"(?:(?:hi|hello|hey|hiya|howdy|good\s+(?:morning|afternoon|evening|night|day)|thanks?|thank\s+you"
    r"|thx|cheers|bye|goodbye|see\s+you|ok(?:ay)?|great|nice|cool|perfect|got\s+it|you're\s+welcome"
    r"|how\s+are\s+you|who\s+are\s+you|what\s+can\s+you\s+do|sorry|please|yes|no|wow|well\s+done"
    r"|(?:very|so)\s+much|a\s+lot|again|there|everyone|for\s+(?:your|the)\s+help|today|all)"
    r"[\s,.!?:;)(-]*)+",
    re.IGNORECASE,
)
_NEXT = re.compile(r"(?<=\?)\s+(?=\w)")
_DETERMINED = r"(?:an?|the|any|some|my|our|this|that|all)"
_BOTH = re.compile(
    rf"\s*,?\s+(?:and|versus|vs\.?|or|compared\s+(?:to|with))\s+(?:also\s+)?(?={_DETERMINED}\s+\w)",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    r"\b(?:difference|differences|compare|comparison|similarity)\s*(?:between|of)?\s+(.+?)\s+"
    r"(?:and|with|to|versus|vs\.?)\s+(.+)",
    re.IGNORECASE,
)
_WITHOUT = re.compile(
    r"[,\s]{1,2}(?:but\s)?(?:without|excluding|except(?:\s+for)?|other\s+than|(?:but\s|and\s|is\s|are\s)?not)"
    r"\s+(?!\w{3,}(?:ing|ed)\b|only\b|yet\b|any\s*more\b)"
    r"(?:an?\s+|the\s+|any\s+)?((?:[\w-]+)(?:\s+(?!and\b|or\b|but\b|that\b|which\b|in\b|on\b|at\b)"
    r"[\w-]+){0,2})",
    re.IGNORECASE,
)
_SHOWN = re.compile(r"\b(?:this|that|the|these|attached|my)\s+(\w+)", re.IGNORECASE)


def understand(ask: Ask, library: Library) -> Plan:
    """What to look for. Raises InvalidQuery for a question that asks nothing, TooLarge."""
    words = ask.words
    if not words and not ask.media and not ask.items:
        raise InvalidQuery(
            "the question is empty: give it words, a medium or an item", param="question"
        )
    if len(words) > MAX_WORDS:
        raise TooLarge(
            f"the question is {len(words):,} characters and at most {MAX_WORDS:,} are read: ask "
            "more briefly, or index the text and ask with its item",
            param="question",
        )
    shown, readable = bool(ask.media or ask.items), len(words) <= LONG
    if readable and not shown and _SMALL_TALK.fullmatch(words):
        return Plan(question=words, queries=(), small_talk=True, notes=("nothing is looked for",))
    question = standing_alone(words, ask.history) if readable and not shown else words
    narrowed = filter_of(words, library.collection) if words and readable else None
    queries = _queries(ask, question, library)
    return Plan(
        question=question,
        queries=queries,
        wants=_wants(ask, question),
        filter=_both(ask.retrieval.filter, narrowed),
        notes=tuple(_notes(words, question, queries, narrowed)),
    )


def _queries(ask: Ask, question: str, library: Library) -> tuple[SubQuery, ...]:
    modalities = ask.retrieval.modalities or library.batcher.embedder.modalities
    parts = _parts(" ".join(question.split())) if len(question) <= LONG else [question]
    several = len(parts) > 1
    made = []
    for part in parts:
        kept, without = _excluded(part) if len(part) <= LONG else (part, None)
        made.append(
            SubQuery(
                words=_words(kept, shown=bool(ask.media or ask.items)),
                why=f"one of {len(parts)} things asked for" if several else "the question",
                without=without,
                media=ask.media,
                items=ask.items,
                modalities=modalities,
            )
        )
    return tuple(made)


def _words(part: str, *, shown: bool) -> str | None:
    """What the search gets: the whole question only where nothing else is left to ask with."""
    about = bare(part)
    if about and (terms_of(about) or not shown):
        return about
    return None if shown or not part.strip() else part.strip()


def _parts(question: str) -> list[str]:
    """The things that a question asks for, each by itself."""
    parts = [
        thing
        for one in _NEXT.split(question)
        for thing in _things(one)
        if terms_of(bare(thing)) or bare(thing)
    ]
    return parts[:MOST] or [question]


def _things(question: str) -> list[str]:
    compared = _BETWEEN.search(question)
    things = list(compared.groups()) if compared else _BOTH.split(question)
    telling = all(terms_of(bare(thing)) for thing in things)
    # Before "and the …" a thing is named as such; "opened by Mary and the mayor" speaks of one.
    named = compared or re.search(rf"\b{_DETERMINED}\s+\w", things[0], re.IGNORECASE)
    return things if len(things) > 1 and telling and named else [question]


def _excluded(part: str) -> tuple[str, str | None]:
    """The words that are looked for, and those that must not be there."""
    found = _WITHOUT.search(part)
    if found is None or not terms_of(found.group(1)):
        return part, None
    kept = f"{part[: found.start()]} {part[found.end() :]}"
    return (kept.strip(), found.group(1)) if terms_of(bare(kept)) else (part, None)


def _wants(ask: Ask, question: str) -> frozenset[Modality]:
    """Media that the words name, but those that were shown with them ("this picture")."""
    shown = {medium.modality for medium in ask.media}
    meant = {
        modality
        for found in _SHOWN.finditer(question)
        for modality in media_named(found.group())
        if modality in shown
    }
    return media_named(question) - meant


def _both(given: Filter | None, narrowed: Filter | None) -> Filter | None:
    """The caller's own always rules."""
    parts = tuple(part for part in (given, narrowed) if part is not None)
    return And(parts) if len(parts) > 1 else parts[0] if parts else None


def _notes(
    words: str, question: str, queries: Sequence[SubQuery], narrowed: Filter | None
) -> list[str]:
    notes = []
    if question != words:
        notes.append(f"read after the turns before as: {question}")
    if narrowed is not None:
        notes.append(f"narrowed by what it states: {filter_to_json(narrowed)}")
    notes += [f"left out: {query.without}" for query in queries if query.without]
    if len(queries) > 1:
        notes.append(f"{len(queries)} things are looked for, each by itself")
    return notes
