"""What moves in a film, and which way: block matching between frames a quarter of a second apart.

Frames are brought to 32 x 32 pixels and cut into 8 x 8 cells; each cell is looked for within 6
pixels in the later frame (sum of absolute differences: Jain & Jain, 1981). The camera's motion is
the median over the cells at the border, which a moving thing seldom fills; what the other cells do
beyond it, weighted by how much better it explains the change than standing still does, is the
motion of things. Everything is in fractions of the picture a second; y points down.

It knows no words and no network.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from embed.types import Floats, Pixels

PER_SECOND = 4.0
"""Frames a second that suffice."""
FEATURES = 12

_SIDE, _CELL, _REACH = 32, 4, 6
_CELLS = _SIDE // _CELL
_WIDTH = 2 * _REACH + 1
_SHIFTS = np.stack(np.meshgrid(*[np.arange(_WIDTH) - _REACH] * 2, indexing="ij"), -1).reshape(-1, 2)
_STILL = len(_SHIFTS) // 2
_FAR = 0.25 * np.hypot(_SHIFTS[:, 0], _SHIFTS[:, 1]).astype(np.float32)
"""Grey levels that a shift must gain, the more the farther: plain ground stands still."""
_NOISE = 1.5
_FAINT = 5.0
"""Grey levels over all cells, below which what changes is taken for noise."""
_BORDER = np.pad(np.zeros((_CELLS - 2, _CELLS - 2), bool), 1, constant_values=True)
_Y, _X = np.meshgrid(*[(np.arange(_CELLS) + 0.5) / _CELLS - 0.5] * 2, indexing="ij")

Cells = NDArray[np.float32]


def motion(frames: Pixels, rate: float) -> Floats | None:
    """`(12,)` in about [-1, 1] of `(T, H, W, 3)` frames, `rate` a second; None of a single frame.

    Of things: right, down, growing; of the camera's picture the same; how much changes; how fast
    the picture moves; and the sizes of the first three and of the camera's zoom.
    """
    gap = min(max(1, round(rate / PER_SECOND)), len(frames) - 1)
    if gap < 1:
        return None
    small = _small(frames)
    moves, gains = _matched(small[:-gap], small[gap:])
    texture = _texture(small[:-gap])
    camera = np.median(moves[:, _BORDER], axis=1)
    own = moves - camera[:, None, None]
    moving = gains * (np.abs(own).sum(-1) > 0)
    speed = rate / gap
    things, growth = _of_things(own, moving)
    zoom = _slope(moves, (texture > 6).astype(np.float32)).mean()
    return _bounded(
        things * speed,
        growth * speed,
        camera.mean(axis=0) * speed,
        float(zoom) * speed,
        float(np.log1p(moving.sum() / len(moving))),
        float(np.hypot(*camera.T).mean()) * speed,
    )


def _small(frames: Pixels) -> Cells:
    """`(T, 32, 32, 3)`, softened, so that noise and sharp edges match as well as shapes do."""
    size, box = (_SIDE, _SIDE), Image.Resampling.BOX
    tiny = np.stack([np.asarray(Image.fromarray(frame).resize(size, box)) for frame in frames])
    soft = tiny.astype(np.float32)
    for axis in (1, 2):
        width = [(1, 1) if n == axis else (0, 0) for n in range(4)]
        before, here, after = (
            np.take(np.pad(soft, width, "edge"), np.arange(_SIDE) + n, axis) for n in range(3)
        )
        soft = np.asarray((before + 2 * here + after) / 4, np.float32)
    return soft


def _matched(before: Cells, after: Cells) -> tuple[Cells, Cells]:
    """`(T, 8, 8, 2)`: how far each cell went, down and right; `(T, 8, 8)`: what that explains."""
    costs = np.stack([_costs(*pair) for pair in zip(before, after, strict=True)])
    best = (costs + _FAR[:, None, None]).argmin(axis=1)
    least = np.take_along_axis(costs + _FAR[:, None, None], best[:, None], axis=1)[:, 0]
    gains = np.maximum(costs[:, _STILL] - least - _NOISE, 0)
    return (_SHIFTS[best] / np.float32(_SIDE)).astype(np.float32), gains


def _costs(before: Cells, after: Cells) -> Cells:
    """`(169, 8, 8)`: by shift, how much each cell differs from what is there."""
    old, new = (np.moveaxis(frame, -1, 0).astype(np.int16) for frame in (before, after))
    margin = ((0, 0), (_REACH, _REACH), (_REACH, _REACH))
    windows = sliding_window_view(np.pad(new, margin, "edge"), (_SIDE, _SIDE), axis=(1, 2))
    apart = np.abs(windows - old[:, None, None]).sum(axis=0, dtype=np.int16)
    rows = apart.reshape(_WIDTH, _WIDTH, _SIDE, _CELLS, _CELL).sum(axis=-1, dtype=np.int32)
    cells = rows.reshape(_WIDTH, _WIDTH, _CELLS, _CELL, _CELLS).sum(axis=3, dtype=np.int32)
    return np.asarray(cells.reshape(-1, _CELLS, _CELLS) / _CELL**2, np.float32)


def _texture(frames: Cells) -> Cells:
    """`(T, 8, 8)`: grey levels that neighbouring pixels differ by."""
    down = np.abs(np.diff(frames, axis=1, append=frames[:, -1:])).sum(axis=-1)
    across = np.abs(np.diff(frames, axis=2, append=frames[:, :, -1:])).sum(axis=-1)
    cells = (down + across).reshape(len(frames), _CELLS, _CELL, _CELLS, _CELL)
    return np.asarray(cells.mean(axis=(2, 4)), np.float32)


def _of_things(own: Cells, moving: Cells) -> tuple[Cells, float]:
    """Right and down, and growth, of all that moves by itself, over all frames."""
    total = float(moving.sum()) + _FAINT * len(moving)
    mean = (moving[..., None] * own).sum(axis=(0, 1, 2)) / total
    growth = (_slope(own, moving) * moving.sum(axis=(1, 2))).sum() / total
    return mean, float(growth)


def _slope(moves: Cells, weights: Cells) -> Cells:
    """`(T,)`: by how much cells move apart for each unit that they are apart (least squares)."""
    total = weights.sum(axis=(1, 2)) + 1e-6
    along = np.zeros(len(moves), np.float32)
    spread = 1e-3 * total
    for place, move in ((_Y, moves[..., 0]), (_X, moves[..., 1])):
        middle = (weights * place).sum(axis=(1, 2)) / total
        mean = (weights * move).sum(axis=(1, 2)) / total
        off = place - middle[:, None, None]
        along = along + (weights * off * (move - mean[:, None, None])).sum(axis=(1, 2))
        spread = spread + (weights * off * off).sum(axis=(1, 2))
    return np.asarray(along / spread, np.float32)


def _bounded(
    things: Cells, growth: float, camera: Cells, zoom: float, change: float, speed: float
) -> Floats:
    """Squashed, so that very fast is not more certain than fast."""
    down, right = np.tanh(6 * things)
    sunk, aside = np.tanh(6 * camera)
    grows, zooms = np.tanh([4 * growth, 4 * zoom])
    signed = [right, down, grows, aside, sunk, zooms, change, np.tanh(6 * speed)]
    return np.array([*signed, abs(right), abs(down), abs(grows), abs(zooms)], np.float32)
