"""What the audio tower knows by name: ESC-10's classes, and what can be rendered freely.

A concept has captions, broader words among them; its prototype is in the middle of them.
Digits and words spoken are concepts too. It knows no sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embed.training.audio import esc, midi, speech, tones
from embed.types import Embedder, Floats, Media, Modality, normalise

COMMON = 0.5  # both chosen on captions of TRAINED left out in turn, never on HELD
SHRINKAGE = 0.4
TEMPLATES = ("{}", "the sound of {}", "a recording of {}", "{} can be heard")

_INSTRUMENT = "a musical instrument playing music"
_KEYS = "a keyboard instrument"
_STRINGS = "a stringed instrument"
_WIND = "a wind instrument"
_BRASS = "a brass instrument"
_DRUM = "percussion, someone drumming"
_ELECTRONIC = "electronic music"
_ALARM = "an alarm, a warning signal"
_WEATHER = "weather, nature"
_MACHINE = "a machine, a motor running"

RENDERED: Mapping[str, Sequence[str]] = {
    "piano": ("someone playing the piano", "a grand piano", "piano music", _KEYS, _INSTRUMENT),
    "electric piano": ("a Rhodes electric piano", "an e-piano", _KEYS, _INSTRUMENT),
    "harpsichord": ("a baroque harpsichord", "a clavinet", _KEYS, _INSTRUMENT),
    "celesta": ("a celesta playing a tune", "delicate chimes of a celesta", _KEYS, _INSTRUMENT),
    "glockenspiel": ("a glockenspiel", "small metal bars struck with mallets", _DRUM, _INSTRUMENT),
    "music box": ("a music box melody", "a lullaby from a music box", _INSTRUMENT),
    "vibraphone": ("a vibraphone", "mellow jazz vibes", _DRUM, _INSTRUMENT),
    "marimba": ("a marimba", "wooden bars struck with mallets", _DRUM, _INSTRUMENT),
    "xylophone": ("a xylophone", "a bright wooden xylophone", _DRUM, _INSTRUMENT),
    "church bells": ("church bells ringing", "tubular bells", "bells tolling", "bell tower"),
    "dulcimer": ("a hammered dulcimer", _STRINGS, _INSTRUMENT),
    "electric organ": ("a Hammond organ", "rock organ music", _KEYS, _INSTRUMENT),
    "church organ": ("a pipe organ in a church", "organ music", _KEYS, _INSTRUMENT),
    "accordion": ("someone playing the accordion", "a squeezebox", "French musette", _INSTRUMENT),
    "harmonica": ("a harmonica", "blues on a mouth organ", _WIND, _INSTRUMENT),
    "acoustic guitar": ("strumming a guitar", "a classical guitar", _STRINGS, _INSTRUMENT),
    "electric guitar": ("an electric guitar", "a guitar riff", _STRINGS, _INSTRUMENT),
    "distorted guitar": ("a distorted electric guitar", "heavy metal", "rock music", _STRINGS),
    "bass guitar": ("a bass guitar", "a bass line", "slap bass", _STRINGS, _INSTRUMENT),
    "synthesizer bass": ("a synth bass", "a deep electronic bass line", _ELECTRONIC),
    "violin": ("someone playing the violin", "a fiddle", "a violin solo", _STRINGS, _INSTRUMENT),
    "cello": ("someone playing the cello", "a double bass with a bow", _STRINGS, _INSTRUMENT),
    "plucked strings": ("pizzicato", "strings plucked with the finger", _STRINGS, _INSTRUMENT),
    "harp": ("a harp", "someone plucking a harp", _STRINGS, _INSTRUMENT),
    "timpani": ("timpani", "kettledrums rolling", _DRUM, _INSTRUMENT),
    "string orchestra": ("an orchestra", "a string section", "symphonic music", "classical music"),
    "choir": ("a choir singing", "people singing together", "voices singing aah", "vocal music"),
    "orchestra hit": ("an orchestra hit", "a sudden loud orchestral chord", _INSTRUMENT),
    "trumpet": ("someone playing the trumpet", "a trumpet fanfare", _BRASS, _WIND, _INSTRUMENT),
    "trombone": ("someone playing the trombone", _BRASS, _WIND, _INSTRUMENT),
    "tuba": ("someone playing the tuba", "a low tuba", _BRASS, _WIND, _INSTRUMENT),
    "french horn": ("a french horn", "a hunting horn", _BRASS, _WIND, _INSTRUMENT),
    "brass band": ("a brass section", "a big band of horns", _BRASS, _INSTRUMENT),
    "saxophone": ("someone playing the saxophone", "a sax solo", "jazz saxophone", _WIND),
    "oboe": ("an oboe", "an English horn", "a shawm", _WIND, _INSTRUMENT),
    "bassoon": ("a bassoon", "a low woodwind", _WIND, _INSTRUMENT),
    "clarinet": ("someone playing the clarinet", "a clarinet", _WIND, _INSTRUMENT),
    "flute": ("someone playing the flute", "a flute melody", "a recorder", _WIND, _INSTRUMENT),
    "pan flute": ("a pan flute", "an ocarina", "blowing over a bottle", _WIND, _INSTRUMENT),
    "whistling": ("a person whistling", "someone whistles a tune", "human whistling"),
    "synthesizer": ("a synthesizer lead", "a chiptune melody", "an electronic tune", _ELECTRONIC),
    "synthesizer pad": ("a synthesizer pad", "ambient music", "new age music", _ELECTRONIC),
    "sitar": ("a sitar", "Indian music", _STRINGS, _INSTRUMENT),
    "banjo": ("a banjo", "bluegrass banjo picking", _STRINGS, _INSTRUMENT),
    "koto": ("a Japanese koto", "a shamisen", "Japanese music", _STRINGS, _INSTRUMENT),
    "kalimba": ("a thumb piano", "an African kalimba", _INSTRUMENT),
    "bagpipes": ("bagpipes", "a Scottish piper", _WIND, _INSTRUMENT),
    "small bell": ("a tinkling bell", "a small bell tinkles", "a jingle"),
    "steel drum": ("a steel drum", "Caribbean steelpan music", _DRUM, _INSTRUMENT),
    "taiko drum": ("a taiko drum", "a big Japanese drum", _DRUM, _INSTRUMENT),
    "reversed cymbal": ("a cymbal played backwards", "a swelling hiss", "a whoosh"),
    "breathing": ("a person breathing", "heavy breathing", "a breath, an exhalation"),
    "birds chirping": ("birds chirping", "birdsong", "a bird singing", "tweeting birds", _WEATHER),
    "telephone ringing": ("a telephone ringing", "a phone call", "an old phone rings"),
    "applause": ("applause", "people clapping", "an audience cheering", "a crowd of people"),
    "gunshot": ("a gunshot", "a gun being fired", "a rifle shot", "shooting, a weapon"),
    "bass drum": ("a bass drum", "a kick drum", _DRUM, _INSTRUMENT),
    "snare drum": ("a snare drum", "a drum roll", _DRUM, _INSTRUMENT),
    "hand clap": ("a hand clap", "someone clapping hands", "clapping"),
    "tom drum": ("tom-toms", "someone playing the drums", _DRUM, _INSTRUMENT),
    "hi-hat": ("a hi-hat", "a closed hi-hat cymbal", _DRUM),
    "cymbal crash": ("a crash cymbal", "a cymbal struck hard", _DRUM),
    "ride cymbal": ("a ride cymbal", "a cymbal tapped with a stick", _DRUM),
    "tambourine": ("a tambourine", "sleigh bells jingling", _DRUM),
    "cowbell": ("a cowbell", "an agogo bell", _DRUM),
    "bongo": ("bongo drums", "drumming with the hands", _DRUM, _INSTRUMENT),
    "conga": ("conga drums", "Latin percussion", _DRUM, _INSTRUMENT),
    "maracas": ("maracas", "a shaker being shaken", "a rattle", _DRUM),
    "referee whistle": ("a referee's whistle", "blowing a whistle", "a football referee"),
    "guiro": ("a guiro", "scraping a guiro", _DRUM),
    "wood block": ("a wood block", "claves", "a wooden knock", _DRUM),
    "triangle": ("a triangle", "a struck steel triangle ringing", _DRUM),
    "castanets": ("castanets", "clacking castanets in flamenco", _DRUM),
    "drum kit": ("a drum beat", "someone playing a drum kit", "drums, a rhythm", _DRUM),
    "pure tone": ("a pure tone", "a sine wave", "a steady test tone", "a constant pitch"),
    "beeping": ("beeping", "an electronic beep", "a device that beeps", _ALARM),
    "siren": ("a siren", "a police siren", "an ambulance siren", "a fire engine", _ALARM),
    "alarm clock": ("an alarm clock ringing", "a digital alarm clock beeping", _ALARM),
    "smoke alarm": ("a smoke alarm", "a fire alarm going off", _ALARM),
    "dial tone": ("a dial tone", "a telephone line", "a busy signal"),
    "telephone dialling": ("dialling a number on a telephone", "touch tones", "a keypad"),
    "white noise": ("white noise", "static", "hiss", "a detuned radio", "television static"),
    "wind": ("wind blowing", "howling wind", "a gust of wind", "a windy day", _WEATHER),
    "electric hum": ("an electric hum", "mains hum", "a buzzing transformer", "buzzing"),
    "engine": ("an engine running", "a car engine", "a vehicle idling", "a truck", _MACHINE),
    "vacuum cleaner": ("a vacuum cleaner", "a hair dryer", "an electric motor", _MACHINE),
    "sweeping tone": ("a tone that rises and falls", "a slide whistle", "a frequency sweep"),
    "laser gun": ("a laser gun", "a video game sound effect", "science fiction zaps"),
    "footsteps": ("footsteps", "a person walking", "someone running", "steps on the floor"),
    "knocking": ("knocking on a door", "someone knocks at the door", "a knock on wood"),
    "heartbeat": ("a heartbeat", "a beating heart", "a pulse", "a stethoscope"),
    "morse code": ("morse code", "a telegraph", "dots and dashes, radio signals"),
    "bubbling water": ("bubbling water", "dripping water", "a stream", "water drops", "a brook"),
    "crickets": ("crickets chirping", "insects at night", "cicadas", "a grasshopper", _WEATHER),
    "explosion": ("an explosion", "a bomb going off", "thunder", "fireworks", "a loud bang"),
    "typing": ("typing on a keyboard", "someone types on a computer", "a typewriter"),
    "clinking glass": ("clinking glasses", "glass breaking", "dishes and cutlery"),
    "bell": ("a bell ringing", "a doorbell", "a bicycle bell", "ding dong"),
    "car horn": ("a car horn honking", "a traffic jam", "a truck horn", "a train horn"),
    "clicking": ("a click", "a mouse click", "a switch being flipped", "clicks and pops"),
    "silence": ("silence", "nothing to be heard", "a quiet room", "no sound at all"),
    "a man speaking": ("a man talking", "male speech", "a male voice", "a person talking"),
    "a woman speaking": ("a woman talking", "female speech", "a female voice", "a person talking"),
    "whispering": ("someone whispering", "a whisper", "a hushed voice"),
}


def captions() -> dict[str, list[str]]:
    """By concept its captions, in the order in which the network numbers concepts."""
    named = {name: list(words) for name, words in esc.TRAINED.items()}
    for word in speech.WORDS:
        named[word] = [f"the spoken word {word}", f"someone says {word}", f"a voice saying {word}"]
    for name, more in RENDERED.items():
        named[name] = [name, *more]
    return named


class Prototypes(NamedTuple):
    """concepts: `(K, D)` unit rows. nowhere: `(D,)`, a direction in which no caption lies."""

    concepts: Floats
    nowhere: Floats


def prototypes(embedder: Embedder) -> Prototypes:
    """What tells the captions of each concept from those of all others.

    The middle of its captions and its name, less half of what all concepts have in common, so that
    no caption is near to every sound; then turned away from the directions in which captions of
    one concept differ (Fisher's linear discriminant, its covariance shrunk: Friedman 1989).
    """
    middles, residues, everything = [], [], []
    for name, words in captions().items():
        framed = _vectors(embedder, [template.format(name) for template in TEMPLATES])
        said = _vectors(embedder, words)
        middles.append(2 * normalise(said.mean(0)) + normalise(framed.mean(0)))
        residues.append(said - said.mean(0))
        everything += [framed, said]
    unit = normalise(np.stack(middles))
    own = normalise(unit - COMMON * unit.mean(0))
    within = _second_moment(residues)
    shrunk = SHRINKAGE * np.eye(len(within)) + (1 - SHRINKAGE) * within
    nowhere = np.linalg.eigh(_second_moment(everything))[1][:, 0].astype(np.float32)
    told = np.linalg.solve(shrunk, own.T).T
    return Prototypes(normalise(told - np.outer(told @ nowhere, nowhere)), nowhere)


def _second_moment(rows: Sequence[Floats]) -> NDArray[np.float64]:
    """`(D, D)`, of mean eigenvalue 1."""
    stacked = np.concatenate(rows).astype(np.float64)
    moment = stacked.T @ stacked
    return np.asarray(moment * (len(moment) / np.trace(moment)), np.float64)


def _vectors(embedder: Embedder, texts: Sequence[str]) -> Floats:
    return embedder.embed([Media(Modality.TEXT, text) for text in texts]).joint


def rendered_names() -> list[str]:
    """Everything that has a renderer; imitations have no captions."""
    named = (*midi.PROGRAMS, *midi.DRUMS, *tones.TONES, *speech.WORDS, *speech.SPEAKERS)
    return [*named, *tones.IMITATIONS]


def numbers(names: Sequence[str]) -> Tensor:
    """`(N,)`: which concepts are called so; imitations come after all that have captions."""
    known = [*captions(), *tones.IMITATIONS]
    return torch.tensor([known.index(name) for name in names])
