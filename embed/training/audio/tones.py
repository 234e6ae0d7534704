"""Sounds that need no recording: tones, sirens, alarms, noises, engines, clicks.

Each is a function of a seeded generator, 5 s at 16 kHz, of no calibrated level. It knows no
network and no words beyond the names of what it makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from embed.types import Floats

RATE = 16_000
LENGTH = 5 * RATE

Wave = NDArray[np.float64]
Dice = np.random.Generator

_TIME = np.arange(LENGTH) / RATE


def render(name: str, count: int, seed: int) -> Iterator[Floats]:
    """`count` sounds of what `TONES` or `IMITATIONS` calls `name`."""
    for number in range(count):
        dice = np.random.default_rng([seed, number, *name.encode()])
        wave = (TONES | IMITATIONS)[name](dice)
        peak = np.abs(wave).max()
        yield (wave / peak * dice.uniform(0.1, 0.9) if peak > 0 else wave).astype(np.float32)


def _swept(hertz: Wave | float, shape: str = "sine") -> Wave:
    """A tone whose pitch follows `hertz`."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hertz, LENGTH)) / RATE
    if shape == "sine":
        return np.sin(phase)
    return _sum([np.sin(n * phase) / n for n in (1, 2, 3, 5, 7)])


def _sum(parts: Sequence[Wave]) -> Wave:
    total: Wave = np.sum(parts, axis=0)
    return total


def _noise(dice: Dice, tilt: float, low: float = 20.0, high: float = 8000.0) -> Wave:
    """Gaussian noise whose amplitude falls as f^-tilt between two frequencies."""
    bins = np.fft.rfft(dice.standard_normal(LENGTH))
    hertz = np.fft.rfftfreq(LENGTH, 1 / RATE)
    bins *= np.where((hertz > low) & (hertz < high), np.maximum(hertz, 1.0) ** -tilt, 0.0)
    wave = np.fft.irfft(bins, LENGTH)
    return np.asarray(wave / (np.abs(wave).max() + 1e-9))


def _slow(dice: Dice, per_second: float) -> Wave:
    """A curve in [0, 1] that turns about `per_second` times a second."""
    knots = dice.random(int(5 * per_second) + 3)
    return np.interp(_TIME * per_second, np.arange(len(knots)), knots)


def _gated(on: float, off: float, start: float = 0.0) -> Wave:
    """1 for `on` seconds, 0 for `off`, and so on, with edges of 4 ms."""
    gate = ((_TIME - start) % (on + off) < on) & (start <= _TIME)
    return np.convolve(gate, np.ones(64) / 64, "same")


def _at(times: Wave, grain: Callable[[], Wave]) -> Wave:
    """Short sounds at the given seconds."""
    wave = np.zeros(LENGTH)
    for time in times:
        first = int(time * RATE)
        piece = grain()[: max(0, LENGTH - first)]
        wave[first : first + len(piece)] += piece
    return wave


def _ring(dice: Dice, hertz: float, fall: float, partials: int = 1, seconds: float = 1.5) -> Wave:
    """Something struck: partials that die away, the higher ones faster."""
    time = np.arange(int(seconds * RATE)) / RATE
    ratios = 1 + np.cumsum(dice.uniform(0.4, 1.7, partials)) * (np.arange(partials) > 0)
    parts = [
        np.sin(2 * np.pi * hertz * ratio * time + dice.random()) * np.exp(-time * fall * ratio)
        for ratio in ratios
        if hertz * ratio < RATE / 2
    ]
    return _sum(parts)


def _burst(dice: Dice, fall: float, tilt: float) -> Wave:
    """Noise that dies away."""
    length = int(min(2.0, 8 / fall) * RATE)
    return _noise(dice, tilt)[:length] * np.exp(-np.arange(length) / RATE * fall)


def _regular(dice: Dice, gap: float, jitter: float) -> Wave:
    count = int(5 / gap) + 1
    times = dice.uniform(0, gap) + gap * (np.arange(count) + dice.uniform(-1, 1, count) * jitter)
    return times[(times >= 0) & (times < 5)]


def _tone(dice: Dice) -> Wave:
    return _swept(float(np.exp(dice.uniform(np.log(120), np.log(6000)))))


def _beep(dice: Dice) -> Wave:
    tone = _swept(dice.uniform(500, 3500), str(dice.choice(["sine", "rough"])))
    return tone * _gated(dice.uniform(0.06, 0.4), dice.uniform(0.1, 0.9), dice.uniform(0, 0.5))


def _siren(dice: Dice) -> Wave:
    low, high = dice.uniform(400, 750), dice.uniform(1000, 1700)
    turn = 2 * np.pi * _TIME * dice.choice([0.2, 0.35, 2.0, 4.0]) + dice.uniform(0, 6)
    rise = np.sin(turn) * 0.5 + 0.5 if dice.random() < 0.6 else (np.sin(turn / 2) > 0) * 0.7
    return _swept(low + (high - low) * rise, str(dice.choice(["sine", "rough"])))


