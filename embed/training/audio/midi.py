"""The instruments, drums and effects of General MIDI, played by fluidsynth from a soundfont.

Phrases are drawn from a seed and written as a Standard MIDI File of one track; a tick is a
millisecond. Soundfont: FluidR3 (F. Wen and others, MIT; Debian's fluid-soundfont-gm). It knows
no network and no words beyond the names of what is played.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import wave
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embed.errors import MissingDependency, NotAvailable
from embed.types import Floats

RATE = 16_000
SLOT = 5_000  # ms of one phrase, the time that it rings included

PROGRAMS: Mapping[str, Sequence[int]] = {
    "piano": range(4),
    "electric piano": (4, 5),
    "harpsichord": (6, 7),
    "celesta": (8,),
    "glockenspiel": (9,),
    "music box": (10,),
    "vibraphone": (11,),
    "marimba": (12,),
    "xylophone": (13,),
    "church bells": (14,),
    "dulcimer": (15,),
    "electric organ": (16, 17, 18),
    "church organ": (19, 20),
    "accordion": (21, 23),
    "harmonica": (22,),
    "acoustic guitar": (24, 25),
    "electric guitar": (26, 27, 28),
    "distorted guitar": (29, 30),
    "bass guitar": range(32, 38),
    "synthesizer bass": (38, 39),
    "violin": (40, 41, 110),
    "cello": (42, 43),
    "plucked strings": (45,),
    "harp": (46,),
    "timpani": (47,),
    "string orchestra": (44, 48, 49, 50, 51),
    "choir": (52, 53, 54),
    "orchestra hit": (55,),
    "trumpet": (56, 59),
    "trombone": (57,),
    "tuba": (58,),
    "french horn": (60,),
    "brass band": (61, 62, 63),
    "saxophone": range(64, 68),
    "oboe": (68, 69, 111),
    "bassoon": (70,),
    "clarinet": (71,),
    "flute": (72, 73, 74, 77),
    "pan flute": (75, 76, 79),
    "whistling": (78,),
    "synthesizer": range(80, 88),
    "synthesizer pad": range(88, 104),
    "sitar": (104,),
    "banjo": (105,),
    "koto": (106, 107),
    "kalimba": (108,),
    "bagpipes": (109,),
    "small bell": (112,),
    "steel drum": (114,),
    "taiko drum": (116,),
    "reversed cymbal": (119,),
    "breathing": (121,),
    "sea waves": (122,),
    "birds chirping": (123,),
    "telephone ringing": (124,),
    "helicopter": (125,),
    "applause": (126,),
    "gunshot": (127,),
}
DRUMS: Mapping[str, Sequence[int]] = {
    "bass drum": (35, 36),
    "snare drum": (38, 40),
    "hand clap": (39,),
    "tom drum": (41, 43, 45, 47, 48, 50),
    "hi-hat": (42, 44, 46),
    "cymbal crash": (49, 52, 55, 57),
    "ride cymbal": (51, 53, 59),
    "tambourine": (54, 83),
    "cowbell": (56, 67, 68),
    "bongo": (60, 61),
    "conga": (62, 63, 64),
    "maracas": (69, 70, 82),
    "referee whistle": (71, 72),
    "guiro": (73, 74),
    "wood block": (37, 75, 76, 77),
    "triangle": (80, 81),
    "castanets": (85,),
    "drum kit": (36, 38, 42, 46, 49),
}
_LOW = ("bass guitar", "synthesizer bass", "tuba", "timpani", "bassoon", "cello", "trombone")
_EFFECTS = frozenset(
    {
        "applause",
        "birds chirping",
        "breathing",
        "gunshot",
        "helicopter",
        "reversed cymbal",
        "sea waves",
        "telephone ringing",
    }
)


class Note(NamedTuple):
    """One key pressed: when, in ms, for how long, which (0..127) and how hard (0..127)."""

    start: int
    length: int
    key: int
    force: int


def render(name: str, count: int, soundfont: Path, seed: int) -> Iterator[Floats]:
    """`count` sounds of 5 s at 16 kHz of what `PROGRAMS` or `DRUMS` calls `name`.

    Raises MissingDependency without fluidsynth or the soundfont, NotAvailable when it fails.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    events: list[tuple[int, bytes]] = []
    for slot in range(count):
        if name in DRUMS:
            notes, channel = _beat(name, rng), 9
        else:
            notes, channel = _phrase(name, rng), 0
            events.append((slot * SLOT, bytes([0xC0, int(rng.choice(PROGRAMS[name]))])))
        for note in notes:
            at = slot * SLOT + note.start
            events.append((at, bytes([0x90 | channel, note.key, note.force])))
            events.append((at + note.length, bytes([0x80 | channel, note.key, 0])))
    # Nothing rings into the next phrase: all sound off.
    ends = [((slot + 1) * SLOT - 20, bytes([0xB0, 120, 0])) for slot in range(count)]
    sound = _played(track(events + ends), soundfont)
    step = SLOT * RATE // 1000
    sound = np.pad(sound, (0, max(0, count * step - len(sound))))
    for slot in range(count):
        yield sound[slot * step : (slot + 1) * step]


