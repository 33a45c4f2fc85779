"""What a run notes on its way: facts brought over from the device in blocks, and the time to save and to report."""

import time

import torch
from torch import Tensor

from common.trace import Trace


class Facts:
    """Scalars and correctness kept on the device and brought over in blocks, so that no step waits for the device."""

    def __init__(self, trace: Trace, updates: int) -> None:
        self.trace, self.start = trace, updates
        self.scalars: list[dict[str, Tensor]] = []
        self.rows: list[tuple[int, int, int, Tensor, dict[str, Tensor]]] = []

    def noted(self, scalars: dict[str, Tensor]) -> None:
        """Takes the scalars of the next update."""
        self.scalars.append(scalars)

    def evaluated(
        self, updates: int, task: int, seen: int, hits: Tensor, values: dict[str, Tensor] | None = None
    ) -> None:
        """Takes one evaluation: bool per held-out sample of the first `seen` parts, and further values of each."""
        self.rows.append((updates, task, seen, hits, values or {}))
        if len(self.rows) >= 64:
            self.flush()

    def flush(self) -> None:
        """Brings everything taken so far into the trace."""
        for updates, task, seen, hits, further in self.rows:
            numbers = {word: own.cpu().numpy() for word, own in further.items()}
            self.trace.evaluated(updates, task, seen, hits.cpu().numpy(), numbers)
        names = list(dict.fromkeys(name for scalars in self.scalars for name in scalars))
        missing = torch.tensor(float("nan"))
        for name in names:
            values = [torch.as_tensor(s.get(name, missing), dtype=torch.float32) for s in self.scalars]
            there = next((v.device for v in values if v.device.type != "cpu"), torch.device("cpu"))
            column = torch.stack([v.to(there) for v in values])  # one transfer a block, not one a scalar
            self.trace.noted(self.start, name, column.cpu().numpy())
        self.start += len(self.scalars)
        self.rows, self.scalars = [], []


class Clock:
    """When to save a checkpoint and when to report progress.

    before: seconds the run had taken when it was resumed. together: runs carried out at once, which share the time.
    """

    def __init__(self, before: float, together: int = 1) -> None:
        self.before, self.together, self.started = before, together, time.monotonic()
        self.saved = self.reported = self.started

    def save_now(self, minutes: float) -> bool:
        """True once every so many minutes."""
        due = time.monotonic() - self.saved > 60 * minutes
        if due:
            self.saved = time.monotonic()
        return due

    def report_now(self, seconds: float) -> bool:
        """True once every so many seconds."""
        due = time.monotonic() - self.reported > seconds
        if due:
            self.reported = time.monotonic()
        return due

    def seconds(self) -> float:
        """Seconds of work on the run so far, all its sittings together."""
        return round(self.before + (time.monotonic() - self.started) / self.together, 3)
