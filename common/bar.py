"""The progress bar over many runs."""

import sys

from common.places import runs_dir
from common.record import RunFolder


class Bar:
    """One bar over all runs, in updates, with the time left."""

    def __init__(self, total: int, runs: int, quiet: bool) -> None:
        from tqdm import tqdm

        pause = 0.3 if sys.stderr.isatty() else 20.0  # a log file gets a line now and then, a terminal a moving bar
        self.bar = tqdm(total=total, unit="upd", disable=quiet, smoothing=0.1, mininterval=pause, dynamic_ncols=True)
        self.runs, self.finished = runs, 0
        self.last: dict[str, int] = {}
        self.bar.set_description(f"0/{runs} runs", refresh=False)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def at(self, run_id: str, updates: int) -> None:
        """A run has made that many updates."""
        self.bar.update(updates - self.last.get(run_id, 0))
        self.last[run_id] = updates

    def said(self, text: str) -> None:
        """A line above the bar."""
        self.bar.write(text, file=sys.stderr)  # stdout may be JSON

    def over(self, run_id: str, failure: str | None) -> None:
        """A run is over."""
        total = RunFolder(runs_dir() / run_id).status().get("total", 0)
        self.at(run_id, total or self.last.get(run_id, 0))
        self.finished += 1
        self.bar.set_description(f"{self.finished}/{self.runs} runs", refresh=False)
        if failure is not None:
            self.said(f"failed: {run_id}: {failure}")
