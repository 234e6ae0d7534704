"""Figures as pictures, PNG or SVG by name: a matrix (what is taken for what), bars side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from embed.errors import BadInput, MissingDependency, NotFound
from embed.media.source import shown

INK = "#33383f"
BARS = ("#3b78b0", "#e0904a", "#6a9f58", "#8d6cab")
NUMBERED = 20  # columns up to which cells have room for their number
STYLE = {"font.family": "sans-serif", "font.size": 9, "svg.hashsalt": "crossbind"}


def check(path: Path) -> None:
    """Raises BadInput unless the name says PNG or SVG, NotFound where its folder is missing,
    MissingDependency without matplotlib."""
    if not path.absolute().parent.is_dir():
        raise NotFound(f"{shown(path)}: its folder does not exist; make it, or name another")
    if path.suffix.lower() not in {".png", ".svg"}:
        raise BadInput(f"{shown(path)} ends in neither .png nor .svg; name the plot so")
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 (loads matplotlib)
    except ImportError as error:
        raise MissingDependency(
            "plots are drawn by matplotlib: pip install 'crossbind[train]'"
        ) from error


def heatmap(
    path: Path,
    values: NDArray[np.float64],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    axes: tuple[str, str],
) -> None:
    """`(R, C)` in [0, 1], NaN where there is nothing. axes: what rows and columns are."""
    check(path)
    import matplotlib as mpl  # noqa: PLC0415 (loads matplotlib)
    from matplotlib.figure import Figure  # noqa: PLC0415

    side = [2.2 + 0.5 * len(names) for names in (columns, rows)]
    with mpl.rc_context(cast("Any", STYLE)):
        figure = Figure(figsize=(side[0], side[1]), layout="constrained")
        axis = figure.add_subplot()
        axis.imshow(values, cmap="Blues", vmin=0, vmax=1)
        axis.set_title(title, loc="left", color=INK)
        axis.set_ylabel(axes[0])
        axis.set_xlabel(axes[1])
        axis.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        axis.set_yticks(range(len(rows)), rows)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        if len(columns) <= NUMBERED:
            _number(axis, values)
        _save(figure, path)


def bars(
    path: Path,
    of: Mapping[str, Sequence[tuple[float, float, float]]],
    *,
    groups: Sequence[str],
    title: str,
) -> None:
    """Shares in [0, 1] side by side: for each name one (value, low, high) a group, NaN where there
    is none."""
    check(path)
    import matplotlib as mpl  # noqa: PLC0415 (loads matplotlib)
    from matplotlib.figure import Figure  # noqa: PLC0415

    wide = 0.8 / len(of)
    with mpl.rc_context(cast("Any", STYLE)):
        figure = Figure(figsize=(2.2 + 0.9 * len(groups), 3.6), layout="constrained")
        axis = figure.add_subplot()
        for number, (name, told) in enumerate(of.items()):
            values, low, high = np.array(told, np.float64).T
            places = np.arange(len(groups)) + (number - (len(of) - 1) / 2) * wide
            spread = np.maximum([values - low, high - values], 0)
            shade = BARS[number % len(BARS)]
            axis.bar(places, values, 0.9 * wide, yerr=spread, color=shade, ecolor=INK, label=name)
        axis.set_title(title, loc="left", color=INK)
        axis.set_ylim(0, 1.02)
        axis.set_xticks(range(len(groups)), groups, rotation=30, ha="right")
        axis.tick_params(length=0)
        axis.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower left", frameon=False)
        _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    """The same bytes every time."""
    metadata = {"Software": None} if path.suffix.lower() == ".png" else {"Date": None}
    figure.savefig(path, dpi=160, metadata=cast("Any", metadata))


def _number(axis: Any, values: NDArray[np.float64]) -> None:
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value) and value >= 0.005:
            ink = "white" if value > 0.6 else INK
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, size=8)
