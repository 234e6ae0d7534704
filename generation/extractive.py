"""Answers without any model: what the evidence says, in its own words, each sentence cited.

It finds the word of the kind that is asked for, counts, says yes or no where the evidence does, and
tells of a picture or a sound what is written about those most like it. It cannot see or hear, and
says so; what was borrowed from another record it calls likely, and cites both. The same prompt is
always answered the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from embed.types import Modality
from generation.phrasing import CITED, capital, cite, in_quotes, leading, line, named, quoting
from generation.questions import CLOSED, Form, Question, Value, read, values
from generation.readings import Reading, Said, readings
from generation.types import Chunk, Finish, Prompt, Saying, Taste, Usage
from generation.voting import consensus
from generation.words import Until

_CONTEXT = 100_000
_LISTED = 5
_SAME = 0.98  # probability from which what was found is what was shown
_BRIEF = 4  # statements that may be read together as one
_HINT = 0.3  # of all words, for a sentence that is built as the answer would be
_WHOLE = 0.1  # and for one that is a whole sentence
_SPEAKS = 0.5  # of the words asked about
_LOOSE = frozenset({"time", "amount"})  # kinds of which one sentence may say many things
_AS_GOOD = 0.85  # of the best: others that fit as well have a say
_GREETING = (
    "Hello! Ask me about what is in this collection: I answer from what it holds, and say where."
)


class Extractive:
    """The generator that is always there. Safe to call from several threads."""

    name = "extractive"
    inputs = frozenset({Modality.TEXT})
    outputs = frozenset({Modality.TEXT})
    taste = Taste(context=_CONTEXT)

    def count_tokens(self, text: str) -> int:
        """An estimate from above: no word of any language is shorter."""
        return len(text) // 3 + 1

    def generate(self, prompt: Prompt) -> Iterator[Chunk]:
        """A sentence a chunk; nothing is drawn, so temperature and seed mean nothing here."""
        told = 0
        finish: Finish = "stop"
        until = Until(prompt.sampling.stop)
        for sentence in _answer(prompt):
            tokens = self.count_tokens(sentence)
            if told and told + tokens > prompt.sampling.max_tokens:
                finish = "length"
                break
            told += tokens
            if certain := until.feed(sentence):
                yield Chunk(text=certain)
        if rest := until.rest():
            yield Chunk(text=rest)
        asked = sum(self.count_tokens(message.text) for message in prompt.messages)
        yield Chunk(finish=finish, usage=Usage(asked, told))

    def close(self) -> None:
        """Holds nothing."""


def _answer(prompt: Prompt) -> list[str]:
    """The sentences, in order, with the white space before each."""
    if not prompt.evidence:
        return [_GREETING]
    question = read(prompt.question, bool(prompt.asked_with - {Modality.TEXT}))
    found = readings(question, prompt.evidence)
    if (noted := _noted(question, found)) is not None:
        return [noted]
    match question.form:
        case Form.KIND if prompt.asked_with - {Modality.TEXT}:
            return _voted(question, found)
        case Form.KIND:
            return _of_kind(question, found)
        case Form.COUNT:
            return _count(question, found)
        case Form.WHETHER:
            return _whether(question, found)
        case Form.LIST:
            return _list("I found:", [one for one in _fitting(found) if not one.itself])
        case Form.MEDIUM:
            return _medium(found)
    return _open(question, found)


def _noted(question: Question, found: Sequence[Reading]) -> str | None:
    """What is noted under a name that the question says: "which camera", "what year"."""
    if question.form not in (Form.KIND, Form.OPEN):
        return None
    for one in _fitting(found):
        for said in one.said:
            if said.by is Saying.METADATA and question.names(said.text.partition(":")[0]):
                return f"{capital(said.text)} {cite(said)}."
    return None


def _of_kind(question: Question, found: Sequence[Reading]) -> list[str]:
    """The word that is asked for; where those who fit as well differ, what each says."""
    told = _telling(question, found)
    most = max((said.covers for one in _fitting(found) for said in one.said), default=0.0)
    # A sentence that says all but a word of the kind may say it in other words: "a hand deep".
    if (
        question.kind in _LOOSE
        and most >= _SPEAKS
        and not any(one.said.covers == most for one in told)
    ):
        return _open(question, found)
    if not told:
        return _unsaid(found)
    best = told[0].reading
    rivals = [
        one
        for one in told
        if one.reading.fit >= _AS_GOOD * best.fit and one.reading.covers >= best.covers
    ]
    apart = {one.value.meaning: one for one in reversed(rivals)}
    if len(apart) == 1:
        return [told[0].quoted()]
    differing = sorted(apart.values(), key=lambda one: -one.reading.fit)[:CITED]
    return ["What I found differs:", *(f" {one.quoted()}" for one in differing)]


def _voted(question: Question, found: Sequence[Reading]) -> list[str]:
    """The word that those most like a medium agree on best; they are not it, so it is likely."""
    told = _telling(question, found)
    if not told:
        return _unsaid(found)
    if told[0].reading.itself:
        return [told[0].quoted()]
    votes: dict[frozenset[str], float] = defaultdict(float)
    for one in told:
        votes[one.value.meaning] += one.reading.fit
    meaning = max(votes, key=votes.__getitem__)
    first = next(one for one in told if one.value.meaning == meaning)
    return [first.quoted(likely=True)]


class _Told(NamedTuple):
    """A word of the kind that is asked for, and who says it where."""

    reading: Reading
    said: Said
    value: Value

    certain: bool

    def quoted(self, *, likely: bool = False) -> str:
        """The word, and the sentence that it stands in; that alone where it may be another's."""
        if not self.certain:
            return quoting("", self.said)
        lead = f"Likely {self.value.surface}" if likely else leading(self.said, self.value.surface)
        return quoting(lead, self.said)


