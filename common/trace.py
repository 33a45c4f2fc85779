"""What a run that learns notes down: whether each held-out sample was right at each evaluation, and scalars of its updates."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Trace:
    """Long-form facts of a run: correctness of every evaluation sample at every evaluation, scalars of every update.

    offsets: int64 [P+1], sample range of each measured part, which is a task unless the stream has parts of its own.
    ends: int64 [T], updates made at the end of each task. trained: with parts of its own, the parts in each task begun.
    values: further numbers of each sample at every evaluation, float32, NaN where it was not measured.
    """

    offsets: np.ndarray
    ends: np.ndarray
    step: list[int] = field(default_factory=list)
    task: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    bits: list[np.ndarray] = field(default_factory=list)
    scalars: dict[str, np.ndarray] = field(default_factory=dict)
    trained: list[np.ndarray] = field(default_factory=list)
    values: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def began(self, trained: np.ndarray) -> None:
        """Notes the next task: bool [P], whether it trains on each part."""
        self.trained.append(np.packbits(trained))

    def evaluated(
        self, step: int, task: int, seen: int, correct: np.ndarray, values: dict[str, np.ndarray] | None = None
    ) -> None:
        """Notes one evaluation: bool [offsets[seen]] for the samples of the parts measured, and further values of them."""
        whole = np.zeros(self.offsets[-1], dtype=bool)
        whole[: len(correct)] = correct
        self.step.append(step)
        self.task.append(task)
        self.seen.append(seen)
        self.bits.append(np.packbits(whole))
        for name, own in (values or {}).items():
            row = np.full(self.offsets[-1], np.nan, dtype=np.float32)
            row[: len(own)] = own
            self.values.setdefault(name, []).append(row)

    def noted(self, update: int, name: str, values: np.ndarray) -> None:
        """Notes a scalar of the updates update, update+1, ... (counted from 0)."""
        if name not in self.scalars:
            self.scalars[name] = np.full(self.ends[-1], np.nan, dtype=np.float32)
        self.scalars[name][update : update + len(values)] = values

    def not_finite_from(self, updates: int) -> int | None:
        """The update, counted from 1, from which on no loss was finite up to the last of so many; None when the last one is.

        Losses are those that `Learner.update` notes as `plasticity`; weights that are not finite never become so again.
        """
        loss = self.scalars.get("plasticity", np.zeros(0))[:updates]
        finite = np.flatnonzero(np.isfinite(loss))
        first = int(finite[-1]) + 2 if len(finite) else 1
        return first if first <= len(loss) else None

    def arrays(self) -> dict[str, np.ndarray]:
        """The trace as plain arrays, the form in which it is stored."""
        width = (int(self.offsets[-1]) + 7) // 8
        counts = {name: np.array(getattr(self, name), dtype=np.int64) for name in ("step", "task", "seen")}
        bits = np.stack(self.bits) if self.bits else np.zeros((0, width), dtype=np.uint8)
        scalars = {f"s_{name}": values for name, values in self.scalars.items()}
        trained = {"trained": np.stack(self.trained)} if self.trained else {}
        values = {f"v_{name}": np.stack(rows) for name, rows in self.values.items()}
        return {**counts, "bits": bits, "offsets": self.offsets, "ends": self.ends, **scalars, **trained, **values}

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> "Trace":
        """The trace of stored arrays."""
        return cls(
            arrays["offsets"],
            arrays["ends"],
            arrays["step"].tolist(),
            arrays["task"].tolist(),
            arrays["seen"].tolist(),
            list(arrays["bits"]),
            {name[2:]: values.copy() for name, values in arrays.items() if name.startswith("s_")},
            list(arrays.get("trained", ())),
            {name[2:]: list(values) for name, values in arrays.items() if name.startswith("v_")},
        )
