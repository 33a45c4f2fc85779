"""What a run will cost before it runs: updates from its stream, time from runs like it, memory from its tensors."""

import itertools
import math
import statistics
from collections.abc import Iterable
from functools import cache
from typing import Any

from common import networks
from common.asked import folder_of
from common.places import runs_dir
from common.products import handle
from common.record import RunFolder
from common.spec import RunSpec
from common.stored import stored_provenance, stored_runs
from common.streams import data
from common.streams.stream import Stream
from common.sweep import Request

CORE_FLOPS = 2e10  # what one CPU core does in small networks; only for runs that nobody has timed yet
PROCESS_MB = 500  # a worker with torch, before any data


@cache
def _stream(name: str, maker: str | None, stream: str, settings: str, seed: int) -> Stream:
    import json

    from common import parts

    made: Stream = parts.find("stream", stream).load()(handle(name, maker), seed, **json.loads(settings))
    return made


def stream_of(run: RunSpec) -> Stream:
    """The run's stream (index lists; no image is touched)."""
    import json

    return _stream(run.data, run.maker, run.stream.name, json.dumps(run.stream.settings, sort_keys=True), run.seed)


def updates(run: RunSpec) -> int:
    """Updates the run makes in total; an analysis or a collection counts as one."""
    if run.finding:
        return 1
    return sum(run.budget.updates(int(size)) for size in stream_of(run).sizes())


def memory_mb(run: RunSpec) -> int:
    """Rough memory of one process: resident images, evaluation samples as floats, simulators, and torch itself."""
    if run.collection:
        return PROCESS_MB
    stream = stream_of(run)
    pixels = math.prod(stream.images.train.images.shape[1:])
    rows = sum(len(rows) for _, rows in stream.tables())
    samples = sum(min(len(t.test), run.evaluation.samples or len(t.test)) for t in stream.measured)
    beside = stream.beside_mb(run.evaluation.samples or 0)
    return PROCESS_MB + beside + (rows * pixels + 4 * samples * pixels) // 2**20


def seconds(requests: list[Request], done: Iterable[Request] = ()) -> tuple[list[float | None], str]:
    """(seconds of each request or None where nothing can be said, how they were found).

    Timed runs of the same spec and case come first, then of the same learner and model at the same tier, then arithmetic.
    Of runs, those that are `done` here come before those whose results are stored.
    """
    timed = {(r.paper, r.tier): _timed(r.paper, r.tier) for r in requests}
    here = _timed_here(done)
    found: list[float | None] = []
    ways = set()
    for request in requests:
        rows = timed[request.paper, request.tier] | here
        per_update = next((rows[k] for k in _likenesses(request) if k in rows), None)
        run = request.run
        ways.add("runs like them" if per_update else "arithmetic")
        guess = (None if run.finding or run.maker else _arithmetic(run)) if per_update is None else per_update
        found.append(None if guess is None else guess * updates(run))
    return found, " and ".join(sorted(ways))


def _likenesses(request: Request) -> list[tuple[Any, ...]]:
    """What runs are alike by, the nearest first."""
    run = request.run
    part = run.finding.name if run.finding else run.learner.name
    return [(request.spec, request.case), (part, run.model.name)]


def _timed_here(done: Iterable[Request]) -> dict[tuple[Any, ...], float]:
    """Median seconds per update of runs that are done, by spec and case and by learner and model."""
    each: dict[tuple[Any, ...], list[float]] = {}
    for request in done:
        status = RunFolder(runs_dir() / request.run_id).status()
        for key in _likenesses(request):
            each.setdefault(key, []).append(status.get("seconds", 0) / max(status["updates"], 1))
    return {key: statistics.median(values) for key, values in each.items()}


@cache
def _timed(paper: str, tier: str) -> dict[tuple[Any, ...], float]:
    """Median seconds per update of stored runs, by (spec, case) and by (learner, model)."""
    folder = folder_of(paper, tier)
    runs = stored_runs(folder)
    took = stored_provenance(folder)
    if runs is None or took is None:
        return {}
    names = [name for name in ("analysis.name", "collection.name", "learner.name") if name in runs]
    columns = [name for name in ("run_id", "spec", "case", "model.name") if name in runs]
    both = runs[columns].assign(part=runs[names].bfill(axis=1).iloc[:, 0]).merge(took, on="run_id")
    both = both.assign(each=both["seconds"] / both["updates"], case=both["case"].astype(object).fillna(""))
    found: dict[tuple[Any, ...], float] = {}
    for keys in (["part", "model.name"], ["spec", "case"]):
        found |= {tuple(key): float(value) for key, value in both.groupby(keys)["each"].median().items()}  # type: ignore[arg-type]
    return found


def _arithmetic(run: RunSpec) -> float | None:
    """Seconds per update from multiply-adds: training costs three forward passes, evaluation one per sample seen."""
    stream, macs = stream_of(run), image_macs(run)
    if macs is None:
        return None
    trained = 3 * run.budget.batch * (1 if run.learner.name in ("finetune", "ewc", "si") else 2)
    tested = sum(min(len(t.test), run.evaluation.samples or len(t.test)) for t in stream.measured) / 2
    every = run.evaluation.every or 10**9
    if stream.parts is not None:  # all of them from the start, at the ends of tasks
        tested, every = 2 * tested, min(every, run.budget.updates(int(stream.sizes()[0])))
    return 2 * macs * (trained + tested / every) / CORE_FLOPS


def image_macs(run: RunSpec) -> float | None:
    """Multiply-adds of one image of the run's data set."""
    channels, height, width = picture_shape(run.data)
    return forward_macs(run, channels * height * width, channels, height)


@cache
def picture_shape(name: str) -> tuple[int, ...]:
    """(channels, height, width) of a data set's pictures."""
    return tuple(data.load(name).train.images.shape[1:])


def forward_macs(run: RunSpec, pixels: int, channels: int, size: int) -> float | None:
    """Multiply-adds of one image's forward pass; None for networks whose arithmetic is not written down here."""
    settings = run.model.settings
    if run.model.name == "mlp":
        widths = [pixels, *settings["hidden"], 10]
        return float(sum(a * b for a, b in itertools.pairwise(widths)))
    if run.model.name == "small_cnn":
        w = settings["width"]
        pairs = ((channels, w, size / 2), (w, 2 * w, size / 4), (2 * w, 4 * w, size / 8))
        return float(sum(9 * a * b * s * s for a, b, s in pairs))
    if run.model.name == "slim_resnet18":
        return 54.6e6 * (settings["width"] / 20) ** 2 * (size / 32) ** 2  # 54.6 M at 32 pixels, counted
    if run.model.name in networks.MACS:
        return networks.MACS[run.model.name](settings, channels, size)
    return None
