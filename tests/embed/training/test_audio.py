"""The recipe of the audio tower: its words, its rendered sounds, its augmentation, its network."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor

from embed.backends.builtin.space import EAR
from embed.errors import MissingDependency, NotFound
from embed.training import shipped
from embed.training.audio import (
    esc,
    export,
    judge,
    learn,
    midi,
    recipe,
    speech,
    tones,
    vocabulary,
)
from embed.training.audio.augment import Augmenter, add
from embed.training.audio.features import band_centres, spectrograms
from embed.training.audio.learn import Schedule
from embed.training.audio.memory import Binding, Describer, Tower, native
from embed.training.audio.network import Ear
from embed.training.audio.sources import Sounds
from embed.training.audio.vocabulary import Prototypes
from embed.weights import store

BRIEF = Schedule(steps=12, batch=12, frames=128)
WORDS = Prototypes(np.eye(3, 7, dtype=np.float32), np.eye(7, dtype=np.float32)[6])


class Heard(NamedTuple):
    clips: Tensor
    concepts: Tensor


@pytest.fixture(scope="module")
def pool() -> Heard:
    """Three kinds of sound that differ in all that is heard."""
    names = ("pure tone", "white noise", "clicking")
    heard = spectrograms(sound for name in names for sound in tones.render(name, 4, 0))
    return Heard(heard, torch.arange(3).repeat_interleave(4))


@pytest.fixture(scope="module")
def ear(pool: Heard) -> Ear:
    return learn.train(*pool, 3, BRIEF, 0)


def test_captions_that_are_held_out_are_never_trained_on() -> None:
    for name, held in esc.HELD.items():
        trained = {caption.lower() for words in vocabulary.captions().values() for caption in words}
        assert not trained & {caption.lower() for caption in held}
        assert len(set(held)) == 6
        assert len(set(esc.TRAINED[name])) == 24
    assert list(esc.HELD) == list(esc.TRAINED)


def test_every_concept_has_sounds_and_every_sound_a_concept() -> None:
    named, rendered = set(vocabulary.captions()), vocabulary.rendered_names()
    assert len(set(rendered)) == len(rendered)
    assert named | {*tones.IMITATIONS} == {*rendered, *esc.TRAINED}
    assert named.isdisjoint(tones.IMITATIONS)
    assert {*speech.DIGITS} < named


def test_tones_are_the_same_for_the_same_seed_and_fit_five_seconds() -> None:
    for name in (*tones.TONES, *tones.IMITATIONS):
        [first], [again], [other] = (list(tones.render(name, 1, seed)) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert first.shape == (80_000,)
        assert np.abs(first).max() <= 0.9
        assert name == "silence" or not np.array_equal(first, other)


def test_a_score_is_a_midi_file() -> None:
    note_on, note_off = bytes([0x90, 60, 100]), bytes([0x80, 60, 0])
    body = b"\x00" + note_on + b"\x87\x68" + note_off + b"\x00\xff\x2f\x00"
    header = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xf4MTrk\x00\x00\x00\x0d"
    assert midi.track([(1000, note_off), (0, note_on)]) == header + body


def test_without_the_programs_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingDependency, match="apt-get install fluidsynth"):
        list(midi.render("piano", 1, tmp_path / "none.sf2", 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="apt-get install espeak-ng"):
        list(speech.words("seven", 1, 0))


def test_a_clip_trains_what_ships_only_under_a_licence_that_lets_it(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="of labels"):
        esc.clips(tmp_path)
    (tmp_path / "labels.csv").write_text(
        "file,fold,label\na.ogg,1,rain\nb.ogg,2,rooster\nc.ogg,3,rain\n"
    )
    (tmp_path / "CREDITS.txt").write_text(
        "- [a.ogg]: clip derived from x [1].wav (http://x) by A [CC0]\n"
        "- [b.ogg]: clip derived from y.wav (http://y) by B [CC-Sampling+]\n"
    )
    found = esc.clips(tmp_path)
    assert [(clip.fold, clip.label, clip.licence) for clip in found] == [
        (1, "rain", "CC0"),
        (2, "rooster", "CC-Sampling+"),
        (3, "rain", ""),
    ]
    assert [clip.licence in esc.FREE for clip in found] == [True, False, False]


def test_two_equal_sounds_are_three_decibels_more() -> None:
    levels = torch.tensor([-40.0, 0.0, 20.0])
    torch.testing.assert_close(add(levels, levels), levels + 10 * np.log10(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(add(levels, levels - 200), levels, atol=1e-4, rtol=0)


def test_augmentation_is_seeded_and_leaves_numbers(pool: Heard) -> None:
    clips = pool.clips.float()
    first, again, other = (Augmenter(band_centres(), 200, seed)(clips) for seed in (0, 0, 1))
    assert first.shape == (12, 200, 64)
    assert first.isfinite().all()
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_augmentation_moves_a_tone_by_a_few_bands_only(pool: Heard) -> None:
    tone = pool.clips[:1].float().expand(32, -1, -1)
    augment = Augmenter(band_centres(), 200, 0)
    place = augment._warped(tone).mean(1).argmax(1)
    gap = (place - tone[0].mean(0).argmax()).abs()
    assert 0 < gap.max() <= 10


def test_a_mixture_belongs_mostly_to_the_louder(pool: Heard) -> None:
    clips = pool.clips.float()
    both, share = Augmenter(band_centres(), 200, 0).mixed(clips, clips.roll(4, 0) + 30)
    assert (share >= 0.5).all()
    assert (share < 1).all()
    assert (both.amax((1, 2)) <= clips.amax((1, 2)) + 3.1).all()


def test_how_loud_a_recording_is_says_nothing(pool: Heard, ear: Ear) -> None:
    clips = pool.clips[:4, None].float()
    torch.testing.assert_close(ear(clips), ear(clips + 7), atol=1e-3, rtol=1e-3)
    for level in (-100.0, 0.0):
        assert ear(torch.full((1, 1, 410, 64), level)).isfinite().all()


def test_the_same_seed_learns_the_same(pool: Heard, ear: Ear) -> None:
    again = learn.train(*pool, 3, BRIEF, 0)
    for weight, other in zip(ear.parameters(), again.parameters(), strict=True):
        assert torch.equal(weight, other)


def test_what_is_remembered_is_told_apart_and_the_rest_is_uncertain(pool: Heard, ear: Ear) -> None:
    describer = Describer([ear], pool.clips)
    described = describer.of(pool.clips)
    torch.testing.assert_close(native(described).norm(dim=1), torch.ones(12))
    two = pool.concepts < 2
    opinion = torch.full((12, 3), 1 / 3)
    vectors = Binding(described[two], pool.concepts[two], WORDS)(described, opinion)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(12))
    cosines = vectors @ torch.from_numpy(WORDS.concepts).T
    assert torch.equal(cosines[two].argmax(1), pool.concepts[two])
    assert cosines[~two].amax(1).max() < cosines[two].amax(1).min()


def test_an_opinion_counts_beside_likeness_as_it_is_told_to(pool: Heard, ear: Ear) -> None:
    described = Describer([ear], pool.clips).of(pool.clips)
    other = (pool.concepts + 1) % 3
    opinion = torch.nn.functional.one_hot(other, 3).float()
    for weight, meant in ((0.0, pool.concepts), (9.0, other)):
        vectors = Binding(described, pool.concepts, WORDS, weight)(described, opinion)
        assert torch.equal((vectors @ torch.from_numpy(WORDS.concepts).T).argmax(1), meant)


def test_the_graph_says_what_the_tower_says(
    pool: Heard, ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describer = Describer([ear], pool.clips)
    binding = Binding(describer.of(pool.clips), pool.concepts, WORDS)
    tower = Tower(describer, ear, binding)
    path = tmp_path / "heads" / "ear.onnx"
    path.parent.mkdir()
    export.write(tower, path)
    clip = pool.clips[:1, None].float()
    joint, own = ort.InferenceSession(path).run(["joint", "native"], {"decibels": clip.numpy()})
    with torch.no_grad():
        for found, wanted in zip((joint, own), tower(clip), strict=True):
            np.testing.assert_allclose(found, wanted.numpy(), atol=export.TOLERANCE)
    entry = replace(store.entry(EAR), path="weights/heads/ear.onnx")
    (tmp_path / store.MANIFEST).write_text(json.dumps({"ear": asdict(entry)}))
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    monkeypatch.setattr(store, "entry", lambda _: entry)
    digest = shipped.register("ear")
    written = json.loads((tmp_path / store.MANIFEST).read_text())["ear"]
    assert (written["size"], written["sha256"]) == (path.stat().st_size, digest)


def test_a_sound_is_given_the_class_of_the_nearest_caption() -> None:
    vectors = np.eye(3, dtype=np.float32)
    own, swapped = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[[1, 0, 2]]
    classes = torch.arange(3)
    assert judge.right(vectors, classes, own[None]).tolist() == [1.0, 1.0, 1.0]
    assert judge.right(vectors, classes, np.stack([own, swapped])).tolist() == [0.5, 0.5, 1.0]


def test_concepts_are_left_out_of_sounds() -> None:
    concepts = torch.tensor([0, 1, 2, 1])
    zeros = torch.zeros(4)
    sounds = Sounds(torch.arange(4), concepts, zeros, zeros)
    assert recipe.without(sounds, torch.tensor([1])).clips.tolist() == [0, 2]
