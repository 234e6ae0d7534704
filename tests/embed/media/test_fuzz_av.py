"""Damaged sounds and films: whatever is done to the bytes, they are read or refused, in time.

They are read in a process of their own, so that a crash is a failure and not the end of the tests.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

CASES = int(os.environ.get("CROSSBIND_FUZZ_AV", "104"))
SECONDS_EACH = 20

READ = """
import faulthandler, pickle, resource, sys
from itertools import islice
faulthandler.dump_traceback_later(int(sys.argv[2]) * 4, exit=True)
resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
from embed.errors import BadInput, Forbidden
from embed.media.av_open import open_sound_or_film
from embed.media.preview import poster, waveform
from embed.types import Modality, TimeSpan
for number, kind, data in pickle.load(open(sys.argv[1], "rb")):
    faulthandler.dump_traceback_later(int(sys.argv[2]), exit=True)
    print(number, kind, len(data), flush=True)
    try:
        for modality, make in open_sound_or_film(data, media_type=kind, called="it").items():
            reader = make(64).data
            if modality is Modality.AUDIO:
                assert 0 < reader.duration <= 24 * 3600
                spans = [TimeSpan(k * 1.5, k * 1.5 + 2) for k in range(4)]
                spans.append(TimeSpan(max(6, reader.duration - 1), reader.duration + 1))
                for window in reader.windows(spans, rate=16000):
                    assert window.size and abs(window).max() <= 1
                waveform(reader, 64)
            elif modality is Modality.VIDEO:
                assert 0 < reader.duration <= 24 * 3600
                last = 0.0
                shots = reader.shots(seconds=5, per_second=2, min_side=32)
                for span, frames in islice(shots, 2000):
                    assert span.start == last < span.end and len(frames) <= 11, span
                    last = span.end
                poster(reader, 64)
    except (BadInput, Forbidden):
        pass
print("done", flush=True)
"""


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Bits flipped, cut short, a stretch zeroed or doubled, or a number made extreme."""
    array = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, min(len(array), 2_000) if rng.random() < 0.6 else len(array)))
        match int(rng.integers(0, 6)):
            case 0:
                array[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                del array[max(at, 50) :]
            case 2:
                length = int(rng.integers(1, 400))
                array[at : at + length] = bytes(len(array[at : at + length]))
            case 3:
                value = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\1")
                array[at : at + 4] = value[int(rng.integers(0, 4))]
            case 4:
                array[at:at] = array[at : at + int(rng.integers(1, 400))]
            case 5:
                for _ in range(20):
                    array[int(rng.integers(0, len(array)))] = int(rng.integers(0, 256))
        if len(array) < 60:
            break
    return bytes(array)


def seeds(make_sound: Callable[..., bytes], make_film: Callable[..., bytes]) -> dict[str, bytes]:
    rng = np.random.default_rng(9)
    tone = (np.sin(np.arange(48_000) / 20) * 9_000).astype(np.int16)[None]
    frames = [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(25)]
    tags = {"title": "it", "comment": "c"}
    sound = tone[0, :32_000]
    return {
        "audio/wav": make_sound(tone, tags=tags),
        "audio/flac": make_sound(tone, "flac", codec="flac", form="s16", tags=tags),
        "audio/ogg": make_sound(tone, "ogg", codec="libopus", form="s16", rate=48_000),
        "audio/mpeg": make_sound(tone, "mp3", codec="libmp3lame", tags=tags),
        "audio/mp4": make_sound(tone, "m4a", codec="aac", tags=tags),
        "audio/aiff": make_sound(tone, "aiff", codec="pcm_s16be"),
        "video/mp4": make_film(frames, codec="libx264", sound=sound, tags=tags),
        "video/matroska": make_film(frames, "mkv", sound=sound, tags=tags),
        "video/quicktime": make_film(frames, "mov", codec="mjpeg", form="yuvj420p"),
        "video/x-msvideo": make_film(frames, "avi"),
        "video/mp2t": make_film(frames, "ts", codec="mpeg2video", per_second=25, sound=sound),
        "video/mpeg": make_film(frames, "mpg", codec="mpeg2video", per_second=25),
        "video/webm": make_film(frames, "webm", codec="libvpx"),
    }


def cases(found: dict[str, bytes]) -> Iterator[tuple[int, str, bytes]]:
    rng = np.random.default_rng(int(os.environ.get("CROSSBIND_FUZZ_SEED", "10")))
    kinds = sorted(found)
    for number in range(CASES):
        kind = kinds[number % len(kinds)]
        yield number, kind, damaged(found[kind], rng)


def test_damaged_files_are_read_or_refused(
    make_sound: Callable[..., bytes], make_film: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "cases"
    path.write_bytes(pickle.dumps(list(cases(seeds(make_sound, make_film)))))
    command = [sys.executable, "-c", READ, str(path), str(SECONDS_EACH)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-200:]}\n{done.stderr[-3000:]}"
    assert done.stdout.endswith("done\n")
