"""The curves of a run as a picture, from its metrics.jsonl: PNG for people, SVG for papers.

One panel a quantity, small multiples over a common axis of steps. It needs matplotlib and knows
nothing of a run but its file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from embed.errors import MissingDependency, NotFound
from embed.training.journal import METRICS, read

INK, PALE = "#33383f", "#d5d9de"
COLOURS = ("#2f6db5", "#d9772b", "#3a9461", "#a44a86", "#8a6d3b", "#5b6670")  # told apart in grey
COLUMNS = 3
STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "svg.hashsalt": "crossbind",
}

Curve = tuple[Sequence[float], Sequence[float]]


class Panel(NamedTuple):
    """One quantity over steps: curves by name. log: a logarithmic axis, if it spans a decade."""

    title: str
    curves: Mapping[str, Curve]
    log: bool = False
    bounds: tuple[float | None, float | None] = (None, None)


def draw(folder: Path) -> list[Path]:
    """Writes curves.png and curves.svg beside the metrics.jsonl of a run in `folder`.

    Raises MissingDependency without matplotlib, NotFound when nothing was logged yet.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 (loads matplotlib)
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependency(
            "the curves of a run are drawn by matplotlib: pip install 'crossbind[train]'"
        ) from error
    lines = read(folder / METRICS)
    if not any("loss" in line for line in lines):
        raise NotFound(f"{folder / METRICS} holds no step yet: there is nothing to draw")
    shown = [panel for panel in panels(lines) if panel.curves]
    rows = -(-len(shown) // COLUMNS)
    with mpl.rc_context(cast("Any", STYLE)):
        figure = Figure(figsize=(4 * COLUMNS, 2.4 * rows), layout="constrained")
        for number, panel in enumerate(shown):
            axis = figure.add_subplot(rows, COLUMNS, number + 1)
            axis.set_xlim(0, max(line["step"] for line in lines))
            if number + COLUMNS >= len(shown):
                axis.set_xlabel("step")
            _draw(axis, panel)
        paths = [folder / "curves.png", folder / "curves.svg"]
        figure.savefig(paths[0], dpi=160, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def panels(lines: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    """What is worth seeing of a run, in the order it is read."""
    logged = [line for line in lines if "loss" in line]
    parts = _curves(logged, "parts")
    loss = {"loss": _curve(logged, "loss")} | (parts if len(parts) > 1 else {})
    yield Panel("loss", loss)
    yield Panel("R@1, held out", _curves(lines, "recall"), bounds=(0, 1.02))
    scales = _curves(logged, "scales")
    heats = {k.removeprefix("temperature "): v for k, v in scales.items() if "temperature" in k}
    yield Panel("temperature", heats)
    yield Panel("bias", {k.removeprefix("bias "): v for k, v in scales.items() if "bias" in k})
    yield Panel("gradient norm", {"": _curve(logged, "grad_norm")}, log=True)
    yield Panel("learning rate", {"": _curve(logged, "lr")}, bounds=(0, None))
    yield Panel("samples per second", {"": _curve(logged, "samples_per_s")}, bounds=(0, None))
    yield Panel("mean cosine of unmatched pairs", _named(lines, "unmatched"))


def _named(lines: Sequence[Mapping[str, Any]], key: str) -> dict[str, Curve]:
    curve = _curve(lines, key)
    return {"": curve} if curve[0] else {}


def _curve(lines: Sequence[Mapping[str, Any]], key: str) -> Curve:
    points = [(line["step"], line[key]) for line in lines if key in line]
    return [step for step, _ in points], [value for _, value in points]


def _curves(lines: Sequence[Mapping[str, Any]], key: str) -> dict[str, Curve]:
    """By name, where lines hold a mapping at `key`."""
    having = [{"step": line["step"], **line[key]} for line in lines if key in line]
    names = dict.fromkeys(name for line in having for name in line if name != "step")
    return {name: _curve(having, name) for name in names}


def _draw(axis: Any, panel: Panel) -> None:
    few = max(len(steps) for steps, _ in panel.curves.values()) < 40
    for number, (name, (steps, values)) in enumerate(panel.curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        axis.plot(steps, values, color=colour, label=name, marker="o" if few else None, ms=2.5)
    axis.set_title(panel.title)
    values = [value for _, values in panel.curves.values() for value in values]
    if panel.log and max(values) > 10 * min(values) > 0:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
    axis.set_ylim(*panel.bounds)
    if len(panel.curves) > 1:
        axis.legend(ncols=2 if len(panel.curves) > 3 else 1)