def _alarm_clock(dice: Dice) -> Wave:
    inner = _gated(0.06, 0.06)
    return _swept(dice.uniform(1500, 3200), "rough") * inner * _gated(0.48, dice.uniform(0.3, 0.6))


def _smoke_alarm(dice: Dice) -> Wave:
    inner = _gated(dice.uniform(0.3, 0.5), 0.2)
    return _swept(dice.uniform(2800, 3400), "rough") * inner * _gated(1.9, dice.uniform(0.5, 1.5))


def _dial_tone(dice: Dice) -> Wave:
    tone = _swept(350.0) + _swept(dice.uniform(430, 450))
    return tone if dice.random() < 0.5 else tone * _gated(0.5, 0.5)


def _dialling(dice: Dice) -> Wave:
    wave, on = np.zeros(LENGTH), dice.uniform(0.08, 0.25)
    for time in np.arange(dice.uniform(0, 0.5), 4.5, on * dice.uniform(1.5, 2.5)):
        pair = _swept(dice.choice([697.0, 770, 852, 941])) + _swept(
            dice.choice([1209.0, 1336, 1477])
        )
        wave += pair * ((time <= _TIME) & (time + on > _TIME))
    return wave


def _static(dice: Dice) -> Wave:
    return _noise(dice, dice.uniform(-0.1, 0.3), high=dice.uniform(4000, 8000))


def _wind(dice: Dice) -> Wave:
    gusts = _noise(dice, dice.uniform(0.8, 1.3)) * (0.2 + _slow(dice, 0.8) ** 2)
    howl = _noise(dice, 0.0, 300, dice.uniform(500, 900)) * _slow(dice, 0.8) * dice.uniform(0, 0.4)
    return gusts + howl


def _hum(dice: Dice) -> Wave:
    return _swept(float(dice.choice([50, 60, 100, 120])), "rough") + _noise(dice, 0.5) * 0.02


def _engine(dice: Dice) -> Wave:
    pace = dice.uniform(15, 70) * (0.8 + 0.4 * _slow(dice, dice.choice([0.3, 1.5])))
    beat: Wave = np.maximum(0, _swept(pace)) ** 4
    body = _noise(dice, 0.8, 40, 2500) * beat + _swept(pace * 2, "rough") * 0.15
    return body + _noise(dice, 0.4) * 0.05


def _electric_motor(dice: Dice) -> Wave:
    whine = _swept(dice.uniform(150, 900) * (0.95 + 0.1 * _slow(dice, 0.5)), "rough")
    return whine * dice.uniform(0.2, 0.6) + _noise(dice, dice.uniform(0.1, 0.6))


def _sweep(dice: Dice) -> Wave:
    ends = np.exp(dice.uniform(np.log(200), np.log(5000), 2))
    turns = float(dice.choice([0.2, 0.4, 1.0]))
    return _swept(ends[0] * (ends[1] / ends[0]) ** ((_TIME * turns) % 1.0))


def _laser(dice: Dice) -> Wave:
    pace = dice.uniform(0.2, 0.6)
    fall = (_TIME % pace) / pace
    return _swept(dice.uniform(2000, 5000) * np.exp(-fall * 3.5), "rough") * (1 - fall)


def _footsteps(dice: Dice) -> Wave:
    tilt, fall = dice.uniform(0.3, 1.0), dice.uniform(25, 60)
    return _at(_regular(dice, dice.uniform(0.35, 0.75), 0.04), lambda: _burst(dice, fall, tilt))


def _knocking(dice: Dice) -> Wave:
    start, gap = dice.uniform(0, 1.5), dice.uniform(0.13, 0.28)
    hertz, fall = dice.uniform(120, 400), dice.uniform(30, 70)
    times = np.concatenate(
        [first + gap * np.arange(dice.integers(2, 6)) for first in (start, start + 2.2)]
    )
    return _at(times[times < 5], lambda: _ring(dice, hertz, fall, 3, 0.3))


def _heartbeat(dice: Dice) -> Wave:
    gap, hertz = dice.uniform(0.55, 1.1), dice.uniform(40, 80)
    first = _regular(dice, gap, 0.01)
    second = first + gap * 0.32
    times = np.concatenate([first, second[second < 5]])
    return _at(times, lambda: _ring(dice, hertz, 28, 1, 0.3)) + _noise(dice, 1.0) * 0.01


def _morse(dice: Dice) -> Wave:
    unit, time, gate = dice.uniform(0.05, 0.1), 0.1, np.zeros(LENGTH)
    while time < 5:
        on = unit * dice.choice([1, 3])
        gate[(time <= _TIME) & (time + on > _TIME)] = 1
        time += on + unit * dice.choice([1, 1, 1, 3])
    return _swept(dice.uniform(500, 1000)) * gate


