"""What the command line prints for a person."""

import os
import shutil
import textwrap
from typing import Any


def _beside(head: str, text: str) -> str:
    """The text after the head, wrapped to the terminal (below the head where little room is left); piped, one line a row."""
    width = shutil.get_terminal_size((10_000, 1)).columns
    if len(head) + len(text) <= width:
        return (head + text).rstrip()
    room = width - len(head) >= 40
    first, then = (head, " " * len(head)) if room else (f"{head.rstrip()}\n      ", " " * 6)
    wrapped = textwrap.TextWrapper(max(width - len(then), 30), break_on_hyphens=False, break_long_words=False)
    return first + f"\n{then}".join(wrapped.wrap(text))


def listing(value: dict[str, Any]) -> str:
    """Papers and data sets."""
    lines = []
    for paper, content in value["papers"].items():
        lines.append(f"{paper}  ({content['claims']} claims)")
        lines += [_beside(f"  {n:18s} {', '.join(c['tiers']):20s} ", c["about"]) for n, c in content["specs"].items()]
        lines += left_out({(paper, name): said for name, said in content["broken"].items()})
    return "\n".join([*lines, "", data_sets(value["data"])])


def left_out(broken: dict[tuple[str, str], list[str]]) -> list[str]:
    """A line for each sentence on a spec file that cannot be read."""
    return [
        _beside(f"  papers/{paper}/specs/{spec}.yaml is left out: ", sentence)
        for (paper, spec), said in broken.items()
        for sentence in said
    ]


def data_sets(rows: list[dict[str, Any]]) -> str:
    """One line a data set: where it is, or how to get it."""
    lines = ["data sets"]
    for row in rows:
        where = (
            row.get("problem") or f"{row['layout']}, {row['path'] or 'embedded'}"
            if row["present"]
            else "missing: " + str(row["how_to_get"])
        )
        lines.append(_beside(f"  {row['name']:18s} ", f"{row['title']}; {where}"))
    return "\n".join(lines)


def plan(value: dict[str, Any]) -> str:
    """Counts, time and memory."""
    missing = len(value["missing"])
    lines = [
        f"{value['target']} at tier {value['tier']}: {value['runs']} runs, {value['complete']} complete, {missing} to run"
    ]
    lines += [f"  {name}: {count} runs" for name, count in value["specs"].items()]
    if missing:
        time = f"about {duration(value['seconds'])} on {value['workers']} cores (from {value['estimated_from']}), "
        time = "" if value["unknown_time"] == missing else time  # the line below says so
        lines.append(f"{time}about {value['memory_mb']} MB of memory, {value['updates']:,} updates")
        lines.append(f"small runs at once: {value['together']}")
    if value["unknown_time"]:
        lines.append(f"time of {value['unknown_time']} runs unknown: nothing like them was timed yet")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds in the unit a person would say."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def status(rows: list[dict[str, Any]]) -> str:
    """Counts per state, then a line a run: of all of them while they are few, else of those under way or in trouble."""
    states: dict[str, int] = {}
    for state in {row["run"]: row["state"] for row in rows}.values():
        states[state] = states.get(state, 0) + 1
    lines = [", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no runs"]
    few = sum(states.values()) <= 40
    told = [r for r in rows if few or r["state"] not in ("missing", "done") or r["not_finite_from"]]
    for row in {r["run"]: r for r in told}.values():
        share = f"{100 * row['updates'] / row['total']:.0f} %" if row["total"] else "0 %"
        left = f", {duration(row['seconds_left'])} left" if row["seconds_left"] is not None else ""
        error = f": {row['error']}" if row["error"] else ""
        host = f"  on {row['host']}" if row["host"] else ""
        job = f"  job {row['job']}" if row["job"] and row["state"] in ("queued", "running", "preempted") else ""
        waits = f", waits: {row['waits_for']}" if row["waits_for"] else ""
        loss = f", {_not_finite(row['not_finite_from'])}" if row["not_finite_from"] else ""
        lines.append(f"  {row['state']:12s} {row['run']}  {share}{left}{host}{job}{waits}{loss}{error}")
    if not few:
        lines.append("ask for one spec (PAPER/SPEC) to see all its runs by name")
    return "\n".join(lines)


def _not_finite(update: int) -> str:
    return f"loss not finite from update {update} on"


def submitted(value: dict[str, Any]) -> str:
    """What went to the cluster and what to do next; of a dry run, the batch scripts."""
    counts = f"{len(value['submitted'])} runs in {value['jobs']} jobs (profile {value['profile']})"
    rest = f"{len(value['before'])} were done before, {len(value['in_queue'])} were in the queue already"
    if value["scripts"]:
        texts = [f"# --- array {name} ---\n{script}" for name, script in value["scripts"].items()]
        return "\n".join([*texts, f"would submit {counts}; {rest}"])
    if not value["submitted"]:
        return f"nothing to submit: {rest}"
    return "\n".join(
        [
            f"submitted {counts} as {', '.join(value['arrays'])}; {rest}",
            "you can log out now; later: replicate status, cancel, or run again (figures: replicate figures, claims)",
            f"logs: {value['folder']}",
        ]
    )


def cancelled(value: dict[str, Any]) -> str:
    """Which jobs were ended, and what else they carried."""
    if not value["jobs"]:
        return "none of its runs is in the queue"
    lines = [f"cancelled {len(value['jobs'])} jobs with {len(value['runs'])} unfinished runs; what they did is kept"]
    if value["others"]:
        lines.append(
            f"{len(value['others'])} runs that were packed into the same jobs ended with them: {value['others']}"
        )
    return "\n".join(lines)


