"""`python -m benchmarks`: measures every limit that the README states, prints them and keeps them in results/benchmarks.

What needs Avalanche is measured where that extra is installed; elsewhere it is left out, and that is said.
"""

import platform
import sys

import torch

from benchmarks import avalanche_er, coda_prompt, commands, l2m, l2m_worlds, loop, probing, scole, vectorised
from common.files import write_json
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
    "evaluation: policy seconds, batched / one environment after the other": 1 / 3,
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


def main() -> int:
    """Exit code 1 when a limit is passed."""
    measured = loop.measure() | vectorised.measure() | probing.measure() | scole.measure()
    measured |= (
        avalanche_er.measure() | coda_prompt.measure() | l2m_worlds.measure() | l2m.measure() | commands.measure()
    )
    for name, value in measured.items():
        limit = LIMITS.get(name)
        against = "" if limit is None else f"  (limit {limit:g}{', PASSED OVER' if value > limit else ''})"
        if name in LEAST:
            against = f"  (at least {LEAST[name]:g}{', MISSED' if value < LEAST[name] else ''})"
        print(f"{value:8.3f}  {name}{against}")
    about = {"code": code_version()["digest"], "python": platform.python_version(), "torch": torch.__version__}
    rounded = {name: round(value, 3) for name, value in measured.items()}
    write_json(
        results_dir() / "benchmarks" / "speed.json", about | {"measured": rounded, "limits": LIMITS, "least": LEAST}
    )
    passed = any(measured[name] > limit for name, limit in LIMITS.items())
    if not avalanche_er.installed():
        print("not compared with Avalanche: pip install -e '.[avalanche]'", file=sys.stderr)
    return int(passed or any(measured.get(name, least) < least for name, least in LEAST.items()))


if __name__ == "__main__":
    sys.exit(main())
