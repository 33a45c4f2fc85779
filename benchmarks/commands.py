"""How long a person waits for the commands that do not train, and for the claims of a thousand stored runs."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 5
RUNS = 1000
# Runs one of them for real and stores it under all the ids, with its cached metrics, as the others would have been.
STORE = """
import shutil
from common import launch, sweep, table
from common.outcome import Settings
from common.places import cache_dir, runs_dir
requests = sweep.expand("stability_gap/er", "smoke")
first = requests[0].run_id
launch.run_local(requests[:1], Settings(workers=1), {}, quiet=True)
kept, = (cache_dir() / "metrics").glob(f"{first}*")
for request in requests[1:]:
    shutil.copytree(runs_dir() / first, runs_dir() / request.run_id)
    shutil.copy(kept, kept.with_name(kept.name.replace(first, request.run_id)))
"""


def measure() -> dict[str, float]:
    """Median wall seconds of each command, warm."""
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        for room in ("common", "papers"):
            shutil.copytree(ROOT / room, here / room, ignore=shutil.ignore_patterns("__pycache__"))
        specs = here / "papers" / "stability_gap" / "specs"
        for path in specs.glob("[!_]*.yaml"):
            path.write_text(thousand(path.read_text(), path.stem == "er"))
        subprocess.run([sys.executable, "-c", STORE], cwd=here, env=_environment(here), check=True, capture_output=True)
        found = {
            f"s: replicate {words}": _seconds(words, ROOT)
            for words in ("--help", "list", "status stability_gap", "claims --help", "figures --help")
        }
        many = {
            f"s: {verb} of {RUNS} stored runs": _seconds(f"{verb} stability_gap --tier smoke", here) for verb in VERBS
        }
    return found | many


def thousand(spec: str, asked: bool) -> str:
    """The spec with a tier smoke of a thousand short runs, or without one."""
    content = yaml.safe_load(spec)
    budget = {"budget": {"iterations": 20}}
    smoke = {"cases": {"Split-Digits": {}}, "seeds": f"0-{RUNS - 1}", "run": budget} if asked else None
    tiers = {"full": {}, **content["tiers"], "smoke": smoke}
    return str(yaml.safe_dump(content | {"tiers": {tier: part for tier, part in tiers.items() if part is not None}}))


VERBS = ("claims", "status")


def _environment(here: Path) -> dict[str, str]:
    return os.environ | {
        "REPLICATE_RUNS": f"{here}/runs",
        "REPLICATE_RESULTS": f"{here}/results",
        "PYTHONPATH": str(here),
    }


def _seconds(words: str, here: Path) -> float:
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        command = [sys.executable, "-m", "common.cli", *words.split()]
        environment = os.environ if here == ROOT else _environment(here)
        subprocess.run(command, cwd=here, env=environment, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
