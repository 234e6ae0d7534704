"""Speech from espeak-ng, in many voices: single words, and sentences.

What a program under the GPL prints is not under the GPL, and no part of espeak-ng is in what is
shipped. It knows no network.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from embed.backends.builtin.audio import RECIPE
from embed.errors import MissingDependency, NotAvailable
from embed.media.resample import resample
from embed.types import Floats

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = (*DIGITS, "yes", "no", "hello", "stop", "help", "please", "thank you", "goodbye")
_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029")
_LANGUAGES = ("en-us", "en-gb", "de", "fr", "es", "it", "pt", "pl", "nl", "sv", "ru", "tr")
_MEN = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8")
_WOMEN = ("f1", "f2", "f3", "f4", "f5")
_SENTENCES = (
    "The weather was fine this morning, so we walked along the river to the old bridge.",
    "Could you tell me when the next train to the city leaves, and from which platform?",
    "I told her that the meeting had been moved to Thursday afternoon.",
    "Nobody knows why the library was built on top of that hill.",
    "Please leave your name and your number after the tone, and we will call you back.",
    "He opened the window, looked at the street, and began to read his letter aloud.",
    "Las casas de este pueblo son blancas y tienen ventanas azules.",
    "Am Abend kamen die Kinder nach Hause und erzählten von ihrem Tag.",
    "Le marché ouvre tôt le matin et ferme un peu après midi.",
)
SPEAKERS: Mapping[str, Sequence[str]] = {
    "a man speaking": _MEN,
    "a woman speaking": _WOMEN,
    "whispering": ("whisper", "whisperf"),
}


def words(word: str, count: int, seed: int) -> Iterator[Floats]:
    """`word` said `count` times in English, in drawn voices, at 16 kHz."""
    dice = np.random.default_rng([seed, *word.encode()])
    for _ in range(count):
        yield _said(word, str(dice.choice(_ACCENTS)), str(dice.choice([*_MEN, *_WOMEN])), dice)


def sentences(name: str, count: int, seed: int) -> Iterator[Floats]:
    """5 s each of what `SPEAKERS` calls `name`, in several languages."""
    dice = np.random.default_rng([seed, *name.encode()])
    for _ in range(count):
        language, voice = str(dice.choice(_LANGUAGES)), str(dice.choice(SPEAKERS[name]))
        sound = _said(str(dice.choice(_SENTENCES)), language, voice, dice)
        first = int(dice.integers(0, max(1, len(sound) - RECIPE.samples)))
        yield sound[first : first + RECIPE.samples]


def _said(text: str, language: str, voice: str, dice: np.random.Generator) -> Floats:
    """Raises MissingDependency without espeak-ng, NotAvailable when it fails."""
    if shutil.which("espeak-ng") is None:
        raise MissingDependency("speech is made by espeak-ng: apt-get install espeak-ng")
    pace, pitch = str(dice.integers(110, 210)), str(dice.integers(20, 80))
    options = ["-v", f"{language}+{voice}", "-s", pace, "-p", pitch, "--stdout"]
    command = ["espeak-ng", *options, text]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    if done.returncode or len(done.stdout) <= 44:
        raise NotAvailable(f"espeak-ng failed: {done.stderr.decode(errors='replace')[-300:]}")
    with wave.open(io.BytesIO(done.stdout)) as file:
        # It streams, and so cannot say how many samples come.
        samples = np.frombuffer(file.readframes(2**24), "<i2")
        return resample((samples / 32768).astype(np.float32), file.getframerate(), RECIPE.rate)
