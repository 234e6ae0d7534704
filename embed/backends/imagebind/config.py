"""ImageBind in numbers: the shapes of its inputs and the sizes of its towers.

Girdhar et al., ImageBind: One Embedding Space To Bind Them All (CVPR 2023), section 4 and the
appendix. It imports no torch, so that the space can be described without it.
"""

from __future__ import annotations

from dataclasses import dataclass

VISION, TEXT, AUDIO = "vision", "text", "audio"
DEPTH, THERMAL, IMU = "depth", "thermal", "imu"

SIDE = 224  # pixels of a picture, a depth map, a thermal picture
CONTEXT, VOCABULARY = 77, 49_408  # tokens a text may have, tokens there are
MELS, FRAMES = 128, 204  # of a spectrogram of 2 s
IMU_CHANNELS, IMU_STEPS, IMU_PATCH = 6, 2000, 8
EPS = 1e-6  # of layer norms in blocks and heads; those of stems have 1e-5
MAX_SCALE = 100.0
SCALES = {TEXT: 1 / 0.07, AUDIO: 20.0, DEPTH: 5.0, THERMAL: 10.0, IMU: 5.0}


@dataclass(frozen=True, slots=True)
class Shape:
    """A trunk: its width, how many blocks it has, and heads in each."""

    width: int
    blocks: int
    heads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What differs between sizes of ImageBind; inputs are the same in all."""

    vision: Shape
    text: Shape
    audio: Shape
    depth: Shape
    thermal: Shape
    imu: Shape
    joint: int

    def shape(self, tower: str) -> Shape:
        found: Shape = getattr(self, tower)
        return found


HUGE = Config(
    vision=Shape(1280, 32, 16),
    text=Shape(1024, 24, 16),
    audio=Shape(768, 12, 12),
    depth=Shape(384, 12, 8),
    thermal=Shape(768, 12, 12),
    imu=Shape(512, 6, 8),
    joint=1024,
)
TOWERS = (VISION, TEXT, AUDIO, DEPTH, THERMAL, IMU)
