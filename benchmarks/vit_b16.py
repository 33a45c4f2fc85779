"""CODA-P at the paper's size: what a step and an evaluation of ViT-B/16 on 224 x 224 pixels take on this machine.

Random weights and pictures serve for timing. Crops are cut on the device from pictures kept as uint8; every step makes its
query anew, since new crops are new pictures. A GPU runs it as `full` does (batches of 128, bf16-mixed), a CPU in fp32 with
small batches; on a GPU `torch.compile` of the trunk is timed beside it. "Share of peak": arithmetic done in a second over
that of a large matrix product in the same precision on the same device.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

COUNT, LENGTH, TASKS, CLASSES, LAYERS = 100, 8, 10, 100, [0, 1, 2, 3, 4]
PICTURES, EPOCHS = 50_000, 20  # CIFAR-100 (spec cifar100)
EVALUATED = 1000 * sum(range(1, TASKS + 1))  # test pictures of the tasks seen so far, after each of them
TURNS = 5


def measure() -> dict[str, float]:
    """Images a second of a step and of an evaluation, their share of peak, and the hours of CIFAR-100 in ten tasks."""
    torch.set_num_threads(1)
    gpu = torch.cuda.is_available()
    device, batch = torch.device("cuda" if gpu else "cpu"), 128 if gpu else 4
    kind = torch.bfloat16 if gpu else torch.float32
    where = f"{torch.cuda.get_device_name()}, bf16" if gpu else "one CPU thread, fp32"
    net, step, evaluate = scene(device, batch, kind)
    with FlopCounterMode(display=False) as counter:
        step()
    side = 8192 if gpu else 1024
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    ways: dict[str, Callable[[], object]] = {"step": step, "evaluation": evaluate, "product": lambda: a @ b}
    seconds = by_turns(ways, device)
    found = {f"images/s: {name} ({where})": batch / seconds[name] for name in ("step", "evaluation")}
    work, peak = counter.get_total_flops(), 2 * side**3 / seconds["product"]
    found["GFLOP of a step, an image"] = work / batch / 1e9
    found[f"share of peak: step ({where})"] = work / seconds["step"] / peak
    training, evaluation = PICTURES * EPOCHS * seconds["step"], EVALUATED * seconds["evaluation"]
    found[f"hours: CODA-P on CIFAR-100, 10 tasks ({where})"] = (training + evaluation) / batch / 3600
    if gpu:
        net.trunk.encode = torch.compile(net.trunk.encode)
        taken = by_turns(ways, device)
        found |= {f"{name}: as it stands / compiled": seconds[name] / taken[name] for name in ("step", "evaluation")}
    return found


def scene(
    device: torch.device, batch: int, kind: torch.dtype
) -> tuple[Any, Callable[[], object], Callable[[], object]]:
    """(network, one training step, one evaluated batch) in the second task."""
    from papers.coda_prompt.coda import Components
    from papers.coda_prompt.crops import resized_crop_flip
    from papers.coda_prompt.vit import timm_vit

    torch.manual_seed(0)
    net = timm_vit((3, 224, 224), CLASSES, tag="vit_base_patch16_224.augreg_in21k_ft_in1k", weights=False)
    net.prompt = Components(LAYERS, LENGTH, net.trunk.width, 0, COUNT, TASKS, "gram_schmidt", True, True, 0.0)
    net.prompt.begin(0)
    net.prompt.begin(1)
    net.to(device).trunk.requires_grad_(False)
    learned = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learned, lr=1e-3)
    pictures = torch.randint(256, (batch, 3, 224, 224), dtype=torch.uint8, device=device)
    labels = torch.randint(CLASSES, (batch,), device=device)
    crop, draws = resized_crop_flip(), np.random.default_rng(0)

    def step() -> None:
        with torch.autocast(device.type, kind, enabled=kind != torch.float32):
            logits, own = net(crop(pictures, draws) / 255, learning=True)
        loss: Tensor = cross_entropy(logits.float(), labels) + (0 if own is None else own)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def evaluate() -> None:
        with torch.inference_mode(), torch.autocast(device.type, kind, enabled=kind != torch.float32):
            net(pictures.float() / 255)

    return net, step, evaluate


def by_turns(ways: dict[str, Callable[[], object]], device: torch.device) -> dict[str, float]:
    """Median seconds of each; the first turn warms up."""
    turns = [{name: timed(way, device) for name, way in ways.items()} for _ in range(TURNS + 1)]
    return {name: statistics.median(turn[name] for turn in turns[1:]) for name in ways}


def timed(way: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, to its end on the device."""
    began = time.perf_counter()
    way()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
