"""What many items say under one name, in arrays, and which of them a predicate is true of.

Values lie by kind (texts as codes into a dictionary, numbers, booleans, places), each with the row
that says it, so a row may say several things or none. Arrays only grow: a `Column` seen once stays
as it is while more is added behind it. It knows no item; what predicates mean is
`filters.holds`, and this is the same for arrays.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from index.metadata.bounds import Circle, Op, Value
from index.metadata.filters import ORDER, Predicate
from index.metadata.texts import Growing, Mask, Numbers, Texts
from index.metadata.values import is_number, metres_between


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A name as it stands. Of every kind the rows `(V,)` int32, which may repeat, and the values.

    exact: whole numbers that no float is the same as, by position among the numbers.
    """

    texts: Texts
    text_rows: Numbers
    codes: Numbers
    number_rows: Numbers
    numbers: Numbers
    exact: dict[int, int]
    flag_rows: Numbers
    flags: Numbers
    place_rows: Numbers
    lats: Numbers
    lons: Numbers

    def rows(self, predicate: Predicate) -> list[Numbers]:
        """Of whom it is true, in pieces that may repeat each other."""
        bound = predicate.value
        match predicate.op:
            case Op.EXISTS:
                return [self.text_rows, self.number_rows, self.flag_rows, self.place_rows]
            case Op.EQ:
                return self._same((bound,))
            case Op.IN:
                return self._same(bound if isinstance(bound, tuple) else ())
            case Op.NE:
                return self._other(bound)
            case Op.MATCH if isinstance(bound, str):
                return [self.text_rows[self.texts.matching(bound)[self.codes]]]
            case Op.GEO if isinstance(bound, Circle):
                metres = metres_between(self.lats, self.lons, bound.centre)
                return [self.place_rows[metres <= bound.metres]]
            case Op.GT | Op.GTE | Op.LT | Op.LTE as op if isinstance(bound, str):
                return [self.text_rows[self.texts.in_order(ORDER[op], bound)[self.codes]]]
            case Op.GT | Op.GTE | Op.LT | Op.LTE as op if is_number(bound):
                return [self.number_rows[self._compared(ORDER[op], bound)]]
        return []

    def counts(self, mask: Mask) -> list[tuple[Value, int]]:
        """Every text, number and boolean that a row in the mask says, and how many of them do."""
        texts = self.texts.by_code()
        return [
            *((texts[code], n) for code, n in _code_counts(self.codes[mask[self.text_rows]])),
            *((_whole(number), n) for number, n in self._number_counts(mask)),
            *((flag, n) for flag, n in _counts(self.flags[mask[self.flag_rows]])),
        ]

    def items(self, mask: Mask) -> int:
        """How many of the rows in the mask say anything."""
        says = np.zeros(len(mask), bool)
        for rows in (self.text_rows, self.number_rows, self.flag_rows, self.place_rows):
            says[rows] = True
        return int(np.count_nonzero(says & mask))

    def _number_counts(self, mask: Mask) -> list[tuple[float, int]]:
        if not self.exact:
            return _counts(self.numbers[mask[self.number_rows]])
        chosen = np.flatnonzero(mask[self.number_rows])
        return list(Counter(map(self._number, chosen.tolist())).items())

    def _same(self, bounds: Sequence[object]) -> list[Numbers]:
        """Rows that say one of these."""
        texts = [
            self.texts.codes[b] for b in bounds if isinstance(b, str) and b in self.texts.codes
        ]
        numbers: list[Any] = [bound for bound in bounds if is_number(bound)]
        flags = [bound for bound in bounds if isinstance(bound, bool)]
        return [
            self.text_rows[self._coded(texts)],
            self.number_rows[self._equal(numbers)],
            *(self.flag_rows[self.flags == flag] for flag in flags),
        ]

    def _other(self, bound: object) -> list[Numbers]:
        """Rows that say something else, be it besides."""
        rows = [self.text_rows, self.number_rows, self.flag_rows, self.place_rows]
        if isinstance(bound, str):
            rows[0] = self.text_rows[self.codes != self.texts.codes.get(bound, -1)]
        elif isinstance(bound, bool):
            rows[2] = self.flag_rows[self.flags != bound]
        elif is_number(bound):
            rows[1] = self.number_rows[~self._equal([bound])]
        return rows

    def _coded(self, wanted: Sequence[int]) -> Mask:
        """Texts that are one of these. A table looks many up faster than a search would."""
        if len(wanted) == 1:
            return _among(self.codes, wanted)
        table = np.zeros(len(self.texts.by_code()), bool)
        table[list(wanted)] = True
        mask: Mask = table[self.codes]
        return mask

    # Rounding keeps the order, so numbers may only be judged wrongly that are the same as floats.

    def _compared(self, compare: Callable[[Any, Any], Any], bound: Any) -> Mask:
        near = rounded(bound)
        mask: Mask = compare(self.numbers, near)
        if self.exact or near != bound:
            for position in np.flatnonzero(self.numbers == near).tolist():
                mask[position] = compare(self._number(position), bound)
        return mask

    def _equal(self, bounds: Sequence[Any]) -> Mask:
        near = [rounded(bound) for bound in bounds]
        mask = _among(self.numbers, near)
        if self.exact or near != bounds:
            for position in np.flatnonzero(mask).tolist():
                mask[position] = self._number(position) in bounds
        return mask

    def _number(self, position: int) -> float:
        return self.exact.get(position, float(self.numbers[position]))


