from __future__ import annotations

import csv
import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed.errors import CorruptMedia, TooLarge
from embed.media import compose
from embed.media.tables import (
    looks_like_json,
    looks_like_json_lines,
    looks_like_table,
    read_json,
    read_json_lines,
    read_table,
)
from embed.types import Media

CELLS = st.characters(codec="utf-8", exclude_characters="\0;\t|")


def rows(media: Media) -> list[str]:
    assert isinstance(media.data, str)
    return [media.data[section.start : section.end] for section in media.sections]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            "name,town\nAda,London\n\nJörg,Köln\n",
            ["name: Ada, town: London", "name: Jörg, town: Köln"],
        ),
        ("a;b\n1,5;2\n3;4\n", ["a: 1,5, b: 2", "a: 3, b: 4"]),
        ("a\tb\n1\t2\n", ["a: 1, b: 2"]),
        ("a|b\n1|2\n", ["a: 1, b: 2"]),
        ('q,w\n"say ""hi"", he said","two\nlines"\n', ['q: say "hi", he said, w: two\nlines']),
        ("a,b\r\n1\r\n1,2,3,4\r\n,\r\n5,6\r\n", ["a: 1", "a: 1, b: 2, 3, 4", "a: 5, b: 6"]),
        ("1,2\n3,4\n", ["1, 2", "3, 4"]),
        ("x,x\n1,2\n", ["x, x", "1, 2"]),
        ("word\nsea\nsky\n", ["word: sea", "word: sky"]),
        ("head,only\n", ["head, only"]),
        (" a , b \n 1 , 2 \n", ["a: 1, b: 2"]),
    ],
)
def test_rows_of_a_table(table: str, expected: list[str]) -> None:
    assert looks_like_table(table)
    assert rows(read_table(table.encode(), "t.csv")) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_no_part_of_the_first_name(encoding: str) -> None:
    assert rows(read_table("a,b\n1,2\n".encode(encoding), "t")) == ["a: 1, b: 2"]


def test_sections_are_separate_and_count_characters() -> None:
    media = read_table("a,b\n🦊,2\n3,4\n".encode(), "t")
    assert media.data == "a: 🦊, b: 2\na: 3, b: 4"
    assert [section[:2] for section in media.sections] == [(0, 10), (11, 21)]


def test_prose_is_no_table() -> None:
    assert not looks_like_table("Dear all,\nthis is, well, prose.\nNothing, and, so, on\nend")
    assert not looks_like_table("")


def test_a_quotation_mark_that_never_closes() -> None:
    table = 'a,b\n1,2\n"' + "x,y\n" * 100_000
    with pytest.raises(CorruptMedia, match=r"t\.csv is no table from line [\d,]+ on.*quotation"):
        read_table(table.encode(), "t.csv")


def test_the_field_limit_of_the_process_is_left_alone() -> None:
    before = csv.field_size_limit()
    read_table(b"a,b\n1,2\n", "t")
    assert csv.field_size_limit() == before


def test_a_long_header_before_many_rows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "MAX_CHARACTERS", 10_000)
    table = "name" * 100 + ",b\n" + "1,2\n" * 100
    with pytest.raises(TooLarge, match=r"t\.csv holds more than 10,000 characters.*split it"):
        read_table(table.encode(), "t.csv")


def test_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "MAX_SECTIONS", 3)
    assert len(rows(read_table(b"a,b\n" + b"1,2\n" * 3, "t"))) == 3
    with pytest.raises(TooLarge, match="more than 3 rows"):
        read_table(b"a,b\n" + b"1,2\n" * 4, "t")


@given(
    st.lists(
        st.lists(st.text(CELLS, max_size=9), max_size=5),
        min_size=1,
        max_size=8,
    )
)
def test_every_cell_that_says_something_is_kept(table: list[list[str]]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([["n1", "n2"], *table])
    text = read_table(buffer.getvalue().encode(), "t").data
    assert isinstance(text, str)
    assert all(cell.strip() in text for row in table for cell in row)


def test_an_object_is_a_line_a_name() -> None:
    value = {
        "a": 1.50,
        "b": {"c": [1, 2, "x"], "d": None},
        "e": [{"f": True}, {"f": False}],
        "g": "",
    }
    media = read_json(json.dumps(value).encode(), "t.json")
    assert media.data == "a: 1.5\nb c: 1, 2, x\ne f: true\ne f: false"
    assert media.sections == ()


def test_a_list_of_objects_is_a_section_a_row() -> None:
    media = read_json(b'[{"a": 1.50, "b": "x"}, {"a": 2}, {}, "loose"]', "t.json")
    assert rows(media) == ["a: 1.50\nb: x", "a: 2", "loose"]


def test_a_list_of_words_is_one_text() -> None:
    media = read_json(b'["one", "two", ["three"]]', "t.json")
    assert (media.data, media.sections) == ("one, two\nthree", ())


def test_numbers_are_kept_as_written() -> None:
    digits = "9" * 5000
    assert read_json(f'{{"n": {digits}, "x": 1e999, "y": NaN}}'.encode(), "t").data == (
        f"n: {digits}\nx: 1e999\ny: NaN"
    )


def test_halves_of_characters_and_nul_are_replaced_one_for_one() -> None:
    media = read_json(b'[{"a": "\\ud800\\u0000x"}, {"b": "\\ud83e\\udd8a"}]', "t")
    assert rows(media) == ["a: ? x", "b: 🦊"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1,\n "b" 2}', r"t is broken JSON at line 2, column 6 .*name it \.txt"),
        (b'{"a": [1, 2', "broken JSON at line 1"),
        (b"[" * 100_000 + b"]" * 100_000, "nested"),
        (b'{"a":' * 150 + b"1" + b"}" * 150, "nested deeper than 100"),
        (b"[" * 150 + b"1" + b"]" * 150, "nested deeper than 100"),
        (b"{}", "holds no text"),
        (b'[null, {"a": ""}]', "holds no text"),
        (b'{"a": "\xff"}', "not valid UTF-8"),
    ],
)
def test_broken_json_says_where(data: bytes, message: str) -> None:
    with pytest.raises(CorruptMedia, match=message):
        read_json(data, "t")


def test_long_names_before_many_values_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "MAX_CHARACTERS", 10_000)
    value = {"long" * 100: {str(number): 1 for number in range(100)}}
    with pytest.raises(TooLarge, match="more than 10,000 characters"):
        read_json(json.dumps(value).encode(), "t")


def test_json_lines() -> None:
    media = read_json_lines('{"a": 1}\r\n\n{"b": "line\u2028break"}\n[3]'.encode(), "t.jsonl")
    assert rows(media) == ["a: 1", "b: line\u2028break", "3"]


@pytest.mark.parametrize("line", ["{'a': 1}", '{"a": ', "[" * sys.getrecursionlimit() * 9])
def test_a_broken_line_is_named(line: str) -> None:
    with pytest.raises(CorruptMedia, match=r"t is broken at line 3, .*name it \.txt"):
        read_json_lines(f'{{"a": 1}}\n\n{line}\n{{"b": 2}}'.encode(), "t")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (' \n{"a": 1}', (True, True)),
        ("[1]", (True, True)),
        ("{\n}", (True, False)),
        ("5\n6", (False, False)),
        ("words", (False, False)),
        ("[" * 99_999, (True, False)),
        ("", (False, False)),
    ],
)
def test_what_begins_like_json(text: str, expected: tuple[bool, bool]) -> None:
    assert (looks_like_json(text), looks_like_json_lines(text)) == expected