def _bubbles(dice: Dice) -> Wave:
    def drop() -> Wave:
        time = np.arange(int(0.08 * RATE)) / RATE
        hertz = dice.uniform(400, 2200)
        return np.sin(2 * np.pi * hertz * (time + dice.uniform(2, 8) * time**2)) * np.exp(
            -time * 50
        )

    return _at(dice.uniform(0, 4.9, dice.integers(3, 120)), drop) + _noise(dice, 0.5) * 0.01


def _crickets(dice: Dice) -> Wave:
    chirp = _swept(dice.uniform(3500, 5500)) * _gated(0.015, dice.uniform(0.015, 0.03))
    return (
        chirp * _gated(dice.uniform(0.08, 0.4), dice.uniform(0.2, 0.8)) + _noise(dice, 0.5) * 0.02
    )


def _explosion(dice: Dice) -> Wave:
    times, fall, tilt = (
        dice.uniform(0, 3, dice.integers(1, 3)),
        dice.uniform(1.5, 5),
        dice.uniform(0.7, 1.2),
    )
    return _at(times, lambda: _burst(dice, fall, tilt))


def _typing(dice: Dice) -> Wave:
    times = np.cumsum(dice.uniform(0.06, 0.35, 40))
    return _at(
        times[times < 5], lambda: _burst(dice, dice.uniform(90, 250), 0.1) * dice.uniform(0.4, 1)
    )


def _glass(dice: Dice) -> Wave:
    times = dice.uniform(0, 4, dice.integers(1, 8))
    return _at(times, lambda: _ring(dice, dice.uniform(1500, 4500), 8, 4))


def _bell(dice: Dice) -> Wave:
    hertz, gap = dice.uniform(500, 2500), dice.uniform(0.5, 2.5)
    return _at(_regular(dice, gap, 0.02), lambda: _ring(dice, hertz, 1.5, 5, 3.0))


def _horn(dice: Dice) -> Wave:
    hertz = dice.uniform(280, 480)
    chord = _swept(hertz, "rough") + _swept(hertz * dice.uniform(1.19, 1.34), "rough")
    return chord * _gated(dice.uniform(0.3, 2), dice.uniform(0.2, 1.5), dice.uniform(0, 1))


def _clicks(dice: Dice) -> Wave:
    times = dice.uniform(0, 4.9, dice.integers(1, 12))
    return _at(times, lambda: _burst(dice, dice.uniform(300, 900), 0.0))


def _silence(_: Dice) -> Wave:
    return np.zeros(LENGTH)


def _grains(dice: Dice, per_second: float, fall: float, tilt: float) -> Wave:
    """Countless small sounds of one kind at random times, a few of them much louder."""
    hits = np.zeros(LENGTH)
    places = dice.integers(0, LENGTH, dice.poisson(per_second * 5))
    np.add.at(hits, places, dice.exponential(1.0, len(places)) * dice.choice([-1, 1], len(places)))
    grain = np.zeros(LENGTH)
    burst = _burst(dice, fall, tilt)
    grain[: len(burst)] = burst
    wave = np.fft.irfft(np.fft.rfft(hits) * np.fft.rfft(grain), LENGTH)
    return np.asarray(wave / (np.abs(wave).max() + 1e-9))


def _voiced(dice: Dice, contour: Wave, formants: Wave) -> Wave:
    """Harmonics of a gliding pitch, as loud as a throat of these formants lets them be."""
    phase = 2 * np.pi * np.cumsum(contour) / RATE
    parts = []
    for number in range(1, 24):
        hertz = contour * number
        gain = np.sum([1 / (1 + ((hertz - peak) / 250) ** 2) for peak in formants], axis=0)
        parts.append(np.sin(number * phase) * (gain + 0.05) * (hertz < RATE / 2) / number**0.5)
    return _sum(parts) + dice.standard_normal(len(contour)) * dice.uniform(0.02, 0.4)


def _calls(dice: Dice, seconds: tuple[float, float], pitch: tuple[float, float]) -> Wave:
    """Someone or something with a throat, calling a few times."""
    length, base = dice.uniform(*seconds), float(np.exp(dice.uniform(*np.log(pitch))))
    bend, formants = dice.uniform(0.5, 1.9, 3), dice.uniform(400, 3200, 3)
    tremor, depth = dice.uniform(4, 9), dice.uniform(0, 0.06)

    def call() -> Wave:
        time = np.linspace(0, 1, int(length * dice.uniform(0.8, 1.2) * RATE))
        contour = base * np.interp(time, [0, 0.3, 1], bend)
        contour = contour * (1 + depth * np.sin(2 * np.pi * tremor * time * length))
        return _voiced(dice, contour, formants) * np.sin(np.pi * time**0.6) * dice.uniform(0.5, 1)

    times = _regular(dice, length * dice.uniform(1.2, 3) + 0.1, 0.1)
    return _at(times[: dice.integers(1, 8)], call) + _noise(dice, 0.5) * dice.uniform(0, 0.05)


