"""What a paper's notebook shows, from the stored tables alone: no run folders, no data, no torch.

`python -m common.notebook` executes the notebooks of notebooks/ anew, after results have changed.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import report, stamp
from common.drawings import Figure, Table, data_titles, declared, note
from common.errors import Problem, nearest
from common.places import ROOT
from common.readme import stored_verdicts
from common.verdict_table import markdown

DPI = 120  # on screen; the stored figures are finer
WITHIN_A_NUMBER = re.compile(r"(?<=[\d,±]) (?=[-\d±%]|pp\b)")  # where a narrow column must not break "5.1 ± 0.3 pp"


class View:
    """A paper's stored results at a tier; each method displays below the cell that calls it."""

    def __init__(self, paper: str, tier: str) -> None:
        """The tables stored at `tier`, or at smoke where there are none. Errors: Problem when neither is stored."""
        self.paper, self.tier = paper, tier
        try:
            self.tables = report.stored(paper, tier)
        except Problem:
            self.tier, self.tables = "smoke", report.stored(paper, "smoke")
        runs = self.tables.runs
        _show(f"{runs['run_id'].nunique()} runs at tier **{self.tier}** on {', '.join(data_titles(runs))}.")

    def figure(self, name: str) -> None:
        """Draws a figure of the paper's figures.py anew."""
        from IPython.display import Image, display

        item = self._item(name, Figure)
        if item is not None:
            try:
                display(Image(stamp.png(report.draw(item, self.tables), {}, DPI)))
            except Problem as problem:
                _show(f"*{name}: {' '.join(problem.messages)}*")

    def table(self, name: str) -> None:
        """Makes a table of the paper's figures.py anew."""
        item = self._item(name, Table)
        if item is not None:
            _show(f"{item.about}\n\n{report.table_as_markdown(item.make(self.tables))}")

    def verdicts(self, *claims: str) -> None:
        """The stored verdicts on those claims (all of them when none is named), the unexpected ones in bold."""
        rows = stored_verdicts(self.paper, self.tier)
        known = [row["claim"] for row in rows]
        wrong = [f"There is no verdict on '{c}'.{nearest(c, known)}" for c in claims if rows and c not in known]
        if wrong:
            raise Problem(*wrong)
        chosen = [row for row in rows if not claims or row["claim"] in claims]
        _show(f"{summed_up(chosen)}\n\n{markdown(chosen)}" if chosen else f"*No verdicts are stored at {self.tier}.*")

    def origin(self, name: str) -> None:
        """What a figure or table is made from, as its stored file says too: command, data sets, digests, runs."""
        item = self._item(name, Figure | Table)
        if item is not None:
            told = note(self.paper, name, item, self.tables)
            _show("\n".join(f"- {key}: {_listed(told[key])}" for key in ("command", "data", "table", "code", "runs")))

    def _item(self, name: str, kind: Any) -> Any:
        """The declared figure or table, or None after saying which runs it lacks. Errors: Problem for another name."""
        items = {n: item for n, item in declared(self.paper).items() if isinstance(item, kind)}
        if name not in items:
            raise Problem(f"There is no '{name}'.{nearest(name, items)} There are: {', '.join(items)}.")
        lacking = sorted(set(items[name].needs) - set(self.tables.runs["spec"]))
        if lacking:
            _show(f"*{name}: no runs of {', '.join(lacking)} are stored at tier {self.tier}.*")
        return None if lacking else items[name]


def summed_up(rows: Sequence[dict[str, Any]]) -> str:
    """The verdict words with their claims, and which of them were not expected."""
    judged = [row for row in rows if row["rule"]]
    if not judged:
        return "No claim here is judged at this tier."
    words = dict.fromkeys(row["verdict"] for row in judged)
    named = {word: ", ".join(row["claim"] for row in judged if row["verdict"] == word) for word in words}
    other = ", ".join(row["claim"] for row in judged if not row["as_expected"])
    found = "; ".join(f"**{word}**: {claims}" for word, claims in named.items())
    return f"{found}. {f'Not as expected: {other}.' if other else 'All as expected.'}"


def _listed(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else f"`{value}`"


def _show(text: str) -> None:
    from IPython.display import Markdown, display

    display(Markdown(WITHIN_A_NUMBER.sub("\N{NO-BREAK SPACE}", text)))


def executed(path: Path) -> Any:
    """The notebook (nbformat's type) with the outputs of a fresh execution, without times."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(path.parent)}}
    NotebookClient(book, timeout=600, kernel_name="python3", record_timing=False, resources=place).execute()
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return book


def main(paths: Sequence[str]) -> None:
    """Nothing; executes those notebooks in place, all of notebooks/ when none is named."""
    import nbformat

    for path in map(Path, paths or sorted(map(str, (ROOT / "notebooks").glob("*.ipynb")))):
        nbformat.write(executed(path), path)
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
