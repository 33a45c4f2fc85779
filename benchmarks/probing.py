"""What linear probes of all layers at once cost, against the forward passes alone and against one layer after the other.

The work: the paper's Adam probes (all activations, nothing held between epochs) on the 16 convolutions of a VGG-19 with
BatchNorm of a quarter of the width, on random 32 x 32 images, one thread, by turns in one process. Memory is measured in
a process of its own.
"""

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

PLAN = (16, 16, 0, 32, 32, 0, 64, 64, 64, 64, 0, 128, 128, 128, 128, 0, 128, 128, 128, 128)  # 0: max-pool
SAMPLES, BATCH, EPOCHS, CLASSES = 512, 128, 2, 10
TURNS = 3


def measure() -> dict[str, float]:
    """Median ratios over turns, seconds, and the megabytes that probing adds to a forward pass."""
    torch.set_num_threads(1)
    net, data = vgg(), images(SAMPLES)
    table = features(net, data)
    ways: dict[str, Callable[[], object]] = {
        "forward": lambda: forward(net, data[0]),
        "arithmetic": lambda: arithmetic(table, data[1]),
        "at once": lambda: probe(net, data, together=True),
        "one by one": lambda: probe(net, data, together=False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(TURNS + 1):
        for name, way in ways.items():
            if turn == 0 and name == "one by one":
                continue  # the turn that warms up has no need of the long one
            began = time.perf_counter()
            way()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    trunk = [(a - b) / f for a, b, f in _rows(seconds, "at once", "arithmetic", "forward")]
    whole = [a / o for a, o in _rows(seconds, "at once", "one by one")]
    found = {
        "(probes of all layers - their arithmetic) / forward passes": statistics.median(trunk),
        "probes of all layers at once / one layer after the other": statistics.median(whole),
        "MB: probes of all layers, beside a forward pass": memory(SAMPLES),
        "MB: the same for 4 x the samples": memory(4 * SAMPLES),
        "MB: n x all features, for 4 x the samples (never held)": 16e-6
        * SAMPLES
        * sum(x.shape[2] for x in table.values()),
    }
    return found | {f"s: probes of 16 layers, {name}": statistics.median(t) for name, t in seconds.items()}


def _rows(seconds: dict[str, list[float]], *names: str) -> list[tuple[float, ...]]:
    return list(zip(*(seconds[name] for name in names), strict=True))


def vgg() -> nn.Sequential:
    """The convolutions of a VGG-19 of quarter width with BatchNorm, and one linear head."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    before = 3
    for after in PLAN:
        if after:
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            before = after
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(before, CLASSES))


def images(samples: int) -> tuple[Tensor, Tensor]:
    """Random images and labels."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(samples, 3, 32, 32, generator=draw), torch.randint(CLASSES, (samples,), generator=draw)


def forward(net: nn.Module, x: Tensor) -> None:
    """The bare forward passes of all epochs."""
    net.eval()
    with torch.no_grad():
        for _ in range(EPOCHS):
            for part in x.split(BATCH):
                net(part)


def features(net: nn.Module, data: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """[batches, BATCH, d] per convolution: what the probes' arithmetic is timed on."""
    from common.analysis import View, tapped
    from common.analysis.taps import frozen

    names = tapped(net, kinds=(nn.Conv2d,))
    with frozen(net, names, View(max_features=None)) as trunk:
        parts = [trunk(part).features for part in data[0].split(BATCH)]
    return {name: torch.stack([part[name] for part in parts]) for name in names}


def arithmetic(table: dict[str, Tensor], y: Tensor) -> None:
    """The probes alone, on features that are there already."""
    from common.analysis.adam import Adam, Batches, descend

    def epoch(number: int) -> Batches:
        for batch, rows in enumerate(torch.arange(SAMPLES).split(BATCH)):
            yield rows, {name: x[batch] for name, x in table.items()}

    descend({name: x.shape[2] for name, x in table.items()}, epoch, y, CLASSES, Adam(epochs=EPOCHS, batch=BATCH))


def probe(net: nn.Module, data: tuple[Tensor, Tensor], together: bool) -> None:
    """Probes of all convolutions, in one go or layer by layer."""
    from common.analysis import Adam, View, tapped
    from common.analysis.probes import fit
    from common.analysis.samples import Samples

    names = tapped(net, kinds=(nn.Conv2d,))
    for part in [names] if together else [[name] for name in names]:
        fit(net, part, Samples(data), Adam(epochs=EPOCHS, batch=BATCH, hold=False), View(max_features=None))


def memory(samples: int) -> float:
    """Megabytes that probing all layers adds to the peak of a forward pass."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_added, (samples,))


def _added(samples: int) -> float:
    torch.set_num_threads(1)
    net, data = vgg(), images(samples)
    forward(net, data[0])
    before = _peak_mb()
    probe(net, data, together=True)
    return _peak_mb() - before


def _peak_mb() -> float:
    """This process's largest resident memory so far."""
    try:
        # getrusage would tell the parent's peak where that was larger: Linux keeps it through exec
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1e3
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