def _phrase(name: str, rng: np.random.Generator) -> list[Note]:
    """A held note, a melody, or chords."""
    low, high = (28, 52) if name in _LOW else (48, 82)
    if name in _EFFECTS:
        return [Note(50, int(rng.integers(1500, 4500)), int(rng.integers(54, 68)), 110)]
    key, time, notes = int(rng.integers(low, high)), int(rng.integers(0, 400)), []
    pace = int(rng.choice([180, 300, 500, 900, 2500]))
    chord = rng.random() < 0.3
    while time < SLOT - 700:
        length, force = int(pace * rng.uniform(0.6, 1.1)), int(rng.integers(60, 125))
        keys = (key, key + int(rng.choice([3, 4])), key + 7) if chord else (key,)
        notes += [Note(time, min(length, SLOT - 100 - time), k, force) for k in keys]
        time += pace
        key = int(np.clip(key + rng.choice([-5, -3, -2, -1, 0, 1, 2, 3, 5, 7]), low, high))
    return notes


def _beat(name: str, rng: np.random.Generator) -> list[Note]:
    """One stroke, or strokes in time; the kit plays several drums at once."""
    keys = DRUMS[name]
    pace = int(rng.choice([120, 200, 330, 500, 1100, 4000]))
    if name == "drum kit":
        pace = int(rng.choice([150, 200, 250]))
    notes = []
    for beat, time in enumerate(range(int(rng.integers(0, 300)), SLOT - 300, pace)):
        if rng.random() < 0.15:
            continue
        struck = [int(rng.choice(keys))]
        if name == "drum kit":
            struck = [42, *([36] if beat % 4 == 0 else []), *([38] if beat % 4 == 2 else [])]
        notes += [Note(time, 100, key, int(rng.integers(70, 125))) for key in struck]
    return notes


def track(events: Sequence[tuple[int, bytes]]) -> bytes:
    """A MIDI file, format 0, of `(ms, message)`; 500 ticks a beat at 120 a minute."""
    body, now = b"", 0
    for time, message in sorted(events, key=lambda event: event[0]):
        body += _variable(time - now) + message
        now = time
    body += b"\x00\xff\x2f\x00"
    return (
        struct.pack(">4sIHHH", b"MThd", 6, 0, 1, 500)
        + b"MTrk"
        + struct.pack(">I", len(body))
        + body
    )


def _variable(value: int) -> bytes:
    """A number in sevens of bits, the last one without the high bit."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def _played(song: bytes, soundfont: Path) -> Floats:
    if shutil.which("fluidsynth") is None or not soundfont.is_file():
        raise MissingDependency(
            "instruments are played by fluidsynth from a soundfont: "
            "apt-get install fluidsynth fluid-soundfont-gm"
        )
    with tempfile.TemporaryDirectory() as folder:
        score, sound = Path(folder, "score.mid"), Path(folder, "sound.wav")
        score.write_bytes(song)
        options = [
            "-ni",
            "-q",
            "-g",
            "0.6",
            "-r",
            str(RATE),
            "-o",
            "synth.dynamic-sample-loading=1",
        ]
        command = ["fluidsynth", *options, "-F", str(sound), str(soundfont), str(score)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode or not sound.is_file():
            raise NotAvailable(f"fluidsynth failed: {done.stderr.strip()[-300:]}")
        with wave.open(str(sound)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            both = samples.reshape(-1, file.getnchannels()).astype(np.float32)
            return np.asarray(both.mean(1) / 32768, np.float32)
