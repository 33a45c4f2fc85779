"""Waiting for a cluster: looks at the run folders and once at the queue every few seconds, until nothing is under way."""

import sys
import time

from common.bar import Bar
from common.cluster import states
from common.cluster.submit import IN_QUEUE
from common.outcome import Outcome
from common.sweep import Request


def wait(requests: list[Request], updates: dict[str, int], quiet: bool = False, seconds: float = 10.0) -> Outcome:
    """What became of the runs once none of them is queued, running or preempted, with a progress bar on stderr.

    A queue that cannot be read is no end: it is asked again. Ctrl-C ends the waiting, not the jobs.
    """
    ids = list(dict.fromkeys(r.run_id for r in requests))
    outcome, over = Outcome(), set()
    with Bar(requests, updates, quiet) as bar:
        try:
            while True:
                view = states.look()
                now = states.standing(ids, view, accounting=False)
                for run_id, status in now.items():
                    bar.at(run_id, status["updates"])
                    if status["state"] in ("done", "failed") and run_id not in over:
                        over.add(run_id)
                        bar.over(run_id, status.get("error"))
                if view.clear and not any(s["state"] in IN_QUEUE for s in now.values()):
                    break
                time.sleep(seconds)
        except KeyboardInterrupt:
            outcome.stopped = True
            print("the jobs go on; the same command waits for them again", file=sys.stderr)
            return outcome
    now = states.standing(ids)
    outcome.done = [i for i in ids if now[i]["state"] == "done"]
    lost = "its job ended before it was done; the same command submits it again"
    outcome.failed = {i: now[i].get("error") or lost for i in ids if now[i]["state"] != "done"}
    return outcome
