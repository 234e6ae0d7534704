"""The student: what a table asks for is what is trained, and how media are made ready for it."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Mapping
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from PIL import Image
from torch import nn

from embed import registry
from embed.backends.recipe_encoders import Made, PixelsEncoder
from embed.backends.recipes import ImageRecipe
from embed.backends.torch_core import Core
from embed.backends.tower import Tower
from embed.errors import BadInput, TooLarge, UnsupportedModality
from embed.registry import Capabilities, Family, LoadOptions
from embed.training.data.source import open_source
from embed.training.limbs import image_side
from embed.training.parts import part_spec, part_specs
from embed.training.ready import Preparer
from embed.training.student import Limbs, save
from embed.training.types import Student
from embed.training.vocabulary import vocabulary
from embed.types import Media, Modality, Pixels, Space

OPTIONS = LoadOptions(cache=Path("unused"), threads=1)
COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}
PLACES = {"left": 0, "right": 16}
CAPTIONS = [f"a {colour} square on the {place}" for colour in COLOURS for place in PLACES]
WORDS = {"network": "words", "width": 32, "vocabulary": 300}
PICTURES = {"network": "convnet", "side": 32, "width": 8}
SOUNDS = {"network": "spectrum", "rate": 8000, "seconds": 1.0, "mels": 32, "width": 8}
FILMS = {"network": "frames", "side": 32, "frames": 6, "width": 8}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def student(tables: Mapping[str, Any], dim: int = 16) -> Limbs:
    return Limbs.of(part_specs(tables), dim, OPTIONS, captions=CAPTIONS)


def picture(colour: str, column: int, rng: np.random.Generator) -> Pixels:
    """A square on noise, 12 pixels a side."""
    pixels = rng.integers(0, 60, (32, 32, 3), np.uint8)
    row = int(rng.integers(20))
    pixels[row : row + 12, column : column + 12] = COLOURS[colour]
    return pixels


def film(step: int, rng: np.random.Generator) -> Media:
    """A square that moves by `step` a frame, from where it is after six frames the same way."""
    columns = [10 + step * frame for frame in range(-3, 3)]
    return Media(
        Modality.VIDEO, np.stack([picture("red", column, rng) for column in columns]), rate=6.0
    )


def test_it_is_a_student_that_learns_whatever_it_is_told_to() -> None:
    learns = student({"text": WORDS, "image": PICTURES, "audio": SOUNDS, "video": FILMS})
    assert isinstance(learns, Student)
    assert learns.modalities == {Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO}
    rng = np.random.default_rng(0)
    media = [
        Media(Modality.TEXT, CAPTIONS[0]),
        Media(Modality.IMAGE, picture("red", 0, rng)),
        Media(Modality.AUDIO, rng.normal(0, 0.1, 8000).astype(np.float32), rate=8000.0),
        film(2, rng),
    ]
    for medium in media:
        inputs = learns.collate(medium.modality, [learns.prepare(medium, seed=1)] * 2)
        rows = learns(medium.modality, inputs)
        assert rows.shape == (2, 16)
        assert rows.dtype == torch.float32
        rows.sum().backward()
    assert all(parameter.grad is not None for parameter in learns.parameters())


def test_the_defaults_are_small() -> None:
    tables = {"text": "words", "image": "convnet", "audio": "spectrum", "video": "frames"}
    learns = student({name: {"network": kind} for name, kind in tables.items()}, dim=128)
    assert 1.2e6 < sum(parameter.numel() for parameter in learns.parameters()) < 1.8e6


def test_pictures_learn_to_find_their_words() -> None:
    learns, rng = student({"text": WORDS, "image": PICTURES}), np.random.default_rng(0)
    step = torch.optim.AdamW(learns.parameters(), 3e-3)
    things = [(colour, place) for colour in COLOURS for place in PLACES]
    texts = learns.collate(
        Modality.TEXT,
        [learns.prepare(Media(Modality.TEXT, words), seed=None) for words in CAPTIONS],
    )

    def scores() -> torch.Tensor:
        drawn = [Media(Modality.IMAGE, picture(c, PLACES[p], rng)) for c, p in things]
        pixels = learns.collate(Modality.IMAGE, [learns.prepare(one, seed=None) for one in drawn])
        seen = F.normalize(learns(Modality.IMAGE, pixels))
        return seen @ F.normalize(learns(Modality.TEXT, texts)).T

    for _ in range(60):
        loss = F.cross_entropy(10 * scores(), torch.arange(len(things)))
        step.zero_grad()
        loss.backward()
        step.step()
    assert scores().argmax(1).tolist() == list(range(len(things)))


def test_films_learn_which_way_things_move() -> None:
    learns, rng = student({"video": FILMS}, dim=2), np.random.default_rng(0)
    step = torch.optim.AdamW(learns.parameters(), 3e-3)
    ways = torch.tensor([0, 1] * 8)

    def rows() -> torch.Tensor:
        films = [film(2 if way else -2, rng) for way in ways]
        frames = learns.collate(Modality.VIDEO, [learns.prepare(one, seed=None) for one in films])
        found: torch.Tensor = learns(Modality.VIDEO, frames)
        return found

    for _ in range(60):
        step.zero_grad()
        F.cross_entropy(rows(), ways).backward()
        step.step()
    assert (rows().argmax(1) == ways).float().mean() >= 0.9


def test_a_film_backwards_is_another_film() -> None:
    learns, forth = (
        student({"video": FILMS}).eval().requires_grad_(False),
        film(2, np.random.default_rng(0)),
    )
    assert isinstance(forth.data, np.ndarray)
    back = Media(Modality.VIDEO, forth.data[::-1].copy(), rate=6.0)
    frames = learns.collate(
        Modality.VIDEO, [learns.prepare(one, seed=None) for one in (forth, back)]
    )
    there, again = F.normalize(learns(Modality.VIDEO, frames))
    assert (there - again).abs().max().item() > 1e-3


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    """In training too, so that GradCache and several processes compute what one batch would."""
    learns = student({"text": WORDS, "image": PICTURES}).train()
    rng = np.random.default_rng(0)
    drawn = [Media(Modality.IMAGE, picture(colour, 4, rng)) for colour in COLOURS]
    for modality, media in (
        (Modality.IMAGE, drawn),
        (Modality.TEXT, [Media(Modality.TEXT, words) for words in ("a", "a b c d", CAPTIONS[0])]),
    ):
        prepared = [learns.prepare(medium, seed=None) for medium in media]
        whole = learns(modality, learns.collate(modality, prepared))
        alone = [learns(modality, learns.collate(modality, [one]))[0] for one in prepared]
        torch.testing.assert_close(whole, torch.stack(alone), atol=1e-6, rtol=1e-5)


def test_crops_and_flips_follow_the_seed() -> None:
    medium = Media(Modality.IMAGE, picture("red", 0, np.random.default_rng(0)))
    plain = student({"image": PICTURES})
    varied = student({"image": {**PICTURES, "crop": 0.3, "flip": True}})
    same = plain.prepare(medium, seed=None)
    np.testing.assert_array_equal(plain.prepare(medium, seed=5), same)
    np.testing.assert_array_equal(varied.prepare(medium, seed=None), same)
    drawn = [varied.prepare(medium, seed=seed) for seed in range(20)]
    np.testing.assert_array_equal(drawn[5], varied.prepare(medium, seed=5))
    assert len({one.tobytes() for one in drawn}) >= 15
    assert {one.shape for one in drawn} == {(32, 32, 3)}
    flips = student({"image": {**PICTURES, "flip": True}})
    found = {flips.prepare(medium, seed=seed).tobytes() for seed in range(20)}
    assert found == {same.tobytes(), np.ascontiguousarray(same[:, ::-1]).tobytes()}


def in_another_process(preparer: Preparer, medium: Media, answers: Any) -> None:
    answers.put(preparer.prepare(medium, seed=3))


def test_media_can_be_made_ready_in_another_process() -> None:
    learns = student({"text": WORDS, "image": {**PICTURES, "crop": 0.5}})
    assert len(pickle.dumps(learns.preparer)) < 50_000
    medium = Media(Modality.IMAGE, picture("blue", 3, np.random.default_rng(1)))
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(
        target=in_another_process, args=(learns.preparer, medium, answers), daemon=True
    )
    child.start()
    np.testing.assert_array_equal(answers.get(timeout=60), learns.prepare(medium, seed=3))
    child.join(timeout=60)


def test_what_cannot_be_prepared_is_refused() -> None:
    learns = student({"text": {**WORDS, "tokens": 8}, "video": {**FILMS}})
    with pytest.raises(UnsupportedModality, match="learns text, video, not image"):
        learns.prepare(Media(Modality.IMAGE, np.zeros((4, 4, 3), np.uint8)), seed=None)
    with pytest.raises(BadInput, match="no words"):
        learns.prepare(Media(Modality.TEXT, ""), seed=None)
    with pytest.raises(BadInput, match="one shape"):
        learns.collate(Modality.VIDEO, [np.zeros((2, 4, 4, 3)), np.zeros((3, 4, 4, 3))])
    with pytest.raises(TooLarge):
        student({"audio": SOUNDS}).prepare(
            Media(Modality.AUDIO, np.zeros(9000, np.float32), rate=8000.0), seed=None
        )


def test_a_long_text_gives_its_first_passage_or_in_training_any() -> None:
    learns = student({"text": {**WORDS, "tokens": 12}})
    medium = Media(Modality.TEXT, " ".join(CAPTIONS))
    first = learns.prepare(medium, seed=None)
    assert len(first) <= 12
    assert learns.prepare(medium, seed=None) == first
    assert len({tuple(learns.prepare(medium, seed=seed)) for seed in range(20)}) > 2


def test_a_vocabulary_has_every_word_and_is_made_the_same_way() -> None:
    made = vocabulary(CAPTIONS, 300)
    assert made.to_str() == vocabulary(CAPTIONS, 300).to_str()
    assert made.token_to_id("<pad>") == 0
    unheard = "żółw — 亀 🐢"
    assert made.decode(made.encode(unheard).ids) == f" {unheard}"
    assert len(made.encode(CAPTIONS[0]).tokens) == 8


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "one of two keys: network"),
    "both": ({"network": "convnet", "base": "builtin"}, "one of two keys"),
    "an unknown network": ({"network": "vit"}, "the choices are: convnet"),
    "a network of another": ({"network": "words"}, "for image the choices are: convnet"),
    "an unknown key": ({"network": "convnet", "sides": 3}, "has no key 'sides'.*'side'"),
    "a key of another": ({"network": "convnet", "lora": 3}, "the keys are: crop, flip, network"),
    "a key of locked towers": ({"base": "builtin", "reads": "joint"}, "has no key 'reads'"),
    "a wrong type": ({"network": "convnet", "side": "large"}, "a whole number is wanted"),
    "no picture": ({"network": "convnet", "side": 0}, "makes no network"),
    "a picture of a pixel": ({"network": "convnet", "side": 1}, "the side is 1"),
    "a vast picture": ({"network": "convnet", "side": 100_000}, "from 1 to 8192"),
    "a crop of nothing": ({"network": "convnet", "crop": 1.5}, "from 0"),
    "two ways": ({"base": "toy:x", "lora": 2, "last": 1}, "choose one"),
    "too many blocks": ({"base": "toy:x", "last": 4}, "has 3 blocks"),
    "a tower that keeps its network": ({"base": "toy:shut"}, "lock = true"),
    "no such vectors": ({"base": "toy:x", "lock": True, "reads": "native"}, "no native vectors"),
    "a residual that cannot be": ({"base": "toy:x", "lock": True, "residual": True}, "residual"),
    "an endless head": ({"base": "toy:x", "lock": True, "head": [10**6]}, "at most"),
    "a lock that is none": ({"base": "builtin", "lock": "yes"}, "lock is 'yes'"),
}


@pytest.mark.parametrize(("table", "words"), REFUSED.values(), ids=REFUSED)
def test_tables_that_make_no_limb_are_refused(
    table: dict[str, Any], words: str, toys: None, model_cache: Path
) -> None:
    options = LoadOptions(cache=model_cache, threads=1)
    with pytest.raises(BadInput, match=words):
        Limbs.of({Modality.IMAGE: part_spec(Modality.IMAGE, table)}, 16, options)


def test_a_student_needs_a_limb_and_words_need_captions() -> None:
    with pytest.raises(BadInput, match="at least"):
        Limbs.of({}, 16, OPTIONS)
    with pytest.raises(BadInput, match="there are none"):
        Limbs.of(part_specs({"text": WORDS}), 16, OPTIONS)
    with pytest.raises(BadInput, match="cannot be shared"):
        student({"text": {**WORDS, "width": 30}})
    with pytest.raises(BadInput, match="makes no network"):
        student({"text": {**WORDS, "vocabulary": -1}})
    with pytest.raises(BadInput, match="none, name a base"):
        part_spec(Modality.DEPTH, {"network": "convnet"})


class Eye(nn.Module):
    """A toy tower: a stem, three blocks, what follows them, and what never runs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.stem = nn.Linear(3 * 64, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.norm = nn.BatchNorm1d(8)
        self.out = nn.Linear(8, 10)
        self.other_half = nn.ModuleList(nn.Linear(8, 8) for _ in range(5))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = self.stem(pixels.float().flatten(1) / 255)
        for block in self.blocks:
            x = x + F.gelu(block(x))
        rows: torch.Tensor = self.out(self.norm(x))
        return rows


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FAMILIES", copy(registry._FAMILIES))
    space = Space(name="toy:x", revision="1", preprocessing="none", precision="fp32", dim=10)

    recipe = ImageRecipe(height=8, width=8)

    def eye(detail: str) -> PixelsEncoder:
        core = Core(Eye(), precision="fp32", threads=1)
        return PixelsEncoder(recipe, core, Made(lambda: Eye().eval()) if detail == "x" else None)

    def describe(detail: str, _: LoadOptions) -> Capabilities:
        images = frozenset({Modality.IMAGE})
        return Capabilities(
            space=space,
            summary="",
            modalities=images,
            native_dims={},
            preprocessing="",
            licence="",
            source="",
        )

    def load(detail: str, _: LoadOptions) -> Tower:
        return Tower(space, {Modality.IMAGE: partial(eye, detail)}, chunker="", image_side=8)

    toy = Family(form="toy:X", describe=describe, check=lambda *_: None, load=load)
    registry.register("toy", toy)


def learnable(learns: Limbs) -> set[str]:
    """The layers that are trained."""
    prefix = "limbs.image.whole."
    named = learns.named_parameters()
    names = [name.removeprefix(prefix) for name, value in named if value.requires_grad]
    return {name.rpartition(".")[0] for name in names}


def test_of_a_tower_only_what_runs_is_trained(toys: None) -> None:
    learns = student({"image": {"base": "toy:x"}})
    blocks = {f"network.blocks.{number}" for number in range(3)}
    after = {"network.norm", "network.out", "head.0"}
    assert learnable(learns) == {"network.stem", *blocks, *after}
    last = student({"image": {"base": "toy:x", "last": 1}})
    assert learnable(last) == {"network.blocks.2", *after}
    lora = learnable(student({"image": {"base": "toy:x", "lora": 2}}))
    assert {name.partition(".lora_")[0] for name in lora - {"head.0"}} == {
        "network.stem",
        *blocks,
        "network.out",
    }
    assert not learns.train().limbs["image"].whole.network.norm.training


def test_a_tower_that_fits_needs_no_head(toys: None) -> None:
    learns = student({"image": {"base": "toy:x"}}, dim=10)
    assert "head.0" not in learnable(learns)
    medium = Media(Modality.IMAGE, np.full((8, 8, 3), 40, np.uint8))
    pixels = learns.collate(Modality.IMAGE, [learns.prepare(medium, seed=None)])
    torch.testing.assert_close(learns.eval()(Modality.IMAGE, pixels), Eye().eval()(*pixels))


def test_of_a_locked_tower_the_vectors_are_read(toys: None) -> None:
    learns = student({"image": {"base": "toy:x", "lock": True, "head": [], "residual": True}}, 10)
    medium = Media(Modality.IMAGE, np.full((8, 8, 3), 40, np.uint8))
    row = learns.prepare(medium, seed=None)
    np.testing.assert_array_equal(row, registry.load("toy:x", OPTIONS).embed([medium]).joint[0])
    inputs = learns.collate(Modality.IMAGE, [row])
    # A residual begins as nothing.
    torch.testing.assert_close(learns(Modality.IMAGE, inputs), inputs[0])
    assert {name for name, _ in learns.named_parameters()} == {
        "limbs.image.head.0.weight",
        "limbs.image.head.0.bias",
    }
    copied = pickle.loads(pickle.dumps(learns.preparer))
    np.testing.assert_array_equal(copied.prepare(medium, seed=None), row)


@pytest.mark.parametrize(
    "tables", [{"text": WORDS}, {"text": WORDS, "image": PICTURES}, {"video": FILMS}]
)
def test_training_reads_pictures_as_the_space_will(tmp_path: Path, tables: Any) -> None:
    learns = student(tables)
    save(learns, tmp_path / "space", name="x", licence="none", made={})
    options = LoadOptions(cache=tmp_path / "cache", threads=1)
    served = registry.load(f"trained:{tmp_path / 'space'}", options)
    assert image_side(part_specs(tables), options) == served.image_side


def test_a_tower_says_how_large_it_reads(toys: None) -> None:
    tables = {"image": {"base": "toy:x", "lock": True}, "video": {**FILMS, "side": 4}}
    assert image_side(part_specs(tables), OPTIONS) == 8


def test_a_source_is_told_how_large_unless_it_says(tmp_path: Path) -> None:
    Image.new("RGB", (640, 640)).save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("black")
    table = {"kind": "folder", "path": str(tmp_path)}
    for asked, side in (({}, 32), ({"image_side": 300}, 300)):
        (record,) = open_source({**table, **asked}, {"image_side": 32})
        assert min(record.media[Modality.IMAGE][0].data.shape[:2]) >= side
        assert min(record.media[Modality.IMAGE][0].data.shape[:2]) < 2 * side + 32
