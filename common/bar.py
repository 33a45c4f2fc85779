"""The progress bar over many runs."""

import sys
import time

from common import estimate
from common.places import runs_dir
from common.record import RunFolder
from common.show import duration
from common.sweep import Request

TELLS = 0.02  # from this share on what was done says something about what is left


class Bar:
    """One bar over all runs, each as long as it is expected to take, with the time left once it can be told."""

    def __init__(self, requests: list[Request], updates: dict[str, int], quiet: bool) -> None:
        from tqdm import tqdm

        pause = 0.3 if sys.stderr.isatty() else 20.0  # a log file gets a line now and then, a terminal a moving bar
        looks = "{desc}{percentage:3.0f} %|{bar}| {elapsed}{postfix}"
        runs = {request.run_id: request for request in requests}
        self.worth = {} if quiet else worth(list(runs.values()), updates)
        total = sum(each * updates.get(run_id, 1) for run_id, each in self.worth.items())
        self.bar = tqdm(total=total, disable=quiet, mininterval=pause, dynamic_ncols=True, bar_format=looks)
        self.runs, self.finished = len(runs), 0
        self.last: dict[str, int] = {}
        self.first: tuple[float, float] | None = None  # when the first word came, and how far it was then
        self.bar.set_description(f"0/{self.runs} runs, starting")

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def at(self, run_id: str, updates: int) -> None:
        """A run has made that many updates."""
        made = self.worth.get(run_id, 0) * (updates - self.last.get(run_id, 0))
        made = min(made, (self.bar.total or 0) - self.bar.n)  # sums of fractions may come out a hair above the whole
        self.last[run_id] = updates
        if self.first is None:  # what a resumed run has behind it says nothing about the pace
            self.first = time.monotonic(), self.bar.n + made
            self._count()
        done = self.bar.n + made - self.first[1]
        if self.bar.total and done > TELLS * self.bar.total:
            left = (time.monotonic() - self.first[0]) * (self.bar.total - self.bar.n - made) / done
            self.bar.set_postfix_str(f"about {duration(left)} left", refresh=False)
        self.bar.update(made)

    def said(self, text: str) -> None:
        """A line above the bar."""
        self.bar.write(text, file=sys.stderr)  # stdout may be JSON

    def over(self, run_id: str, failure: str | None) -> None:
        """A run is over."""
        total = RunFolder(runs_dir() / run_id).status().get("total", 0)
        self.at(run_id, total or self.last.get(run_id, 0))
        self.finished += 1
        self._count()
        if failure is not None:
            self.said(f"failed: {run_id}: {failure}")

    def _count(self) -> None:
        self.bar.set_description(f"{self.finished}/{self.runs} runs", refresh=False)


def worth(requests: list[Request], updates: dict[str, int]) -> dict[str, float]:
    """Run id -> seconds that an update of it is expected to take; the mean of the others where nothing is known."""
    found = zip(requests, estimate.seconds(requests)[0], strict=True)
    known = {r.run_id: seconds / max(updates.get(r.run_id, 1), 1) for r, seconds in found if seconds is not None}
    usual = sum(known.values()) / len(known) if known else 1.0
    return {r.run_id: known.get(r.run_id, usual) or usual for r in requests}