def _telling(question: Question, found: Sequence[Reading]) -> list[_Told]:
    """Of each reading that fits the best sentence with such a word; best first."""
    assert question.kind is not None
    told = []
    for one in found:
        saying = [said for said in one.said if _may_say(question, said)] if one.fit else []
        if saying:
            said = max(saying, key=lambda said: (not said.sources, said.covers))
            found_here = values(question.kind, said.text)
            value = question.nearest(found_here, said.text)
            alone = question.kind == "time" and len(found_here) == 1
            certain = question.kind not in _LOOSE or alone or question.binds(value, said.text)
            told.append(_Told(one, said, value, certain))
    return told


def _may_say(question: Question, said: Said) -> bool:
    """Whether it has a word of the kind asked for; where many words may be of that kind, only if
    it speaks of what is asked about."""
    assert question.kind is not None
    near = question.kind in CLOSED or not question.about or said.covers >= _SPEAKS
    return near and bool(values(question.kind, said.text))


def _count(question: Question, found: Sequence[Reading]) -> list[str]:
    """A number that is written, else how many of those found say all that is asked about."""
    fitting = [one for one in _fitting(found) if one.covers == 1]
    for one in fitting:
        said = max(one.said, key=lambda s: s.covers)
        if number := next(iter(values("amount", said.text)), None):
            return [quoting(leading(said, number.surface), said)]
    for one in _fitting(found):
        for said in one.said:
            for number in values("amount", said.text) if said.covers >= _SPEAKS else ():
                if question.binds(number, said.text):
                    return [quoting(leading(said, number.surface), said)]
    if not fitting:
        return _unsaid(found)
    many = "at least " if len(fitting) == len(found) > 1 else ""  # there may be more of the kind
    return _list(f"I found {many}{len(fitting)}:", fitting)


def _whether(question: Question, found: Sequence[Reading]) -> list[str]:
    """Yes by what says all of it, no by what says all but one thing, and that otherwise."""
    for one in found:
        said = max(one.said, key=lambda s: s.covers, default=None)
        brief = len(one.said) <= _BRIEF
        if one.fit and said is not None and (said.covers == 1 or (one.covers == 1 and brief)):
            return [quoting(leading(said, "no" if question.is_denied(said.text) else "yes"), said)]
    for one in found if not question.existence else ():
        if len(one.denied) == 1 and one.covers >= 1 - 1 / len(question.about):
            said = max(one.said, key=lambda s: s.covers)
            return [quoting(leading(said, "no"), said)]
    best = found[0]
    if best.fit and not any(said.covers for said in best.said):
        return [f"Probably: {named(best)} looks or sounds like it [{best.evidence.number}]."]
    return _unsaid(found)


def _medium(found: Sequence[Reading]) -> list[str]:
    """What the things most like it are said to be: they have a vote each, by their probability."""
    likeliest = found[0].evidence.probability
    if found[0].described and (found[0].itself or likeliest >= _SAME):
        return [line(found[0])]
    like_it = [one for one in found if one.evidence.probability >= likeliest / 2]
    agreed = consensus([one for one in like_it if one.said])
    if agreed is not None:
        cites = "".join(f"[{n}]" for n in agreed.numbers[:CITED])
        return [f"Likely {in_quotes(agreed.phrase)}, as is said of the most similar {cites}."]
    return _list("The most similar that I found:", _fitting(like_it))


def _open(question: Question, found: Sequence[Reading]) -> list[str]:
    """The sentence that says most of what is asked about, and what another adds to it."""
    fitting = _fitting(found)
    said = [
        (one.evidence.probability * (0.2 + s.covers + _built(question, s)), s)
        for one in fitting
        for s in one.said
        if s.by is not Saying.TITLE
    ]
    if not said:
        return _list("I cannot see or hear it, and nothing is written about it. I found:", fitting)
    best_score, best = max(said, key=lambda pair: pair[0])
    answer = [quoting("", best)]
    others = [s for score, s in said if score >= _AS_GOOD * best_score and s.text != best.text]
    return [*answer, *(f" {quoting('', other)}" for other in others[:1] if question.about)]


def _built(question: Question, said: Said) -> float:
    """What a sentence is worth for how it is built."""
    whole = said.text[:1].isupper() and said.text[-1:] in ".!?"
    return _HINT * question.hints(said.text) + _WHOLE * whole


def _unsaid(found: Sequence[Reading]) -> list[str]:
    """That it is not known, and what came nearest."""
    nearest = next((one for one in found if one.fit), found[0])
    said = max(nearest.said, key=lambda s: s.covers, default=None)
    tail = quoting("", said) if said is not None else line(nearest)
    return ["Nothing that I found says that.", f" The nearest is: {tail}"]


def _list(head: str, fitting: Sequence[Reading]) -> list[str]:
    if not fitting:
        return ["I found nothing that fits."]
    return [head, *(f"\n- {line(one)}" for one in fitting[:_LISTED])]


def _fitting(found: Sequence[Reading]) -> list[Reading]:
    """Those that fit, without what others only rest on; all that say half of what the best says."""
    fits = [one for one in found if one.fit]
    most = max((one.covers for one in fits if one.described), default=0.0)
    return [one for one in fits if one.covers >= most / 2 or not one.described]
