"""How good answers are, for people: a table of figures, one configuration or two side by side."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from api.evaluation_rag import Evaluated, Report
from api.figures import GUESSED
from api.shapes import many, printable
from api.terminal import Terminal
from index.types import Failure
from rag.evaluate.summary import Figure


def evaluated(people: Terminal, found: Evaluated) -> None:
    """Figures with their intervals, where the time goes, and what could not be asked."""
    compared = found.compared
    voices = printable(" and ".join({str(r.setting.generator): "" for r in compared.reports}))
    people.out.print(_figures(found))
    for name, one in zip(compared.names, compared.reports, strict=True):
        if one.times:
            people.note(Text(f"{printable(name)}: {_times(one)}", style="dim"))
    people.note(
        f"{many(compared.reports[0].questions, 'question')}, answered by {voices}, "
        f"judged by {printable(compared.judge)}; 95 % intervals"
    )
    people.note(Text("ECE, Brier, AURC and injection: less is better", style="dim"))
    _confidence(people, found)
    for one in compared.reports:
        people.failures(
            [Failure(uri=name, code="bad_input", message=why) for name, why in one.failed.items()]
        )


def _figures(found: Evaluated) -> Table:
    compared = found.compared
    table = Table(box=None, header_style="dim", pad_edge=False)
    several = len(compared.reports) > 1
    for column in ("", *map(printable, compared.names), "difference" if several else "of"):
        table.add_column(column, overflow="fold")
    for name in dict.fromkeys(name for one in compared.reports for name in one.figures):
        told = [one.figures.get(name) for one in compared.reports]
        if several:
            last = _gain(compared.differences.get(name))
        else:
            last = Text("".join(str(figure.of) for figure in told if figure is not None))
        table.add_row(name, *(_told(figure, 2 if several else 3) for figure in told), last)
    return table


def _told(figure: Figure | None, digits: int) -> str:
    if figure is None:
        return ""
    value, low, high = (f"{v:.{digits}f}" for v in (figure.value, figure.low, figure.high))
    return f"{value} [{low}, {high}]"


def _gain(figure: Figure | None) -> Text:
    """Bold where the interval leaves 0 out."""
    if figure is None:
        return Text()
    told = f"{figure.value:+.2f} [{figure.low:+.2f}, {figure.high:+.2f}]"
    return Text(told, style="bold" if figure.low > 0 or figure.high < 0 else "")


def _times(one: Report) -> str:
    told = (f"{stage} {median.value:.1f}, {p95:.1f}" for stage, (median, p95) in one.times.items())
    return "ms, median and 95th percentile: " + " · ".join(told)


def _confidence(people: Terminal, found: Evaluated) -> None:
    learnt = found.confidence
    if learnt is None:
        return
    fit = learnt.fit
    if fit.refused is not None or found.path is None:
        people.note(Text(f"what confidence is worth was not learnt: {fit.refused}", style="yellow"))
        return
    weak = "" if fit.auroc >= GUESSED else f" (below an AUROC of {GUESSED} an ECE says nothing)"
    people.note(
        f"confidence of {fit.count} answers, {fit.positives} right, on those that the curve has "
        f"not seen: ECE {fit.ece:.3f}, AUROC {fit.auroc:.3f}{weak}"
    )
    people.note(f"kept in {people.place(found.path)}")
