"""CLIP's words to token ids: the byte-pair vocabulary that comes with the open_clip package.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision (2021),
2.4: lower-cased byte-level pairs, 49,408 in all. A text is cleaned (broken encodings mended, HTML
entities read, white space made one blank), cut into words, and each word's bytes are merged.
The same ids as `open_clip.tokenize`, but for its `<start_of_text>` and `<end_of_text>` written in
a text: here they are words like any other, so that a text cannot end itself.

It knows no network. open_clip itself is not imported.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from embed.backends.recipes import TextRecipe
from embed.backends.words import Words
from embed.errors import MissingDependency
from embed.weights import store
from embed.weights.folder import digest_of

START, END = "<start_of_text>", "<end_of_text>"
WORD_END = "</w>"
MERGES = 49_152 - 256 - 2
TOKENIZER = "tokenizer.json"
VERSION = "1"  # raise it when the file is written otherwise
RECIPE = TextRecipe(
    tokenizer=TOKENIZER, max_tokens=77, padding="longest", mask=False, clean="lower"
)

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


def clip_words(cache: Path) -> Words:
    """Raises MissingDependency without open_clip's file, and what `store.derived` raises."""
    return Words(RECIPE, tokenizer_folder(cache))


def tokenizer_folder(cache: Path) -> Path:
    """A folder in `cache` that holds the tokenizer as one JSON file, written once."""
    source = vocabulary_file()
    key = store.fingerprint([], VERSION, digest_of(source, cache))
    return store.derived(
        cache, "clip-bpe", key, lambda folder: _tokenizer(source).save(str(folder / TOKENIZER))
    )


def vocabulary_file() -> Path:
    """Raises MissingDependency."""
    spec = importlib.util.find_spec("open_clip")
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0], "bpe_simple_vocab_16e6.txt.gz") if folders else None
    if path is None or not path.is_file():
        raise MissingDependency(
            "CLIP's vocabulary comes with open_clip, which is not installed: "
            "pip install open-clip-torch"
        )
    return path


def _tokenizer(source: Path) -> Tokenizer:
    lines = gzip.decompress(source.read_bytes()).decode("utf-8").split("\n")[1 : MERGES + 1]
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    letters = _letters()
    tokens = [*letters, *(letter + WORD_END for letter in letters), *map("".join, merges)]
    ids = {token: number for number, token in enumerate([*tokens, START, END])}
    tokenizer = Tokenizer(models.BPE(ids, merges, end_of_word_suffix=WORD_END))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(name, ids[name]) for name in (START, END)]
    )
    return tokenizer


def _letters() -> list[str]:
    """A printable letter for each of the 256 bytes, in the order of their ids.

    Bytes that Latin-1 can print are themselves; the others, in order, are U+0100 and on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    return [chr(number) for number in (*printable, *range(0x100, 0x100 + others))]
