"""What some towers do to a text before their tokenizer, by the names that open_clip has for it.

Encodings are mended, HTML entities read (twice, as many texts are escaped twice), white space made
one blank; then, as a tower was trained, lower case, or lower case without punctuation.
"""

from __future__ import annotations

import html
import string
from collections.abc import Callable, Mapping
from typing import Literal

import ftfy

Cleaning = Literal["none", "whitespace", "lower", "canonicalize"]

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def clean(text: str, cleaning: Cleaning) -> str:
    """`text` as the tokenizer gets it."""
    return _CLEAN[cleaning](text)


def _whitespace(text: str) -> str:
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


def _lower(text: str) -> str:
    return _whitespace(text).lower()


def _canonical(text: str) -> str:
    """As big_vision, SigLIP's home, has it."""
    return " ".join(_whitespace(text).replace("_", " ").translate(_NO_PUNCTUATION).lower().split())


_CLEAN: Mapping[Cleaning, Callable[[str], str]] = {
    "none": str,
    "whitespace": _whitespace,
    "lower": _lower,
    "canonicalize": _canonical,
}
