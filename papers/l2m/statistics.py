"""What a data set holds, in numbers and as a picture: successes, returns and lengths by task and noise.

`rows` reads a data set; the table and the figure need those rows alone, so that they are made from stored facts.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from common import style
from papers.l2m.catalogue import PAPER_BEST, PAPER_MEAN, domain_of
from papers.l2m.trajectories import Trajectories

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

TITLES = {"metaworld": "Meta-World", "dmcontrol": "DMControl"}
NONE = "–"


def rows(data: Trajectories) -> list[dict[str, Any]]:
    """One row an episode: task, episode, noise, steps, return, ever, last."""
    found = []
    for task in data.tasks:
        table = data.episodes(task)
        columns = (table.noise, table.lengths, table.returns, table.ever, table.last)
        for number, (noise, steps, value, ever, last) in enumerate(zip(*columns, strict=True)):
            about = {"task": task, "episode": number, "noise": round(float(noise), 6), "steps": int(steps)}
            found.append(about | {"return": float(value), "ever": float(ever), "last": float(last)})
    return found


def summary(episodes: "pd.DataFrame") -> "pd.DataFrame":
    """Texts, one line a task: episodes, steps, success by both readings, returns, and what the paper's data had."""
    import pandas as pd

    lines = []
    for task, own in episodes.groupby("task", sort=False):
        solved = domain_of(str(task)) == "metaworld"
        lines.append(
            {
                "task": task,
                "suite": TITLES[domain_of(str(task))],
                "episodes": f"{len(own)}",
                "steps": f"{own['steps'].sum():,.0f}",
                "steps an episode": f"{own['steps'].mean():.0f}",
                "success ever (%)": f"{100 * own['ever'].mean():.0f}" if solved else NONE,
                "success at last step (%)": f"{100 * own['last'].mean():.0f}" if solved else NONE,
                "return, mean": f"{own['return'].mean():.0f}",
                "return, best": f"{own['return'].max():.0f}",
                "return, mean, paper's data": _said(PAPER_MEAN.get(str(task))),
                "return, best, paper's data": _said(PAPER_BEST.get(str(task))),
            }
        )
    return pd.DataFrame(lines)


def picture(episodes: "pd.DataFrame") -> "Canvas":
    """A panel a suite: return per step of each episode, by task, coloured by the noise on the actions; solved ones filled."""
    suites = [suite for suite in TITLES if any(domain_of(t) == suite for t in episodes["task"].unique())]
    tasks = {suite: [t for t in episodes["task"].unique() if domain_of(t) == suite] for suite in suites}
    levels = sorted(episodes["noise"].unique())
    colours = dict(zip(levels, style.graded(len(levels)), strict=True))
    heights = [len(tasks[suite]) for suite in suites]
    figure, axes = style.sheet(
        1, len(suites), style.PAGE if len(suites) > 1 else style.COLUMN, 0.4 + 0.19 * max(heights)
    )
    for axis, suite in zip(axes[0], suites, strict=True):
        for place, task in enumerate(tasks[suite]):
            own = episodes[episodes["task"] == task]
            _episodes(axis, place, own, colours, suite == "metaworld")
        axis.set_yticks(range(len(tasks[suite])), tasks[suite])
        axis.set_ylim(len(tasks[suite]) - 0.5, -0.5)
        axis.set_xlim(left=0)
        axis.set_xlabel("reward a step, mean of an episode")
        axis.set_title(TITLES[suite], loc="left")
    style.legend(figure, axes, title="action noise")
    style.footnote(figure, "one mark an episode; open: not solved (Meta-World)")
    return figure


def _episodes(axis: Any, place: int, own: "pd.DataFrame", colours: dict[float, Any], solvable: bool) -> None:
    """Nothing; draws the episodes of a task on a line of the panel, a noise level below the other."""
    shifts = np.linspace(-0.28, 0.28, len(colours)) if len(colours) > 1 else np.zeros(1)
    for (level, colour), shift in zip(colours.items(), shifts, strict=True):
        part = own[own["noise"] == level]
        if part.empty:
            continue
        open_ones = (part["ever"] == 0) & solvable
        x, y = part["return"] / part["steps"], np.full(len(part), place + shift)
        label = f"{level:g}"
        axis.plot(x[~open_ones], y[~open_ones.to_numpy()], "o", ms=2.2, mew=0, color=colour, alpha=0.7, label=label)
        axis.plot(x[open_ones], y[open_ones.to_numpy()], "o", ms=2.2, mew=0.5, mfc="none", color=colour)


def _said(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f}"
