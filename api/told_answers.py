"""An answer as people read it: its words as they come, then what each of them rests on.

Nothing here knows how an answer is made, or where its pictures come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from api.lists import table_of
from api.made import Written
from api.sessions import Session
from api.shapes import PARTS, many, marked, printable, short
from api.terminal import score_bar
from api.thumbnails import can_show, thumbnail
from embed.media.source import shown
from embed.types import Item, Modality
from generation.sentences import MARK, pieces, without_marks
from index.types import Completion
from rag.types import Answer, Passage, Plan

if TYPE_CHECKING:
    from api.terminal import Terminal
    from rag.complete import Report

Look = Callable[[Passage], bytes | None]
"""An encoded picture of a passage; None where it has none."""

WORD = re.compile(r"\w+")
NEAREST = 3
COLUMNS, ROWS = 20, 8  # cells of a thumbnail
WIDE = 72  # columns that leave room beside one
PICTURES = 4  # of the first passages
GUESSED = "how probable that is is guessed: this collection has too few pairs to learn it from"
SUPPOSED = 90  # characters of borrowed words


class Words:
    """Writes an answer as it comes, broken between words; citations stand out."""

    def __init__(self, people: Terminal) -> None:
        self._out = people.out
        self._held = ""
        self._column = 0

    def __call__(self, text: str) -> None:
        *whole, self._held = re.split(r"(?<=\s)(?=\S)", self._held + text)
        for word in whole:
            self._write(word)

    def end(self) -> None:
        """The last word, and the end of the line."""
        self._write(self._held)
        self._held = ""
        if self._column:
            self._break()

    def _write(self, word: str) -> None:
        bare = Text(printable(word))
        bare.highlight_regex(MARK, "cyan")
        width = cell_len(bare.plain)
        if self._column and self._column + 1 + width > self._out.width:
            self._break()
        elif self._column and width:
            bare = Text(" ") + bare
        self._out.print(bare, end="", soft_wrap=True)
        self._column += cell_len(bare.plain)
        for _ in range(word[len(word.rstrip()) :].count("\n")):
            self._break()

    def _break(self) -> None:
        self._out.print()
        self._column = 0


def told(people: Terminal, answer: Answer, look: Look | None = None) -> None:
    """What an answer rests on; of one that was not given, what was nearest. look: for pictures.

    A verbose run tells all that was looked at, how the question was understood, and the timings.
    """
    for sentence in answer.sentences:
        if not sentence.supported and sentence.reason:
            doubted = short(printable(sentence.text), SUPPOSED)
            line = f"not supported: {doubted} ({printable(sentence.reason)})"
            people.note(Text(line, style="yellow"))
    for note in answer.notes:
        people.note(Text(printable(note), style="yellow"))
    if answer.abstained:
        _abstained(people, answer, look)
    else:
        sources(people, answer, look)
    if people.verbose:
        _plan(people, answer.plan)
        people.note(Text(_timings(answer), style="dim"))


def sources(
    people: Terminal, answer: Answer, look: Look | None = None, *, every: bool = False
) -> None:
    """What is cited, and what is supposed about it; the rest is counted, or told where it is asked
    for."""
    cited = _quotes(answer)
    every = every or people.verbose
    shown = [one for one in answer.evidence if every or one.number in cited]
    people.note()
    _table(people, shown, cited, look)
    _supposed(people, answer)
    rest = len(answer.evidence) - len(shown)
    if rest:
        people.note(Text(f"{many(rest, 'other')} looked at, not cited", style="dim"))


def _quotes(answer: Answer) -> dict[int, str]:
    """What the sources that are cited say there, by number."""
    words = {one.number: _words_of(one) for one in answer.evidence}
    quotes: dict[int, list[str]] = {}
    for citation in answer.citations:
        said = words.get(citation.number, "")
        quote = _likest(said, answer.sentences[citation.sentence].text)
        quotes.setdefault(citation.number, []).append(quote)
    return {n: " … ".join(dict.fromkeys(filter(None, said))) for n, said in quotes.items()}


def _words_of(passage: Passage) -> str:
    """Its own, else those that were found beside it."""
    return passage.text or next((one.text for one in passage.siblings if one.text), "")


def _likest(text: str, sentence: str) -> str:
    """The sentence of a text that has most words in common with another one; nothing where none
    has any."""
    wanted = _vocabulary(without_marks(sentence))
    text = printable(text)  # a line may end within a sentence
    found = [text[start:end] for start, end in pieces(text)]
    best = max(found, key=lambda one: len(wanted & _vocabulary(one)), default="")
    return best if wanted & _vocabulary(best) else ""


def _vocabulary(text: str) -> set[str]:
    return {*WORD.findall(text.casefold())}


def _abstained(people: Terminal, answer: Answer, look: Look | None) -> None:
    if answer.reason and printable(answer.reason) not in printable(answer.text):
        people.note(Text(f"no answer: {printable(answer.reason)}", style="yellow"))
    found = [one for one in answer.evidence if one.role == "found"]
    nearest = found if people.verbose else found[:NEAREST]
    if nearest:
        people.note()
        people.note(Text("nearest", style="dim"))
        _table(people, nearest, {}, look)


def _table(
    people: Terminal,
    passages: Sequence[Passage],
    cited: Mapping[int, str],
    look: Look | None,
) -> None:
    pictures = _pictures(people, passages, look)
    table = _grid(4 if pictures else 3)
    for passage in passages:
        quote = cited.get(passage.number)
        hit = replace(passage.hit, text=f"“{quote}”" if quote else _words_of(passage) or None)
        style = "bold cyan" if passage.number in cited else "dim"
        table.add_row(
            Text(f"[{passage.number}]", style=style),
            *([pictures.get(passage.number, "")] if pictures else []),
            score_bar(None, passage.probability),
            marked(hit.item.modality),
            people.found(hit),
        )
    people.out.print(table)


def _grid(fixed: int = 2) -> Table:
    """So many columns as wide as what they hold, and one that takes the rest."""
    table = Table(box=None, padding=(0, 1), show_header=False, pad_edge=False)
    for _ in range(fixed):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _pictures(people: Terminal, passages: Sequence[Passage], look: Look | None) -> dict[int, Text]:
    if look is None or people.quiet or people.out.width < WIDE or not can_show(people.out):
        return {}
    seen = ((passage.number, look(passage)) for passage in passages[:PICTURES])
    return {number: thumbnail(data, COLUMNS, ROWS) for number, data in seen if data is not None}


def _supposed(people: Terminal, answer: Answer) -> None:
    """What records lack and others lend them."""
    numbers = {one.hit.item.id: f"[{one.number}]" for one in answer.evidence}
    names = {one.hit.item.id: called(one.hit.item) for one in answer.evidence}
    records = {one.hit.item.record: f"[{one.number}]" for one in reversed(answer.evidence)}
    for one in answer.completions:
        whose = records.get(one.record or "", "the question")
        lenders = "".join(numbers.get(source.item, "") for source in one.sources)
        how = "borrowed from" if one.origin == "retrieved" else "made from"
        people.note(
            Text.assemble(
                (f"{whose} lacks {PARTS.get(one.modality, one.modality)}; supposed: ", "dim"),
                (_supposition(one, lambda item_id: names.get(item_id, item_id)), "italic"),
                (f", {how} {lenders or many(len(one.sources), 'other')}, p {one.p:.2f}", "dim"),
            )
        )


def completed(people: Terminal, report: Report, name_of: Callable[[str], str]) -> None:
    """What one record lacks, and who lends it. name_of: an item, by its id."""
    table = _grid()
    for one in report.completions:
        best = [f"{name_of(lent.item)} ({lent.share:.0%})" for lent in one.sources[:NEAREST]]
        rest = len(one.sources) - NEAREST
        lenders = ", ".join([*best, *([many(rest, "other")] if rest > 0 else [])])
        supposed = _supposition(one, name_of)
        about = Text.assemble((supposed, "bold"), (f"\n{one.method} of {lenders}", "dim"))
        table.add_row(score_bar(None, one.p), marked(one.modality), about)
    if report.completions:
        people.out.print(table)
        if not report.fitted:
            people.note(Text(GUESSED, style="dim"))
    if report.reason:
        people.note(Text(printable(report.reason), style="yellow"))


def written(people: Terminal, files: Sequence[Written]) -> None:
    """Where what was made is now."""
    for file in files:
        told = f"made {file.modality}: {shown(file.path)}"
        people.out.print(Text(told, style="bold"), soft_wrap=True)


def _supposition(completion: Completion, name_of: Callable[[str], str]) -> str:
    """Words in quotes; of a medium the name of what it is borrowed from."""
    if completion.value is None:
        return f"{completion.modality}, made anew"
    if completion.modality is Modality.TEXT:
        return f"“{short(printable(completion.value), SUPPOSED)}”"
    return name_of(completion.value)


def called(item: Item) -> str:
    """What people know an item by."""
    return short(printable(item.title or item.text or item.uri or item.id), SUPPOSED)


def _plan(people: Terminal, plan: Plan) -> None:
    people.note()
    people.note(Text(f"understood as: {printable(plan.question)}", style="dim"))
    for query in plan.queries:
        parts = [f"“{printable(query.words)}”"] if query.words else []
        parts += [f"({medium.modality})" for medium in query.media]
        parts += [f"item {item}" for item in query.items]
        parts += [f"without “{printable(query.without)}”"] if query.without else []
        among = ", ".join(sorted(query.modalities))
        people.note(Text(f"  looked for {' + '.join(parts)} among {among}: {query.why}", "dim"))
    for note in plan.notes:
        people.note(Text(f"  {printable(note)}", style="dim"))


def _timings(answer: Answer) -> str:
    spent = dict(answer.timings_ms)
    total = spent.pop("total", sum(spent.values()))
    stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in spent.items())
    sure = f"{answer.generator}, confidence {answer.confidence:.2f}"
    return f"{total:.1f} ms ({stages}; {sure})"


def sessions(people: Terminal, found: Sequence[Session]) -> None:
    """One line a conversation."""
    if not found:
        people.note("no conversation was kept yet")
        return
    rows = table_of("id", "collection", "turns", "last", "began with")
    for one in found:
        began = short(printable(one.question or ""), SUPPOSED)
        rows.add_row(one.id, one.collection, str(one.turns), one.used[:16], began)
    people.out.print(rows)


def commands(people: Terminal, told: Mapping[str, str]) -> None:
    """What each does."""
    rows = table_of("", "")
    for name, about in told.items():
        rows.add_row(Text(f"/{name}", style="bold"), about)
    rows.show_header = False
    people.out.print(rows)
