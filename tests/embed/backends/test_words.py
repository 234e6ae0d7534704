"""Words to ids, and long texts to passages that fit, over a tokenizer of a few words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from embed.backends.recipe_encoders import WordsEncoder
from embed.backends.recipes import TextRecipe
from embed.backends.words import CALL, Words, by_length, chunker_of
from embed.errors import BadInput, MissingWeights, TooLarge

LETTERS = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, **{letter: 3 + i for i, letter in enumerate("abcd")}}
RECIPE = TextRecipe(tokenizer="tokenizer.json", max_tokens=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every letter is a token; the file asks for truncation, which must not be heeded."""
    path = tmp_path_factory.mktemp("words")
    tokenizer = Tokenizer(models.BPE(LETTERS, [], unk_token="[SEP]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=20)
    tokenizer.save(str(path / "tokenizer.json"))
    return path


def test_texts_are_padded_to_the_longest_or_to_the_most(folder: Path) -> None:
    words = Words(RECIPE, folder)
    batch = [words.encode("ab"), words.encode("a bcd")]
    ids, mask = words.pad(batch)
    np.testing.assert_array_equal(ids, [[1, 3, 4, 2, 0, 0], [1, 3, 4, 5, 6, 2]])
    np.testing.assert_array_equal(mask, [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    whole = TextRecipe(tokenizer="tokenizer.json", max_tokens=6, padding="max", pad_left=True)
    ids, mask = Words(whole, folder).padded_with("[SEP]", 0).pad(batch[:1])
    np.testing.assert_array_equal(ids, [[2, 2, 1, 3, 4, 2]])
    np.testing.assert_array_equal(mask, [[0, 0, 1, 1, 1, 1]])


@given(st.lists(st.integers(1, 90), min_size=1, max_size=7))
def test_no_other_groups_of_texts_cost_less(lengths: list[int]) -> None:
    groups = by_length(lengths)
    assert sorted(row for rows in groups for row in rows) == list(range(len(lengths)))
    cost = sum(CALL + len(rows) * max(lengths[row] for row in rows) for rows in groups)
    ordered = sorted(lengths)
    every = [
        np.split(ordered, [at + 1 for at in range(len(ordered) - 1) if cuts >> at & 1])
        for cuts in range(1 << len(ordered) - 1)
    ]
    assert cost == min(sum(CALL + len(part) * part[-1] for part in parts) for parts in every)


class Counted:
    """A network that counts; it keeps the shapes of what it was given."""

    def __init__(self, *, on_cpu: bool) -> None:
        self.on_cpu = on_cpu
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, ids: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray]:
        self.shapes.append(ids.shape)
        return (np.stack([mask.sum(1), ids[:, 1]], axis=1).astype(np.float32),)


@pytest.mark.parametrize(("on_cpu", "shapes"), [(True, [(5, 3), (5, 12)]), (False, [(10, 12)])])
def test_short_texts_are_not_padded_to_long_ones_where_padding_costs(
    folder: Path, on_cpu: bool, shapes: list[tuple[int, int]]
) -> None:
    network = Counted(on_cpu=on_cpu)
    encoder = WordsEncoder(Words(RECIPE, folder), network)
    texts = ["a", "b" * 10] * 5
    rows = encoder.run([encoder.words.encode(text) for text in texts])
    assert sorted(network.shapes) == shapes
    np.testing.assert_array_equal(rows.joint, [[3, 3], [12, 4]] * 5)


def test_a_text_that_fits_is_whole_and_one_more_letter_is_refused(folder: Path) -> None:
    words = Words(RECIPE, folder)
    assert list(words.spans("a" * 10)) == [None]
    assert len(words.encode("a" * 10)) == words.count_tokens("a" * 10) == 12
    with pytest.raises(TooLarge, match="13 tokens and one vector reads 12"):
        words.encode("a" * 11)
    with pytest.raises(BadInput, match="no words"):
        words.encode("  ")
    with pytest.raises(BadInput, match="surrogate"):
        words.encode("\ud800")


@given(st.text("abcd \n", min_size=1, max_size=400).filter(str.strip))
def test_every_letter_is_in_a_passage_that_fits(folder: Path, text: str) -> None:
    for prefix in ("", "dd: "):
        words = Words(TextRecipe(tokenizer="tokenizer.json", max_tokens=12, prefix=prefix), folder)
        spans = list(words.spans(text))
        if spans == [None]:
            assert len(words.encode(text)) <= 12
            continue
        held = {place for start, end, _ in spans for place in range(start, end)}
        assert {place for place, letter in enumerate(text) if letter.strip()} <= held
        assert all(len(words.encode(text[span.start : span.end])) <= 12 for span in spans)


def test_lower_case_keeps_places(folder: Path) -> None:
    recipe = TextRecipe(tokenizer="tokenizer.json", max_tokens=12, lowercase=True)
    words = Words(recipe, folder)
    assert words.encode("AB") == [1, 3, 4, 2]
    text = "İ" * 30 + "A"
    assert list(words.spans(text))[-1].end == len(text)


def test_how_it_cuts_has_a_name_and_a_folder_without_a_tokenizer_is_refused(
    tmp_path: Path,
) -> None:
    assert chunker_of(RECIPE) == "tokens-12-0.8-0.2"
    with pytest.raises(MissingWeights, match="no tokenizer at"):
        Words(RECIPE, tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(MissingWeights, match="no tokenizer that can be read"):
        Words(RECIPE, tmp_path)


def test_a_passage_that_cleaning_empties_is_left_out(folder: Path) -> None:
    words = Words(replace(RECIPE, clean="canonicalize"), folder)
    text = "a b c d " * 3 + "- " * 40 + "d c b a"
    passages = [text[span.start : span.end] for span in words.spans(text) if span]
    assert len(passages) > 2
    assert all(words.encode(passage) for passage in passages)
    with pytest.raises(BadInput, match="no words"):
        words.encode("- - -")
