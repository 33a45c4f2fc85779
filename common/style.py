"""How every figure looks: column widths in inches, readable sizes, and one colour for each method everywhere.

Nothing here touches matplotlib's global state: draw and save inside `context()`.
"""

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLUMN, PAGE = 3.3, 6.8  # width of a single and of a double column, inches

# Colours of seaborn's colour-blind-safe palette "colorblind", and black for the upper reference.
COLOURS = {
    "Finetune": "#949494",
    "Joint": "#000000",
    "ER": "#0173b2",
    "GEM": "#de8f05",
    "A-GEM": "#cc78bc",
    "EWC": "#029e73",
    "SI": "#ca9161",
    "LwF": "#d55e00",
}
PLASTICITY, STABILITY = "#d55e00", "#0173b2"
MUTED = "#767676"

_SETTINGS: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "legend.columnspacing": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # letters stay letters
    "svg.hashsalt": "replicate",
}


def context() -> "AbstractContextManager[None]":
    """The style as a context; matplotlib's own settings come back at its end."""
    import matplotlib

    return matplotlib.rc_context(_SETTINGS)


def sheet(
    rows: int, columns: int, width: float, row_height: float, ratios: Sequence[float] = (), shared: bool = False
) -> "tuple[Canvas, Any]":
    """A figure of that width with its axes [rows, columns]; shared: one x axis, and one y axis a row. Inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, rows * row_height + 0.5), layout="constrained")
    widths = list(ratios) or [1.0] * columns
    axes = figure.subplots(
        rows, columns, squeeze=False, sharex=shared, sharey="row" if shared else False, width_ratios=widths
    )
    return figure, axes


def band(
    axis: "Axes",
    x: npt.ArrayLike,
    values: npt.NDArray[Any],
    colour: Any,
    label: str = "",
    line: str = "-",
    extremes: bool = False,
) -> None:
    """Nothing; draws the mean over seeds of `values` [seeds, points] and a band of one sample SD around it.

    extremes: the band spans all seeds instead, for logarithmic axes, on which mean - SD may not exist.
    """
    mean = values.mean(axis=0)
    axis.plot(x, mean, line, color=colour, label=label or "_")
    if len(values) > 1:
        sd = values.std(axis=0, ddof=1)
        low, high = (values.min(axis=0), values.max(axis=0)) if extremes else (mean - sd, mean + sd)
        axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def bars(
    axis: "Axes", x: npt.ArrayLike, values: npt.NDArray[Any], colour: Any, label: str = "", line: str = "-"
) -> None:
    """Nothing; draws the mean over seeds of `values` [seeds, points] as marks with one sample SD as error bars."""
    sd = values.std(axis=0, ddof=1) if len(values) > 1 else None
    axis.errorbar(
        x, values.mean(axis=0), sd, fmt=f"o{line}", color=colour, label=label or "_", capsize=2, elinewidth=0.8
    )


def graded(count: int) -> list[Any]:
    """`count` colours in order, dark to light: told apart in grey too."""
    import matplotlib

    return [matplotlib.colormaps["viridis"](0.8 * i / max(1, count - 1)) for i in range(count)]


def distinct(count: int) -> list[tuple[str, str]]:
    """`count` (colour, line) pairs for cases without an order, at most eight; the lines tell them apart in grey."""
    colours = ("#000000", "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#949494")
    return list(zip(colours, ("-", "--", "-.", ":") * 2, strict=True))[:count]


def percent(axis: "Axes", label: str = "accuracy (%)", low: int = 0, high: int = 100) -> None:
    """Nothing; the y axis runs from `low` to `high` percent, multiples of 25."""
    margin = 0.03 * (high - low)
    axis.set_ylim(low - margin, high + margin)
    axis.set_yticks(np.arange(low, high + 1, {50: 10, 25: 5}.get(high - low, 25)))
    axis.set_ylabel(label)


def span(*axes: "Axes") -> tuple[int, int]:
    """(low, high): the multiples of 25 percent around all that is drawn so far."""
    lowest = min(float(axis.dataLim.y0) for axis in axes)
    highest = max(float(axis.dataLim.y1) for axis in axes)
    low = 25 * int(min(max(lowest, 0.0), 75.0) // 25)
    return low, max(low + 25, 25 * int(-(-min(highest, 100.0) // 25)))


def legend(figure: "Canvas", axes: Any, columns: int = 8, place: str = "center", title: str = "") -> None:
    """Nothing; one legend above all axes (place: left, center or right), so that it covers no data."""
    found: dict[str, Any] = {}
    for axis in np.ravel(axes):
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if title:
        found = {title: _nothing(), **found}
    if found:
        where: Any = f"outside upper {place}"
        figure.legend(list(found.values()), list(found), loc=where, ncols=min(columns, len(found)))


def _nothing() -> Any:
    """An invisible mark: makes the first entry of a legend its title, on the same line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none")


def footnote(figure: "Canvas", words: str) -> None:
    """Nothing; a small text below the figure, for data sets and the number of seeds; as many lines as its width needs."""
    lines = textwrap.wrap(words, int(figure.get_figwidth() / 0.058))  # inches a letter of that size takes
    figure.supxlabel("\n".join(lines), fontsize=7, color=MUTED, x=0.99, ha="right")
