"""From the tables of a paper at a tier to its figures, tables and verdicts in results/<paper>/<tier>/.

Every file made here holds a note of its inputs (common/stamp.py), so that `stale` can tell when one of them moved.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import stamp, style
from common.asked import asked_in, folder_of
from common.drawings import Figure, Table, declared, note, verdicts_note
from common.errors import Problem
from common.files import sha256_bytes, write_atomic
from common.readme import readme_blocks_stale, write_readmes
from common.stale import stale
from common.stamp import origin
from common.stored import stored_runs
from common.table import Tables
from common.verdict_table import markdown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

__all__ = ["draw", "make", "origin", "readme_blocks_stale", "stale", "store_verdicts", "stored", "write_readmes"]


def make(paper: str, tables: Tables, claims_rows: list[dict[str, Any]], quiet: bool = True) -> list[str]:
    """Paths of the figures, tables and verdicts made from `tables`; files whose bytes stay the same are not touched.

    What lacks some of its specs is passed over, with a line on stderr unless quiet; so is, of a request of one's own, what
    lacks a column. Errors: Problem, after all the rest is made,
    naming every figure or table whose function failed.
    """
    from tqdm import tqdm

    made, skipped, failed = store_verdicts(paper, tables, claims_rows), [], []
    for name, item in tqdm(
        declared(paper).items(),
        desc=f"{paper} {tables.folder.name}",
        disable=quiet or not sys.stderr.isatty(),
        leave=False,
    ):
        lacking = sorted(set(item.needs) - set(tables.runs["spec"]))
        if len(lacking) == len(item.needs):
            continue  # none of it was asked for
        if lacking:
            skipped.append(f"{name}: no runs of {', '.join(lacking)} at tier {tables.folder.name}")
            continue
        try:
            made += _made(paper, name, item, tables)
        except Problem as problem:
            skipped.append(f"{name}: {' '.join(problem.messages)}")
        except Exception as error:  # one broken figure must not cost the others
            if isinstance(error, KeyError) and "@" in tables.folder.name:  # a learner of one's own has other settings
                skipped.append(f"{name}: the runs asked for have no {error}, which it shows")
                continue
            failed.append(f"{paper} {name} could not be made: {type(error).__name__}: {error}")
    if not quiet:
        sys.stderr.writelines(f"not made: {line}\n" for line in skipped)
    if failed:
        raise Problem(*failed, f"The other {len(made)} files are in {tables.folder}.")
    return made


def stored(paper: str, tier: str) -> Tables:
    """The tables that lie in results/; needs no run folders and no data. Errors: Problem when none are stored."""
    folder = folder_of(paper, tier)
    runs = stored_runs(folder)
    if runs is None:
        raise Problem(
            f"No results of {paper} are stored at tier {tier}. Make them: replicate run {paper} --tier {tier}."
        )
    return Tables(runs, folder)


def draw(figure: Figure, tables: Tables) -> "Canvas":
    """The figure in the common style; one of overridden settings says so, since its labels are those of the specs."""
    with style.context():
        drawn = figure.make(tables)
        if "@" in tables.folder.name:
            drawn.text(0.005, 1.0, f"asked: {asked_in(tables.folder)}", fontsize=6, va="bottom", color="firebrick")
        return drawn


def store_verdicts(paper: str, tables: Tables, rows: list[dict[str, Any]]) -> list[str]:
    """Paths of verdicts.json (inputs, and the rows of common/verdicts.py) and verdicts.md; none without rows."""
    if not rows:
        return []
    facts = verdicts_note(paper, tables)
    content = json.dumps({**facts, "rows": rows}, indent=1, sort_keys=True) + "\n"
    return [
        _stored(tables.folder / "verdicts.json", content.encode()),
        _stored(tables.folder / "verdicts.md", stamp.markdown(markdown(rows), facts)),
    ]


def table_as_markdown(frame: "pd.DataFrame") -> str:
    """A data frame of texts as a Markdown table."""
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns), *frame.astype(str).values.tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _made(paper: str, name: str, item: Figure | Table, tables: Tables) -> list[str]:
    path, facts = tables.folder / name, note(paper, name, item, tables)
    if isinstance(item, Figure):
        canvas = draw(item, tables)
        kinds = ((".png", stamp.png), (".pdf", stamp.pdf))
        return [_stored(path.with_name(name + ending), saved(canvas, facts)) for ending, saved in kinds]
    frame = item.make(tables)
    csv = frame.to_csv(index=False, lineterminator="\n").encode()
    text = f"{item.about}\n\n{table_as_markdown(frame)}"
    return [
        _stored(path.with_name(f"{name}.csv"), csv),
        _stored(path.with_name(f"{name}.md"), stamp.markdown(text, facts | {"csv": sha256_bytes(csv)[:16]})),
    ]


def _stored(path: Path, content: bytes) -> str:
    if not path.exists() or path.read_bytes() != content:
        write_atomic(path, content)
    return str(path)
