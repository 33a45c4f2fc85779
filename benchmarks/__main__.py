"""`python -m benchmarks [PART ...]`: measures every limit that the README states, prints them and keeps them in results/benchmarks.

PART is the name of a module here: only these are measured anew, and the page keeps the others as they were. What needs
Avalanche is measured where that extra is installed; elsewhere it is left out, and that is said.
"""

import platform
import sys
import time
from types import ModuleType
from typing import Any

import torch

from benchmarks import avalanche_er, coda_prompt, commands, l2m, loop, probing, scole, vectorised, vit_b16
from benchmarks.page import page, verdict
from common.errors import Problem
from common.files import read_json, write_atomic, write_json
from common.places import results_dir
from common.provenance import code_version

LIMITS = {
    "loop with evaluation / hand-written": 1.10,
    "loop without evaluation / hand-written": 1.15,
    "(probes of all layers - their arithmetic) / forward passes": 2.0,
    "probes of all layers at once / one layer after the other": 0.2,
    "SCoLe: ours / hand-written": 1.15,
    "SCoLe: ours / released way": 0.4,
    "SCoLe: ours, log-spaced evaluation / released way": 0.2,
    "8 seeds at once / 1 seed: MLP 64-128-10, finetune": 2.0,
    "L2M update / hand-written": 1.15,
    "L2M: modulators of each sample / one for all": 1.2,
    "L2M: windows gathered / update": 0.1,
    "s: replicate list": 0.5,
    "s: replicate status stability_gap": 0.5,
    "s: replicate claims --help": 0.5,
    "s: replicate figures --help": 0.5,
    "s: claims of 1000 stored runs": 2.0,
    "s: status of 1000 stored runs": 2.0,
}
LEAST = {
    "ER with evaluation at every update: Avalanche / ours": 3.0,
    "CODA-P step: released recipe / ours": 1.8,
    "CODA-P evaluation: released recipe / ours": 3.0,
    "L2M: acting one after the other / at once": 3.0,
}


PARTS = {  # in the order of the page
    "The loop": loop,
    "Against Avalanche": avalanche_er,
    "Eight seeds at once": vectorised,
    "Linear probes of all layers": probing,
    "SCoLe": scole,
    "CODA-Prompt": coda_prompt,
    "CODA-Prompt at the paper's size": vit_b16,
    "L2M": l2m,
    "Waiting for commands": commands,
}


def main() -> int:
    """Exit code 1 when a limit is passed, 2 for a part that is not there."""
    try:
        parts = asked(sys.argv[1:])
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    stored: dict[str, Any] = {"about": {}, "measured": {}}  # of each part: where it was measured, and what was
    file = results_dir() / "benchmarks" / "speed.json"
    if len(parts) < len(PARTS) and file.exists():
        stored = read_json(file)
    for k, (title, part) in enumerate(parts.items(), start=1):
        print(f"{k}/{len(parts)} {title}", file=sys.stderr)
        if found := part.measure():
            stored["measured"][title] = {name: round(value, 3) for name, value in found.items()}
            stored["about"][title] = about()
            print_all(stored["measured"][title])
    if not avalanche_er.installed():
        print("not compared with Avalanche: pip install -e '.[avalanche]'", file=sys.stderr)
    titles = [title for title in PARTS if title in stored["measured"]]
    stored |= {"parts": titles, "limits": LIMITS, "least": LEAST}
    write_json(file, stored)
    write_atomic(file.with_name("README.md"), page(stored))
    numbers = [(name, value) for part in stored["measured"].values() for name, value in part.items()]
    return int(any("no" in verdict(name, value, LIMITS, LEAST)[1] for name, value in numbers))


def asked(names: list[str]) -> dict[str, ModuleType]:
    """title -> module of the parts of those names, of all without names. Errors: Problem, naming what there is."""
    known = {module.__name__.rpartition(".")[2]: title for title, module in PARTS.items()}
    if unknown := [name for name in names if name not in known]:
        raise Problem(f"No benchmark is called {', '.join(unknown)}. There are: {', '.join(known)}.")
    wanted = {known[name] for name in names} or set(PARTS)
    return {title: module for title, module in PARTS.items() if title in wanted}


def about() -> dict[str, str]:
    """On what a part is measured, and when."""
    here = {"code": code_version()["digest"], "python": platform.python_version(), "torch": torch.__version__}
    return here | {"date": time.strftime("%Y-%m-%d"), "system": f"{platform.system()} {platform.machine()}"}


def print_all(measured: dict[str, float]) -> None:
    """Prints a line a number, with what is asked of it."""
    for name, value in measured.items():
        asked, met = verdict(name, value, LIMITS, LEAST)
        print(f"{value:8.3f}  {name}" + (f"  ({asked}: {met.strip('*')})" if asked else ""))


if __name__ == "__main__":
    sys.exit(main())
