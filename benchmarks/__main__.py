"""`python -m benchmarks`: measures every limit that the README states, prints them and keeps them in results/benchmarks.

What needs Avalanche is measured where that extra is installed; elsewhere it is left out, and that is said.
"""

import platform
import sys
import time

import torch

from benchmarks import avalanche_er, coda_prompt, commands, l2m, loop, probing, scole, vectorised
from benchmarks.page import page, verdict
from common.files import write_atomic, write_json
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
    "L2M": l2m,
    "Waiting for commands": commands,
}


def main() -> int:
    """Exit code 1 when a limit is passed."""
    measured: dict[str, dict[str, float]] = {}
    for k, (title, part) in enumerate(PARTS.items(), start=1):
        print(f"{k}/{len(PARTS)} {title}", file=sys.stderr)
        if found := part.measure():
            measured[title] = {name: round(value, 3) for name, value in found.items()}
            print_all(measured[title])
    if not avalanche_er.installed():
        print("not compared with Avalanche: pip install -e '.[avalanche]'", file=sys.stderr)
    about = {"code": code_version()["digest"], "python": platform.python_version(), "torch": torch.__version__}
    about |= {"date": time.strftime("%Y-%m-%d"), "system": f"{platform.system()} {platform.machine()}"}
    stored = {"about": about, "parts": list(measured), "measured": measured, "limits": LIMITS, "least": LEAST}
    folder = results_dir() / "benchmarks"
    write_json(folder / "speed.json", stored)
    write_atomic(folder / "README.md", page(stored))
    return int(any("no" in verdict(*one, LIMITS, LEAST)[1] for part in measured.values() for one in part.items()))


def print_all(measured: dict[str, float]) -> None:
    """Prints a line a number, with what is asked of it."""
    for name, value in measured.items():
        asked, met = verdict(name, value, LIMITS, LEAST)
        print(f"{value:8.3f}  {name}" + (f"  ({asked}: {met.strip('*')})" if asked else ""))


if __name__ == "__main__":
    sys.exit(main())