def verdicts(rows: list[dict[str, Any]]) -> str:
    """One line for each claim that a tier can judge, and how many it cannot."""
    from common.verdict_table import interval, number

    if not rows:
        return "no claims"
    judged = [row for row in rows if row["rule"] and row["n_seeds"]]
    waiting = [row for row in rows if row["rule"] and not row["n_seeds"]]
    width = max((len(row["claim"]) for row in judged), default=0)
    lines = []
    for row in judged:
        ours = number(row["measured"], row["unit"])
        ours += f" {interval(row['interval'], row['unit'])}" if row["interval"] else ""
        mark = " " if row["as_expected"] else "!"
        what = f"{row['claim']:{width}s}  {row['tier']:5s}  {row['verdict']:21s}  {ours:25s}  {row['rule']:20s}"
        lines.append(_beside(f"{mark} {row['paper']}  {what}  ", row["says"]))
    lines.append("")
    if any(not row["as_expected"] for row in judged):
        lines.append("! was not the expected verdict; replicate claims --json says what each rests on")
    for row in waiting:
        if row["run_ids"]:  # made, but not what the claim needs
            lines.append(_beside(f"{row['paper']} {row['claim']} cannot be judged at {row['tier']}: ", row["note"]))
    unmade = [row for row in waiting if not row["run_ids"]]
    for paper, tier in dict.fromkeys((row["paper"], row["tier"]) for row in unmade):
        ids = [row["claim"] for row in unmade if (row["paper"], row["tier"]) == (paper, tier)]
        named = ", ".join(ids) if len(ids) <= 20 else f"{len(ids)} claims"
        lines.append(_beside(f"{paper} has not run at {tier}, or not all of it: ", named))
    if len(rows) > len(judged) + len(waiting):
        lines.append(f"{len(rows) - len(judged) - len(waiting)} further rows are of claims that other tiers judge")
    return "\n".join(lines)


def selection(value: dict[str, Any]) -> str:
    """Every grid point with its score, the chosen ones marked."""
    lines, seen = [], set()
    width = max((len(row["case"]) for row in value["scores"]), default=0)
    for row in value["scores"]:
        mark = " " if row["case"] in seen else "*"
        seen.add(row["case"])
        settings = ", ".join(f"{axis}={point}" for axis, point in row["settings"].items())
        lines.append(
            f"{mark} {row['case']:{width}s}  ACC {100 * row['acc']:4.1f} %  {settings}  (seeds: {row['n_seeds']})"
        )
    return "\n".join(lines)


def paths(values: list[str]) -> str:
    """One a line."""
    return "\n".join(values)


def drawn(values: list[str]) -> str:
    """The files made, one a line, or why there is none."""
    return paths(values) or "nothing to draw: no complete runs here (replicate status says what is missing)"


def written(values: list[str]) -> str:
    """The files that were written, one a line."""
    return (
        "\n".join(["written:", *(f"  {os.path.relpath(path)}" for path in values)])
        if values
        else "nothing to write anew"
    )


def reported(value: dict[str, Any]) -> str:
    """Where the report lies, its size and what is in it."""
    size = f"{value['bytes'] / 1e6:.1f} MB"
    judged = f"{value['judged']} of {value['claims']} claims judged"
    met = f"{value['as_expected']} of {value['verdicts']} verdicts as expected"
    return f"{value['file']} ({size}): {judged}, {met}, {value['figures']} figures, {value['tables']} tables"


def outcome(value: dict[str, Any]) -> str:
    """What ran, the verdicts (none of other settings and of seeds asked for), what was measured, and the figures."""
    lines = [f"{len(value['done'])} runs done, {len(value['before'])} were done before, {len(value['failed'])} failed"]
    lines += [f"  {text}" for text in value["said"]]
    lines += [f"  under way elsewhere: {reason}" for reason in value["elsewhere"].values()]
    lines += [f"  failed {run}: {reason}" for run, reason in value["failed"].items()]
    lines += [f"  {_not_finite(update)}: {run}" for run, update in value["not_finite"].items()]
    if value["stopped"]:
        again = ", and tries again what failed" if value["failed"] else ""
        lines.append(f"stopped; the same command goes on where it was{again}")
    if value["claims"]:
        lines += ["", verdicts(value["claims"])]
    if value["summary"] and not value["brief"]:
        judged = "" if value["claims"] else "; measured, not judged"
        lines += ["", *(_means(row, judged) for row in value["summary"])]
    tables = [os.path.relpath(path) for path in value["figures"] if os.path.basename(path) == "runs.csv"]
    if tables:
        lines += ["", f"every run with its settings and metrics: {', '.join(tables)}"]
    shown = [os.path.relpath(path) for path in value["figures"] if path.endswith((".png", ".md"))]
    if shown:
        lines += ["", "figures and tables (PDF and CSV beside them):", *(f"  {path}" for path in shown)]
    if value["undrawn"]:
        lines += ["", f"not every figure could be drawn: {value['undrawn']}"]
    return "\n".join(lines)


def _means(row: dict[str, Any], judged: str) -> str:
    """The means of one row of the summary."""
    named = ("spec", "case", "data", "seeds", "settings")
    metrics = [f"{name} {value}" for name, value in row.items() if name not in named and value == value]
    settings = (f"{name}={value}" for name, value in row["settings"].items())
    what = " ".join(filter(None, (row["spec"], row["case"], *settings)))
    seeds = "one seed" if len(row["seeds"]) == 1 else f"mean over {len(row['seeds'])} seeds"
    return (
        f"{what} on {row['data']}: {', '.join(metrics) or 'what it measured is in runs.csv'} (percent, {seeds}{judged})"
    )


def origin(value: dict[str, Any]) -> str:
    """Where something came from, as indented lines."""
    import json

    return "\n".join(
        f"{key}: {json.dumps(v, indent=1, default=str) if isinstance(v, (dict, list)) else v}"
        for key, v in value.items()
    )
