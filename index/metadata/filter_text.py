"""Filters as people write them: `year >= 2020 and (camera = "X100" or tag in ("sea", "boat"))`.

    any     = all { "or" all }
    all     = one { "and" one }
    one     = "not" one | "(" any ")" | "true" | "false" | call | field test
    call    = has(text) | exists(field) | match(field, "words") | near(field, lat, lon, metres)
    test    = ("=" | "!=" | "<" | "<=" | ">" | ">=") value
            | ["not"] "in" "(" value, ... ")" | "between" value "and" value
    value   = "text" | 'text' | number | true | false
    field   = a name of letters, digits, _ . : -, or any other in backticks

It knows no meaning: that is `filters.py`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import NamedTuple

from embed.errors import InvalidQuery
from embed.types import Modality
from index.metadata.bounds import CHARACTERS, Circle, Op, Value, check_value, shown
from index.metadata.filters import DEPTH, And, Filter, Has, Not, Or, Predicate, check_size

_TOKENS = re.compile(
    r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
  | (?P<number>[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?(?![\w.]))
  | (?P<word>[^\W\d][\w.:-]*|@[\w.:-]+)
  | (?P<name>`[^`]+`)
  | (?P<sign><=|>=|!=|<>|==|[=<>(),])
  | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_SIGNS = {Op.EQ: "=", Op.NE: "!=", Op.LT: "<", Op.LTE: "<=", Op.GT: ">", Op.GTE: ">="}
_OPS = {"==": Op.EQ, "<>": Op.NE} | {sign: op for op, sign in _SIGNS.items()}
_KEYWORDS = {"and", "or", "not", "in", "between", "true", "false"}
_CALLS = {"has", "exists", "match", "near"}
_PLAIN = re.compile(r"[^\W\d][\w.:-]*|@[\w.:-]+")
_TESTS = "=, !=, <, <=, >, >=, in (...), not in (...), between ... and ..."


def parse_filter(text: str) -> Filter:
    """By this grammar, words like `and` in any case. Raises InvalidQuery that shows the place."""
    if len(text) > CHARACTERS:
        raise InvalidQuery(f"filter has more than {CHARACTERS:,} characters", param="filter")
    parser = _Parser(text, _split(text))
    f = parser.any(1)
    parser.expect("end", "and, or, or the end")
    check_size(f)
    return f


def filter_to_text(f: Filter) -> str:
    """What `parse_filter` reads as the same; the very same tree when it came from there."""
    match f:
        case Predicate(field, op, value):
            return _predicate_to_text(_name(field), op, value)
        case Has(modality):
            return f"has({modality.value})"
        case And(()):
            return "true"
        case Or(()):
            return "false"
        case And(parts):
            return " and ".join(_part(part) for part in parts)
        case Or(parts):
            return " or ".join(_part(part) for part in parts)
        case Not(part):
            return f"not {_part(part)}"


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def _split(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while not tokens or tokens[-1].kind != "end":
        found = _TOKENS.match(text, at)
        if found is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise _wrong(
                text,
                at,
                f"{shown(text[at : at + 12])} begins nothing we know: text stands between quotes, "
                "a name with other signs between `backticks`",
            )
        kind = found.lastgroup or "end"
        tokens.append(_Token(kind, found[kind], found.start(kind)))
        at = found.end()
    return tokens


def _wrong(text: str, at: int, problem: str) -> InvalidQuery:
    """Shows the line at fault, at most 72 characters of it, and a caret below the place."""
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    line = text[start : end if end >= 0 else len(text)]
    cut = max(0, at - start - 36)
    window = "".join(char if char.isprintable() else " " for char in line[cut : cut + 72])
    caret = " " * (at - start - cut) + "^"
    return InvalidQuery(
        f"filter, at character {at + 1}: {problem}\n  {window}\n  {caret}", param="filter"
    )


@dataclass(slots=True)
class _Parser:
    """One method a rule of the grammar, as deep as the filter is nested."""

    text: str
    tokens: list[_Token]
    next: int = 0

    def any(self, depth: int) -> Filter:
        parts = [self.all(depth)]
        while self.take("or"):
            parts.append(self.all(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def all(self, depth: int) -> Filter:
        parts = [self.one(depth)]
        while self.take("and"):
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def one(self, depth: int) -> Filter:
        if depth > DEPTH:
            raise self.wrong(f"more than {DEPTH} parts deep: use fewer brackets")
        if self.take("not"):
            return Not(self.one(depth + 1))
        if self.take("("):
            inside = self.any(depth + 1)
            self.expect(")", "and, or, or ')'")
            return inside
        if self.take("true"):
            return And(())
        if self.take("false"):
            return Or(())
        if self.peek.text.lower() in _CALLS and self.tokens[self.next + 1].text == "(":
            return self.call()
        return self.test(self.field())

    def call(self) -> Filter:
        word = self.advance().text.lower()
        self.expect("(", "'('")
        f = self.has() if word == "has" else self.asked(word)
        self.expect(")", "')'")
        return f

    def has(self) -> Filter:
        token = self.peek
        name = token.text.strip("\"'").lower()
        if name not in list(Modality):
            raise self.wrong(
                f"no medium is called {shown(name)}; the choices are: {', '.join(Modality)}"
            )
        self.advance()
        return Has(Modality(name))

    def asked(self, word: str) -> Filter:
        field = self.field()
        if word == "exists":
            return Predicate(field, Op.EXISTS)
        self.expect(",", "','")
        if word == "match":
            return self.predicate(field, Op.MATCH, self.peek, self.value())
        start, numbers = self.peek, [self.value()]
        for _ in range(2):
            self.expect(",", "',': near takes a field, lat, lon, metres")
            numbers.append(self.value())
        place = dict(zip(("lat", "lon", "metres"), numbers, strict=True))
        return self.predicate(field, Op.GEO, start, place)

    def test(self, field: str) -> Filter:
        token = self.peek
        if token.text in _OPS:
            self.advance()
            return self.predicate(field, _OPS[token.text], self.peek, self.value())
        if self.take("between"):
            low = self.predicate(field, Op.GTE, self.peek, self.value())
            self.expect("and", "and, as in: year between 2020 and 2024")
            return And((low, self.predicate(field, Op.LTE, self.peek, self.value())))
        if self.take("not"):
            self.expect("in", "in")
            return Not(self.predicate(field, Op.IN, self.peek, self.values()))
        if self.take("in"):
            return self.predicate(field, Op.IN, self.peek, self.values())
        raise self.wrong(f"after the field {shown(field)} one of these is wanted: {_TESTS}")

    def predicate(self, field: str, op: Op, token: _Token, value: object) -> Predicate:
        try:
            return Predicate(field, op, check_value(op, value))
        except InvalidQuery as error:
            raise _wrong(self.text, token.at, error.message.removeprefix("filter ")) from None

    def values(self) -> list[Value]:
        self.expect("(", "'(' and a list")
        values = [self.value()]
        while self.take(","):
            values.append(self.value())
        self.expect(")", "',' or ')'")
        return values

    def field(self) -> str:
        token = self.peek
        if token.kind == "name":
            return self.advance().text[1:-1]
        if token.kind != "word" or token.text.lower() in _KEYWORDS:
            raise self.wrong("a field is wanted, or not, '(', has(...), exists, match, near")
        return self.advance().text

    def value(self) -> Value:
        token = self.peek
        match token.kind, token.text.lower():
            case "text", _:
                value: Value = self.string(token.text)
            case "number", digits:
                value = float(digits) if re.search(r"[.e]", digits) else int(digits)
            case "word", "true" | "false" as word:
                value = word == "true"
            case _:
                raise self.wrong('a value is wanted: "text" in quotes, a number, true or false')
        self.advance()
        return value

    def string(self, quoted: str) -> str:
        """As in JSON, between single quotes too, and over several lines."""
        inside = quoted[1:-1]
        if quoted[0] == "'":
            inside = re.sub(
                r"\\.|\"",
                lambda m: {"\\'": "'", '"': '\\"'}.get(m[0], m[0]),
                inside,
                flags=re.DOTALL,
            )
        try:
            return str(json.loads(f'"{inside}"', strict=False))
        except ValueError:
            raise self.wrong("this has an escape that JSON has not; write \\\\ for \\") from None

    @property
    def peek(self) -> _Token:
        return self.tokens[self.next]

    def advance(self) -> _Token:
        self.next += 1
        return self.tokens[self.next - 1]

    def take(self, text: str) -> bool:
        """Passes over a sign or a word, if it comes next."""
        token = self.peek
        found = token.kind in {"sign", "word"} and token.text.lower() == text
        self.next += found
        return found

    def expect(self, text: str, wanted: str) -> None:
        if not (self.peek.kind == text == "end" or self.take(text)):
            raise self.wrong(f"{wanted} is wanted")

    def wrong(self, problem: str) -> InvalidQuery:
        token = self.peek
        here = "the end" if token.kind == "end" else shown(token.text)
        return _wrong(self.text, token.at, f"{problem}; here is {here}")


def _predicate_to_text(name: str, op: Op, value: object) -> str:
    match op, value:
        case Op.EXISTS, _:
            return f"exists({name})"
        case Op.MATCH, _:
            return f"match({name}, {_value(value)})"
        case Op.GEO, Circle(centre, metres):
            return f"near({name}, {centre.lat!r}, {centre.lon!r}, {metres!r})"
        case Op.IN, ():
            return "false"
        case Op.IN, tuple(values):
            return f"{name} in ({', '.join(map(_value, values))})"
    return f"{name} {_SIGNS[op]} {_value(value)}"


def _part(f: Filter) -> str:
    text = filter_to_text(f)
    return f"({text})" if isinstance(f, And | Or) and f.parts else text


def _name(field: str) -> str:
    plain = _PLAIN.fullmatch(field) and field.lower() not in _KEYWORDS | _CALLS
    return field if plain else f"`{field}`"


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
