"""The text half of the built-in space: all-MiniLM-L6-v2, mean over tokens, L2.

Reimers & Gurevych, Sentence-BERT (2019); Wang et al., MiniLM (2020). 384-d, the sentence space
that everything else is bound into. It knows nothing of pictures, nor where its files come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from embed.backends.onnx_runtime.session import open_session
from embed.backends.tower import Rows, TextEncoder, text_of
from embed.errors import BadInput, TooLarge
from embed.media.text import chunk_spans, token_offsets
from embed.types import CharSpan, Floats, Media

MAX_TOKENS = 256  # what the model was trained to read, its two special tokens included
SPECIAL_TOKENS = 2
CHUNK = 200  # room for a word cut at a chunk's edge to split into more tokens
OVERLAP = 40
TOKENS_PER_RUN = 2048  # bounds the memory of one run


class BuiltinText(TextEncoder[list[int]]):
    """Texts to mean vectors."""

    def __init__(self, graph: Path, tokenizer: Path, threads: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._session = open_session(graph, threads=threads, optimise=False)

    def count_tokens(self, text: str) -> int:
        """Tokens of `text`, special ones included, however long it is."""
        return SPECIAL_TOKENS + len(self._offsets(text))

    def spans(self, text: str) -> Iterator[CharSpan | None]:
        """The pieces of `text` that get a vector each; None alone where it fits as it is."""
        offsets = self._offsets(text)
        if len(offsets) + SPECIAL_TOKENS <= MAX_TOKENS:
            yield None
        else:
            yield from chunk_spans(offsets, size=CHUNK, overlap=OVERLAP)

    def _offsets(self, text: str) -> NDArray[np.int64]:
        """`(N, 2)`: where each token begins and ends, special ones left out."""
        return token_offsets(text, lambda part: self._encode(part).offsets[1:-1])

    def prepare(self, piece: Media) -> list[int]:
        """Raises BadInput for a text without a word, TooLarge for one of over 256 tokens."""
        text = text_of(piece)
        ids = self._encode(text).ids
        if len(ids) <= SPECIAL_TOKENS:
            raise BadInput(f"the text {text[:40]!r} has no words to embed: send at least one")
        if len(ids) > MAX_TOKENS:
            raise TooLarge(
                f"the text has {len(ids)} tokens and one vector reads {MAX_TOKENS}: shorten it, "
                "or cut it into pieces with fragment()"
            )
        return ids

    def run(self, batch: Sequence[list[int]]) -> Rows:
        """`(N, 384)`; a text's row is bit-identical in every batch."""
        by_length: dict[int, list[int]] = {}
        for row, ids in enumerate(batch):
            by_length.setdefault(len(ids), []).append(row)
        means = np.empty((len(batch), 384), np.float32)
        # Only texts of one length share a run: padding would change the rounding of a row.
        for length, rows in by_length.items():
            step = max(1, TOKENS_PER_RUN // length)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                means[part] = self._run(np.array([batch[row] for row in part], np.int64))
        return Rows(means)

    def _run(self, ids: NDArray[np.int64]) -> Floats:
        (means,) = self._session.run(["mean"], {"ids": ids})
        result: Floats = means
        return result

    def _encode(self, text: str) -> Encoding:
        try:
            return self._tokenizer.encode(text)
        except TypeError as error:  # the tokenizer's word for half a surrogate pair
            raise BadInput(
                f"the text {text[:40]!r} is not valid Unicode: it holds half a surrogate pair"
            ) from error
