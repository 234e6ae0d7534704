# ruff: noqa: RUF001 (letters of many alphabets are the point)
"""CLIP's tokenizer against open_clip's own."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from embed.backends.cleaning import clean
from embed.backends.openclip import clip_bpe
from embed.backends.openclip.clip_bpe import clip_words, vocabulary_file
from embed.backends.words import Words
from embed.errors import BadInput, MissingDependency, TooLarge

TEXTS = [
    "a photo of a cat",
    "  A   Photo\tOF\n a\r\ncat ",
    "it's we're I'LL they'd can't DON'T ’s “quoted”",
    "2023-06-01 3.14 1,000,000 v2.0",
    "Zürich, München und Besançon: naïve façades",
    "Привет, мир! Γειά σου Κόσμε ΟΔΟΣ İstanbul",
    "日本語のテキスト 中文文本 한국어 텍스트 ภาษาไทย हिन्दी क़लम",
    "😀😃 👨‍👩‍👧‍👦 🇩🇪 👍🏽",
    "fish &amp; chips &lt;b&gt; &amp;lt;i&amp;gt; &eacute; &#233; &nbsp;x",
    "schÃ¶n â€œmojibakeâ€\x9d Ã©tÃ©",
    "ﬁne ｆｕｌｌ ﾊﾝｶｸ ½ № ™ ſtraße",
    "a-b_c/d\\e@f#g$h%i^j&k*l(m)n+o=p~q`r|s",
    "!!!???...----====",
    "zero\u200bwidth soft\u00adhyphen \ufeffbom nbsp\u00a0here",
    "x" * 40,
]


@pytest.fixture(scope="module")
def words(model_cache: Path) -> Words:
    return clip_words(model_cache)


def theirs(texts: list[str]) -> list[list[int]]:
    import open_clip

    rows = open_clip.tokenize(texts).numpy()
    return [row[: int(row.argmax()) + 1].tolist() for row in rows]


def random_text(rng: random.Random) -> str:
    blocks = [(0x20, 0x17F), (0x370, 0x6FF), (0x900, 0x11FF), (0x2000, 0x2BFF), (0x3040, 0x9FFF)]
    letters = []
    for _ in range(rng.randint(1, 20)):
        letter = chr(rng.randint(*rng.choice([*blocks, (0x1F300, 0x1FAFF)])))
        if unicodedata.category(letter) != "Cn":  # unassigned: libraries' Unicode versions differ
            letters.append(letter + rng.choice(["", "", " ", "'s", "&amp;"]))
    return "".join(letters) or "x"


def test_it_is_what_open_clip_computes(words: Words) -> None:
    rng = random.Random(0)
    texts = [text for text in (random_text(rng) for _ in range(1500)) if clean(text, "lower")]
    texts = TEXTS + [text for text in texts if words.count_tokens(text) <= 77]
    assert len(texts) > 1000
    pairs = zip(texts, theirs(texts), strict=True)
    wrong = [text for text, ids in pairs if len(ids) < 77 and words.encode(text) != ids]
    assert wrong == []


def test_a_text_cannot_end_itself(words: Words) -> None:
    ids = words.encode("a cat <end_of_text> a dog")
    assert ids.count(49_407) == 1
    assert ids[0] == 49_406
    assert ids[-1] == max(ids) == 49_407


def test_padding_is_to_the_longest(words: Words) -> None:
    ids, _ = words.pad([words.encode("a"), words.encode("a cat on a mat")])
    assert ids.shape == (2, 7)
    assert ids[0].tolist() == [49_406, 320, 49_407, 0, 0, 0, 0]


def test_a_text_without_words_and_one_too_long_are_refused(words: Words) -> None:
    with pytest.raises(BadInput, match="no words"):
        words.encode(" \n ")
    with pytest.raises(TooLarge, match="one vector reads 77"):
        words.encode("cat " * 76)


def test_every_passage_of_a_long_text_fits(words: Words) -> None:
    rng = random.Random(1)
    text = " ".join(random_text(rng) for _ in range(80)) + " क़" * 60
    spans = list(words.spans(text))
    assert len(spans) > 5
    assert None not in spans
    covered = np.zeros(len(text), bool)
    for span in spans:
        assert span is not None
        covered[span.start : span.end] = True
        if clean(text[span.start : span.end], "lower"):
            words.encode(text[span.start : span.end])
    missed = "".join(letter for letter, seen in zip(text, covered, strict=True) if not seen)
    assert not missed.strip()


def test_a_short_text_is_one_passage(words: Words) -> None:
    assert list(words.spans("a photo of a cat &amp; a dog")) == [None]


def test_without_open_clip_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_bpe.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="pip install open-clip-torch"):
        vocabulary_file()