def _pattering(dice: Dice) -> Wave:
    drops = _grains(dice, dice.uniform(80, 1500), dice.uniform(200, 900), dice.uniform(0, 0.4))
    return drops + _noise(dice, dice.uniform(0, 0.6)) * dice.uniform(0, 1)


def _snapping(dice: Dice) -> Wave:
    snaps = _grains(dice, dice.uniform(2, 40), dice.uniform(200, 1500), dice.uniform(0, 0.3))
    return snaps * np.abs(snaps) ** 0.3 + _noise(dice, dice.uniform(0.3, 1)) * dice.uniform(0, 0.2)


def _surging(dice: Dice) -> Wave:
    swell = np.sin(np.pi * (_TIME / dice.uniform(2.5, 9) + dice.random())) ** 2 + 0.1
    low, high = _noise(dice, 0.7), _noise(dice, 0.1)
    return low * swell + high * swell ** dice.uniform(2, 4) * dice.uniform(0.2, 1)


def _ticking(dice: Dice) -> Wave:
    gap, hertz = dice.uniform(0.2, 1.05), dice.uniform(700, 5000, 2)
    falls, times = dice.uniform(50, 250, 2), _regular(dice, gap, 0.005)
    even = _at(times[::2], lambda: _ring(dice, hertz[0], falls[0], 4, 0.25))
    odd = _at(times[1::2], lambda: _ring(dice, hertz[1], falls[1], 4, 0.25))
    return even + odd * dice.uniform(0.3, 1) + _noise(dice, 0.4) * dice.uniform(0, 0.06)


def _propeller(dice: Dice) -> Wave:
    beat = 0.3 + np.maximum(0, _swept(dice.uniform(8, 26))) ** dice.uniform(1, 4)
    drone = _swept(dice.uniform(60, 160), "rough") * dice.uniform(0.05, 0.4)
    return (_noise(dice, dice.uniform(0.4, 0.9)) * beat + drone) * (0.5 + 0.5 * _slow(dice, 0.4))


def _revving(dice: Dice) -> Wave:
    pace = dice.uniform(60, 190) * (0.55 + 0.45 * _slow(dice, float(dice.choice([0.4, 1.5]))))
    rough: Wave = np.sign(_swept(pace)) * 0.3 + np.maximum(0, _swept(pace)) ** 8
    return rough + _noise(dice, 0.2) * (0.2 + np.abs(_swept(pace / 2))) * dice.uniform(0.2, 0.8)


def _outburst(dice: Dice) -> Wave:
    def burst() -> Wave:
        rise, fall = dice.uniform(0.1, 0.6), dice.uniform(8, 30)
        swell = _noise(dice, 0.4)[: int(rise * RATE)]
        swell = swell * np.linspace(0, 1, len(swell)) ** 2 * dice.uniform(0.05, 0.4)
        return np.concatenate([swell, _burst(dice, fall, dice.uniform(-0.1, 0.4))])

    return _at(dice.uniform(0, 3.5, dice.integers(1, 4)), burst) + _noise(dice, 0.5) * 0.01


TONES: dict[str, Callable[[Dice], Wave]] = {
    "pure tone": _tone,
    "beeping": _beep,
    "siren": _siren,
    "alarm clock": _alarm_clock,
    "smoke alarm": _smoke_alarm,
    "dial tone": _dial_tone,
    "telephone dialling": _dialling,
    "white noise": _static,
    "wind": _wind,
    "electric hum": _hum,
    "engine": _engine,
    "vacuum cleaner": _electric_motor,
    "sweeping tone": _sweep,
    "laser gun": _laser,
    "footsteps": _footsteps,
    "knocking": _knocking,
    "heartbeat": _heartbeat,
    "morse code": _morse,
    "bubbling water": _bubbles,
    "crickets": _crickets,
    "explosion": _explosion,
    "typing": _typing,
    "clinking glass": _glass,
    "bell": _bell,
    "car horn": _horn,
    "clicking": _clicks,
    "silence": _silence,
}
IMITATIONS: dict[str, Callable[[Dice], Wave]] = {
    "pattering": _pattering,
    "snapping": _snapping,
    "surging": _surging,
    "ticking": _ticking,
    "propeller": _propeller,
    "revving": _revving,
    "outburst": _outburst,
    "short calls": lambda dice: _calls(dice, (0.08, 0.3), (200, 1100)),
    "long calls": lambda dice: _calls(dice, (0.5, 1.8), (250, 900)),
}
"""How nature and machines sound, roughly. They teach what to listen for; none is known by name."""
