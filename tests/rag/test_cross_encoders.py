"""Cross-encoders of transformers: equal to calling the library, on tiny random models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from embed.calibration import Curve
from embed.errors import MissingDependency, MissingWeights
from embed.registry import LoadOptions
from embed.types import CharSpan, Item, Media, Modality, Pixels, Span
from index.types import Hit
from rag.library import Library
from rag.rerank import Candidate, Reranker, open_reranker
from rag.seeking.cross_encoders import CrossEncoder, load

TEXT, IMAGE, AUDIO = Modality.TEXT, Modality.IMAGE, Modality.AUDIO
NONE: frozenset[Modality] = frozenset()
QUESTION = "When was the stone bridge over the river opened?"
TEXTS = [
    "The stone bridge over the river was opened in 1897 by the mayor of the town.",
    "Bread is sold in the morning.",
    "A ferry. " * 40,
    *(f"The {n}th house on the left has a red door and a garden." for n in range(20)),
]
SMALL = {
    "vocab_size": 120,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 48,
}


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    transformers.logging.enable_progress_bar()
    transformers.logging.set_verbosity_warning()


@pytest.fixture(scope="module")
def words() -> transformers.PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    inner.train_from_iterator([QUESTION, *TEXTS], trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_max_length=48,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def classifier(folder: Path, words: Any, classes: int, **more: Any) -> Path:
    torch.manual_seed(classes)
    config = transformers.BertConfig(**SMALL, num_labels=classes, initializer_range=0.5)
    model = transformers.BertForSequenceClassification(config)
    model.save_pretrained(folder, **more)
    words.save_pretrained(folder)
    return folder


@pytest.fixture
def options(tmp_path: Path) -> LoadOptions:
    return LoadOptions(cache=tmp_path / "cache", threads=1, offline=True)


class Shelf:
    """As much of a library as a reranker sees."""

    def __init__(self, pictures: Sequence[Pixels | None] = ()) -> None:
        self.pictures = pictures
        self.sides: list[int] = []
        self.collection = SimpleNamespace(rarity=lambda words: dict.fromkeys(words, 1.0))

    def media_of(self, item: Item, span: Span | None, side: int) -> Media | None:
        self.sides.append(side)
        pixels = self.pictures[int(item.id)]
        return None if pixels is None else Media(IMAGE, pixels)


def shelf(*pictures: Pixels | None) -> Library:
    return cast("Library", Shelf(pictures))


def candidate(
    name: str, text: str | None, modality: Modality = TEXT, captions: Sequence[str] = ()
) -> Candidate:
    item = Item(id=name, record=name, modality=modality, uri=None, digest="", text=text)
    span = None if text is None else CharSpan(0, len(text))
    hit = Hit(
        item=item,
        fragment=1,
        span=span,
        score=0.1,
        probability=0.41,
        rank_score=0.1,
        collection="c",
    )
    beside = [
        Item(id=f"{name}-{n}", record=name, modality=TEXT, uri=None, digest="", text=said)
        for n, said in enumerate(captions)
    ]
    return Candidate(hit, text, tuple(beside))


@pytest.mark.parametrize("classes", [1, 2])
def test_scores_are_those_of_the_library(
    classes: int, words: Any, options: LoadOptions, tmp_path: Path
) -> None:
    """23 texts in two batches, one far too long, each as it would be alone."""
    folder = classifier(tmp_path / "model", words, classes)
    ours = open_reranker(f"hf:{folder}", options, shelf())
    assert isinstance(ours, Reranker)
    assert isinstance(ours, CrossEncoder)
    assert not ours.calibrated
    found = ours.probabilities(QUESTION, NONE, [candidate(str(n), t) for n, t in enumerate(TEXTS)])
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    expected = []
    for text in TEXTS:
        tokens = tokenizer(QUESTION, text, truncation="longest_first", return_tensors="pt")
        with torch.inference_mode():
            logits = theirs(**tokens).logits
        right = logits.sigmoid() if classes == 1 else logits.softmax(-1)[:, 1:]
        expected.append(float(right))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found) > 0.05  # else it would say nothing


def test_a_curve_calibrates(words: Any, options: LoadOptions, tmp_path: Path) -> None:
    folder = classifier(tmp_path / "model", words, 1)
    plain = load(str(folder), options, shelf())
    curved = load(str(folder), options, shelf(), Curve(2.0, 1.0))
    assert curved.calibrated
    asked = [candidate(str(n), text) for n, text in enumerate(TEXTS[:3])]
    logits = np.array([np.log(p / (1 - p)) for p in plain.probabilities(QUESTION, NONE, asked)])
    expected = 1 / (1 + np.exp(-(2 * logits + 1)))
    np.testing.assert_allclose(curved.probabilities(QUESTION, NONE, asked), expected, atol=1e-6)


def test_captions_are_read_and_silence_is_left_to_the_builtin_one(
    words: Any, options: LoadOptions, tmp_path: Path
) -> None:
    folder = classifier(tmp_path / "model", words, 1)
    ours = load(str(folder), options, shelf(None, None))
    found = ours.probabilities(
        QUESTION,
        NONE,
        [
            candidate("0", None, IMAGE),
            candidate("1", None, IMAGE, captions=[TEXTS[0]]),
            candidate("2", TEXTS[0]),
        ],
    )
    assert found[0] == 0.41
    assert found[1] == pytest.approx(found[2], abs=1e-6)
    assert ours.probabilities("", frozenset({IMAGE}), [candidate("2", TEXTS[0])]) == [0.41]


def test_pictures_are_matched_with_words(words: Any, options: LoadOptions, tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = {**SMALL, "encoder_hidden_size": 16, "projection_dim": 8, "bos_token_id": 1}
    text |= {"sep_token_id": 2, "pad_token_id": 0, "eos_token_id": 2, "initializer_range": 0.5}
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    vision |= {"num_attention_heads": 2, "image_size": 32, "patch_size": 8, "projection_dim": 8}
    config = transformers.BlipConfig(
        text_config=text,
        vision_config={**vision, "initializer_range": 0.5},
        projection_dim=8,
        image_text_hidden_size=8,
    )
    model = transformers.BlipForImageTextRetrieval(config).eval()
    folder = tmp_path / "blip"
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    pixels = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    pixels.save_pretrained(folder)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (40, 50 + n, 3), np.uint8) for n in range(18)]
    library = shelf(*pictures, None)
    ours = open_reranker(f"hf:{folder}", options, library)
    asked = [candidate(str(n), None, IMAGE) for n in range(19)]
    found = ours.probabilities(QUESTION, NONE, [*asked, candidate("0", None, AUDIO)])
    assert found[18:] == [0.41, 0.41]  # a picture that is gone, and a sound
    assert set(cast("Shelf", library).sides) == {64}
    tokens = words(QUESTION, return_tensors="pt", truncation=True)
    for picture, p in zip(pictures, found, strict=False):
        made = pixels(images=picture, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            score = model(
                input_ids=tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
                pixel_values=made,
            ).itm_score
        assert p == pytest.approx(float(score.softmax(-1)[0, 1]), abs=1e-5)
    assert np.ptp(found[:18]) > 1e-3


def test_what_is_no_reranker_is_refused(words: Any, options: LoadOptions, tmp_path: Path) -> None:
    three = classifier(tmp_path / "three", words, 3)
    with pytest.raises(MissingWeights, match="tells 3 classes apart"):
        load(str(three), options, shelf())
    headless = tmp_path / "headless"
    transformers.BertModel(transformers.BertConfig(**SMALL)).save_pretrained(headless)
    words.save_pretrained(headless)
    with pytest.raises(MissingWeights, match="lack 'classifier"):
        load(str(headless), options, shelf())
    pickled = classifier(tmp_path / "pickled", words, 1)
    torch.save({}, pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(MissingWeights, match="cannot be loaded as a reranker"):
        load(str(pickled), options, shelf())
    strange = classifier(tmp_path / "strange", words, 1)
    config = (strange / "config.json").read_text().replace('"bert"', '"bert-of-tomorrow"')
    (strange / "config.json").write_text(config)
    with pytest.raises(MissingDependency, match="no bert-of-tomorrow models"):
        load(str(strange), options, shelf())
    bare = classifier(tmp_path / "bare", words, 1)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    with pytest.raises(MissingWeights, match="has no tokenizer"):
        load(str(bare), options, shelf())


def test_no_hub_is_asked_offline(options: LoadOptions) -> None:
    with pytest.raises(MissingWeights, match="offline"):
        open_reranker("hf:nobody/nothing-here", options, shelf())