def _counts(values: Numbers) -> list[tuple[Any, int]]:
    distinct, counts = np.unique(values, return_counts=True)
    return list(zip(distinct.tolist(), counts.tolist(), strict=True))


def _code_counts(codes: Numbers) -> list[tuple[int, int]]:
    counts = np.bincount(codes)
    said = np.flatnonzero(counts)
    return list(zip(said.tolist(), counts[said].tolist(), strict=True))


def _distinct(values: Sequence[Any]) -> list[Any]:
    """True is not 1."""
    return list({(type(value) is bool, value): value for value in values}.values())


def _whole(number: float) -> float:
    """2020.0 as 2020: whether a number came with a point is not kept."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _among(values: Numbers, wanted: Sequence[float]) -> Mask:
    if not wanted:
        return np.zeros(len(values), bool)
    mask: Mask = values == wanted[0] if len(wanted) == 1 else np.isin(values, wanted)
    return mask


def rounded(number: Any) -> float:
    """The nearest float; infinity where a whole number has none."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


@dataclass(slots=True, eq=False)
class ColumnBuilder:
    """Takes in what rows say under one name."""

    texts: Texts = field(default_factory=Texts)
    text_rows: Growing = field(default_factory=lambda: Growing(np.int32))
    codes: Growing = field(default_factory=lambda: Growing(np.int32))
    number_rows: Growing = field(default_factory=lambda: Growing(np.int32))
    numbers: Growing = field(default_factory=lambda: Growing(np.float64))
    exact: dict[int, int] = field(default_factory=dict)
    flag_rows: Growing = field(default_factory=lambda: Growing(np.int32))
    flags: Growing = field(default_factory=lambda: Growing(np.bool_))
    place_rows: Growing = field(default_factory=lambda: Growing(np.int32))
    lats: Growing = field(default_factory=lambda: Growing(np.float64))
    lons: Growing = field(default_factory=lambda: Growing(np.float64))

    def extend(self, rows: Sequence[int], values: Sequence[Any]) -> None:
        """One value a row, as metadata is stored: text, number, boolean, {"lat", "lon"}, or a list
        of the former, of which each counts once."""
        kinds = set(map(type, values))
        if list in kinds:
            flat = [
                (row, one)
                for row, value in zip(rows, values, strict=True)
                for one in (_distinct(value) if type(value) is list else (value,))
            ]
            rows, values = [row for row, _ in flat], [one for _, one in flat]
            kinds = set(map(type, values))
        for kind in kinds:
            if len(kinds) == 1:
                self._extend(kind, rows, values)
            else:
                some = [n for n, value in enumerate(values) if type(value) is kind]
                self._extend(kind, [rows[n] for n in some], [values[n] for n in some])

    def _extend(self, kind: type, rows: Sequence[int], values: Sequence[Any]) -> None:
        if kind is str:
            self.text_rows.extend(rows)
            self.codes.extend(self.texts.encode(values))
        elif kind is bool:
            self.flag_rows.extend(rows)
            self.flags.extend(values)
        elif kind is dict:
            self.place_rows.extend(rows)
            self.lats.extend([place["lat"] for place in values])
            self.lons.extend([place["lon"] for place in values])
        else:
            self._extend_numbers(kind, rows, values)

    def _extend_numbers(self, kind: type, rows: Sequence[int], values: Sequence[Any]) -> None:
        if kind is int:
            near = [rounded(value) for value in values]
            start = len(self.numbers)
            self.exact.update(
                (start + n, value)
                for n, (value, other) in enumerate(zip(values, near, strict=True))
                if value != other
            )
            values = near
        self.number_rows.extend(rows)
        self.numbers.extend(values)

    def seen(self) -> Column:
        return Column(
            texts=self.texts,
            text_rows=self.text_rows.seen(),
            codes=self.codes.seen(),
            number_rows=self.number_rows.seen(),
            numbers=self.numbers.seen(),
            exact=self.exact,
            flag_rows=self.flag_rows.seen(),
            flags=self.flags.seen(),
            place_rows=self.place_rows.seen(),
            lats=self.lats.seen(),
            lons=self.lons.seen(),
        )
