"""Words to token ids, as a `TextRecipe` says, and long texts to passages that fit.

Nothing is ever cut off in silence: a text over the limit is refused by `encode`, and `spans` says
into which passages it falls. It knows no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer, normalizers

from embed.backends.cleaning import clean
from embed.backends.recipes import TextRecipe
from embed.errors import BadInput, MissingWeights, TooLarge
from embed.media.text import chunk_spans, token_offsets
from embed.types import CharSpan

FILL = 0.8  # of the room for words that a passage takes: one cut inside a word splits into more
OVERLAP = 0.2  # of a passage, shared with the one before
CALL = 16
"""What a call of a text network costs beside its tokens, in tokens: it reads all weights once.
Measured with ViT-B/32, on one core: 16 in fp32, 19 in bf16."""

Ids = NDArray[np.int64]


class Words:
    """A tokenizer with its limits. Safe to call from several threads."""

    def __init__(self, recipe: TextRecipe, folder: Path) -> None:
        """Raises MissingWeights where `folder` holds no such tokenizer file."""
        self.recipe = recipe
        self._tokenizer = _open(folder / recipe.tokenizer)
        if recipe.lowercase:
            steps = [normalizers.Lowercase(), self._tokenizer.normalizer]
            self._tokenizer.normalizer = normalizers.Sequence([step for step in steps if step])
        self._special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._prefix = len(self._encode(recipe.prefix, special=False).ids) if recipe.prefix else 0

    @property
    def room(self) -> int:
        """Tokens for words, beside the special ones and the prefix."""
        return self.recipe.max_tokens - self._special - self._prefix

    def padded_with(self, token: str | None, otherwise: int) -> Words:
        """The same, padding with the id of `token`, or with `otherwise` where it has none."""
        found = self._tokenizer.token_to_id(token) if token else None
        other = copy(self)
        other.recipe = replace(self.recipe, pad_id=otherwise if found is None else found)
        return other

    def save(self, path: Path) -> None:
        """Writes the tokenizer as a JSON file that `Words` reads."""
        self._tokenizer.save(str(path))

    def encode(self, text: str) -> list[int]:
        """Ids, special ones included.

        Raises BadInput for a text without a word, TooLarge for one over `max_tokens`.
        """
        ids = self._encode(self.recipe.prefix + text).ids
        if len(ids) <= self._special + self._prefix:
            raise BadInput(f"the text {text[:40]!r} has no words to embed: send at least one")
        if len(ids) > self.recipe.max_tokens:
            raise TooLarge(
                f"the text has {len(ids)} tokens and one vector reads {self.recipe.max_tokens}: "
                "shorten it, or cut it into pieces with fragment()"
            )
        return ids

    def pad(self, batch: Sequence[Sequence[int]]) -> tuple[Ids, Ids]:
        """N lists of ids to `(N, L)` ids and their mask: 1 for a token, 0 for padding."""
        longest = max(map(len, batch))
        length = longest if self.recipe.padding == "longest" else self.recipe.max_tokens
        ids = np.full((len(batch), length), self.recipe.pad_id, np.int64)
        mask = np.zeros((len(batch), length), np.int64)
        for row, tokens in enumerate(batch):
            start = length - len(tokens) if self.recipe.pad_left else 0
            ids[row, start : start + len(tokens)] = tokens
            mask[row, start : start + len(tokens)] = 1
        return ids, mask

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`, special ones and prefix included, however long it is."""
        return len(self._offsets(text)) + self._special + self._prefix

    def spans(self, text: str) -> Iterator[CharSpan | None]:
        """The passages of `text` that get a vector each; None alone where it fits as it is."""
        offsets = self._offsets(text)
        if len(offsets) <= self.room and self._fits(text):
            yield None
            return
        size, overlap = self._window()
        for span in chunk_spans(offsets, size=size, overlap=overlap):
            yield from self._fitting(text, span)

    def _window(self) -> tuple[int, int]:
        size = max(1, int(self.room * FILL))
        return size, int(size * OVERLAP)

    def _fitting(self, text: str, span: CharSpan) -> Iterator[CharSpan]:
        """The span, halved while its words, read on their own, are too many tokens."""
        passage = text[span.start : span.end]
        if not clean(passage, self.recipe.clean).strip():  # a line of dashes, to some towers
            return
        if len(passage) < 2 or self._fits(passage):
            yield span
            return
        middle = (span.start + span.end) // 2
        yield from self._fitting(text, CharSpan(span.start, middle))
        yield from self._fitting(text, CharSpan(middle, span.end))

    def _fits(self, text: str) -> bool:
        return len(self._encode(self.recipe.prefix + text).ids) <= self.recipe.max_tokens

    def _offsets(self, text: str) -> Ids:
        """`(N, 2)`: where each token begins and ends."""
        return token_offsets(text, lambda part: self._encode(part, special=False).offsets)

    def _encode(self, text: str, *, special: bool = True) -> Encoding:
        try:
            if special:
                text = clean(text, self.recipe.clean)
            return self._tokenizer.encode(text, add_special_tokens=special)
        except TypeError as error:  # the tokenizer's word for half a surrogate pair
            raise BadInput(
                f"the text {text[:40]!r} is not valid Unicode: it holds half a surrogate pair"
            ) from error


def by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in groups of near length, so that padded tokens and calls together cost least.

    The groups are runs of the rows sorted by length, found by dynamic programming over where the
    last one begins.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    best = [(0, 0)]
    for end in range(1, len(order) + 1):
        longest = lengths[order[end - 1]]
        best.append(
            min((best[start][0] + CALL + longest * (end - start), start) for start in range(end))
        )
    groups, end = [], len(order)
    while end:
        start = best[end][1]
        groups.append(order[start:end])
        end = start
    return groups


def chunker_of(recipe: TextRecipe) -> str:
    """Names how `Words.spans` cuts, for `Tower.chunker`."""
    return f"tokens-{recipe.max_tokens}-{FILL}-{OVERLAP}"


def _open(path: Path) -> Tokenizer:
    if not path.is_file():
        raise MissingWeights(f"there is no tokenizer at {path}: the folder needs that file")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise MissingWeights(f"{path} is no tokenizer that can be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
