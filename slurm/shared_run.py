"""Carries out the runs of a target one after the other, each by all processes that srun (or torchrun) started.

srun --ntasks-per-node=2 --kill-on-bad-exit=1 .venv/bin/python slurm/shared_run.py PAPER/SPEC [TIER]

TIER is smoke where it is left out. Analyses and collections are carried out by the first process; the others wait.
"""

import os
import signal
import sys

from common import analyse, loop, sweep
from common.errors import Problem

if len(sys.argv) not in (2, 3):
    sys.exit(f"shared_run.py was given {len(sys.argv) - 1} words; it takes a target and a tier.\n\n{__doc__}")
target, tier = sys.argv[1], (*sys.argv[2:], "smoke")[0]

stop: list[int] = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda signum, frame: stop.append(signum))  # save after this update and leave

processes = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)
place = loop.Place(processes=processes, stop=lambda: bool(stop))
try:
    for request in sweep.expand(target, tier):
        (analyse.run if request.run.finding else loop.run)(request.run, place)
except loop.Stopped:
    sys.exit("stopped; its checkpoint is saved")
except Problem as problem:
    sys.exit(str(problem))
