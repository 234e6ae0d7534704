"""What a record lacks, supposed from what others have: completion of missing modalities.

A completion is a hypothesis about a record (`index.types.Completion`), in rows of its own, never an
item and never evidence. Candidates come from `candidates.py`, what they say together from
`consensus.py` or a generator (`synthesis.py`), and how likely that is right from `fit.py`. Below
`LEAST` nothing is supposed, and the reason is told.

    best       words: what most of the weight agrees on; a medium: the likeliest source
    mean       the mean of k in the joint space (MissRAG), and the source nearest to it
    synthesis  what a generator makes of the record and its sources

For retrieval: `complete_all`, then `widened` finds records by what they are supposed to have.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from embed.errors import BadInput
from embed.types import Floats, Media, Modality
from generation.types import Generator
from index.completions import LEAST, Method, Supposed
from index.types import Completion
from rag.completion.candidates import Holder, Wanted, holders_of, middle
from rag.completion.judges import Judges
from rag.completion.lending import judged, lacks_words, lent, with_sources
from rag.completion.making import Made, Maker
from rag.completion.recognising import with_voted
from rag.completion.reports import BatchReport, Progress, Report, report_of
from rag.library import Asked, Library
from rag.types import Ask, Passage, Plan

__all__ = ["BatchReport", "Completer", "Progress", "Report"]

K = 20  # neighbours a way
_BATCH = 64  # records completed in one search
_SLOW = 4  # of them where a generator has its say
_METHODS = 3  # that a record may be completed by
_WORTH = 0.02  # probability of a passage below which no answer will rest on it
_AT_ONCE = 3  # passages of one answer that are completed while somebody waits


class Completer:
    """Completes the records of one library. Safe to use from several threads."""

    def __init__(self, library: Library, generator: Generator | None = None) -> None:
        self._library = library
        self._store = library.collection.completions
        self._gaps = library.collection.gaps
        self._judges = Judges(library)
        self._maker = Maker(library, self._judges, generator)
        self._supposed: dict[Modality, tuple[tuple[int, int], Supposed]] = {}

    # For an answer

    def fill(self, passages: list[Passage], takes: frozenset[Modality]) -> list[Passage]:
        """Passages with what their records are supposed to have, and the sources behind them.

        takes: what the answerer takes besides words. What is stored comes first; of passages that
        lack words still, the first few are completed now. What has words is left alone, and what is
        hardly about the question.
        """
        found = [one for one in passages if one.role == "found"]
        wordless = [one for one in found if lacks_words(one) and one.probability >= _WORTH]
        if not wordless:
            return passages
        records = list(dict.fromkeys(one.hit.item.record for one in wordless))
        kept = self._store.of_records(records, least=0.0)
        supposed = lent(kept, takes)
        untold = [record for record in records if not judged(kept.get(record, []))]
        for one in self._now(untold[:_AT_ONCE]):
            supposed.setdefault(str(one.record), []).insert(0, one)
        return with_sources(self._library, passages, supposed)

    def recognise(self, ask: Ask, plan: Plan, passages: list[Passage]) -> list[Passage]:
        """Where a medium from outside is all that asks, what it may be: its words are supposed as
        those of a record that lacks them, and what they rest on goes before what is merely near.
        """
        if not ask.media or any(query.words for query in plan.queries):
            return passages
        if not self._judges.recall(Modality.TEXT):
            return passages
        holder = Holder(None, _one_thing(self._library.embed(ask.media)))
        made = self._maker.make([Wanted(holder, Modality.TEXT)], "best", K)
        if not made:
            return passages
        return with_voted(self._library, passages, made[0].completion)

    # On demand

    def complete_item(
        self,
        item_id: str,
        missing: Sequence[Modality],
        method: Method = "best",
        k: int = K,
        *,
        least: float = LEAST,
    ) -> Report:
        """What the record of an item may have of what it lacks; kept with the collection.

        Raises NotFound, BadInput for a modality that it has, NotAvailable for a synthesis without
        a generator that can.
        """
        record = self._library.collection.item(item_id).record
        [holder] = holders_of(self._library, [record])
        made = self._asked(holder, missing, method, k)
        if not self._store.read_only:
            for modality in missing:
                self._keep(made, modality, method)
        return report_of(missing, made, self._judges, method, least, self._library.collection.name)

    def complete_media(
        self,
        media: Sequence[Media],
        missing: Sequence[Modality],
        method: Method = "best",
        k: int = K,
        *,
        least: float = LEAST,
    ) -> Report:
        """The same of media from outside, which are one thing together; nothing is kept.

        Raises what embedding raises besides.
        """
        holder = Holder(None, _one_thing(self._library.embed(media)))
        made = self._asked(holder, missing, method, k, media)
        return report_of(missing, made, self._judges, method, least, self._library.collection.name)

    def fit(self, missing: Modality, *, seed: int = 0) -> bool:
        """Fits anew how likely completions are. Whether there was enough to fit on."""
        return self._judges.fit(missing, seed=seed)

    # All at once

    def complete_all(
        self,
        missing: Sequence[Modality] | None = None,
        *,
        method: Method = "best",
        k: int = K,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> BatchReport:
        """Completes and keeps every record that lacks one of these modalities, or of all that the
        collection has. Broken off or stopped, the same call goes on; what is fresh is passed over.

        Raises NotAvailable as `complete_item`, Forbidden, StorageFull.
        """
        wanted = sorted(self._library.modalities) if missing is None else list(missing)
        report = BatchReport()
        total = sum(self._gaps.count(modality) for modality in wanted)
        for modality in wanted:
            self._judges.prepare(modality)
            for records in self._pages(modality, _SLOW if method == "synthesis" else _BATCH):
                if stop is not None and stop.is_set():
                    report.stopped = True
                    return report
                report.add(self._complete_page(records, modality, method, k))
                if progress is not None:
                    progress(report.records, total)
        return report

    # Wider retrieval

    def widened(
        self, query_joint: Floats, modality: Modality, k: int, *, least: float = LEAST
    ) -> list[tuple[str, float, Completion]]:
        """Records that lack a modality, found by what they are supposed to have there: the record,
        the cosine of its supposed vector with the `(D,)` query, and the completion; best first.

        What the cosine means is as of an item of that modality, times the completion's own p.
        Only what is kept (`complete_all`), likely enough and not stale is found.
        """
        supposed = self._matrix(modality)
        likely = np.flatnonzero(supposed.p >= least)
        cosines = supposed.vectors[likely] @ query_joint
        best: dict[str, float] = {}
        for at in np.argsort(-cosines, kind="stable")[: _METHODS * k].tolist():
            best.setdefault(supposed.records[likely[at]], float(cosines[at]))
        kept = self._store.of_records(best, modality=modality, least=least)
        found = []
        for record, cosine in best.items():
            fresh = [one for one in kept.get(record, []) if not one.stale]
            if fresh:
                found.append((record, cosine, fresh[0]))
        return found[:k]

    def _matrix(self, modality: Modality) -> Supposed:
        state = self._store.state()
        known = self._supposed.get(modality)
        if known is None or known[0] != state:
            known = (state, self._store.vectors(modality, least=0.0))
            self._supposed[modality] = known
        return known[1]

    # How

    def _asked(
        self,
        holder: Holder,
        missing: Sequence[Modality],
        method: Method,
        k: int,
        media: Sequence[Media] = (),
    ) -> list[Made]:
        _check(holder, missing)
        for modality in missing:
            self._judges.prepare(modality)
        wanted = [Wanted(holder, modality) for modality in missing]
        return self._maker.make(wanted, method, k, media)

    def _now(self, records: Sequence[str]) -> list[Completion]:
        """Words for these records, where they are likely, while somebody waits."""
        if not records or not self._judges.recall(Modality.TEXT):
            return []
        wanted = [Wanted(one, Modality.TEXT) for one in holders_of(self._library, records)]
        made = [one.completion for one in self._maker.make(wanted, "best", K)]
        return [one for one in made if one.p >= LEAST]

    def _pages(self, modality: Modality, size: int) -> Iterator[list[str]]:
        after = 0
        while page := self._gaps.lacking(modality, after=after, limit=size):
            yield list(page.values())
            after = max(page)

    def _complete_page(
        self, records: Sequence[str], modality: Modality, method: Method, k: int
    ) -> BatchReport:
        kept = self._store.of_records(records, modality=modality, method=method, least=0.0)
        left = [one for one in records if all(old.stale for old in kept.get(one, []))]
        made: list[Made] = []
        if left:
            wanted = [Wanted(holder, modality) for holder in holders_of(self._library, left)]
            made = self._maker.make(wanted, method, k)
            self._keep(made, modality, method)
        likely = sum(one.completion.p >= LEAST for one in made)
        return BatchReport(
            records=len(records),
            completed=likely,
            abstained=len(made) - likely,
            fresh=len(records) - len(left),
            nothing=len(left) - len(made),
        )

    def _keep(self, made: Sequence[Made], modality: Modality, method: Method) -> None:
        kept = [one.completion for one in made if one.completion.modality is modality]
        if kept:
            self._store.put(kept, fit=self._judges.of(modality, method).name)


def _check(holder: Holder, missing: Sequence[Modality]) -> None:
    """Raises BadInput unless there is something to ask for and to ask with."""
    if not missing:
        raise BadInput("no modality is named to be completed: name one or more", param="missing")
    if not holder.has:
        raise BadInput("there is no vector to complete this by: ingest it again", param="item")
    has = ", ".join(sorted(holder.has))
    for modality in missing:
        if modality in holder.has:
            raise BadInput(
                f"it has {modality} of its own ({has}), so there is nothing to complete: name one "
                "that it lacks",
                param="missing",
            )


def _one_thing(asked: Sequence[Asked]) -> dict[Modality, Asked]:
    """Media of one thing, as one query a modality."""
    has: dict[Modality, Asked] = {}
    for modality in dict.fromkeys(one.modality for one in asked):
        same = [one for one in asked if one.modality is modality]
        native = [one.native[modality] for one in same if modality in one.native]
        has[modality] = Asked(
            modality,
            middle([one.joint[None] for one in same]),
            {modality: middle([vector[None] for vector in native])} if native else {},
        )
    return has
