"""From a spec to the objects of a run: device, stream, network, optimiser, learner."""

import warnings
from typing import Any

import torch
from lightning import Fabric

from common import checkpoint, parts
from common.errors import Problem
from common.learners.base import Learner, Setup
from common.places import runs_dir
from common.process_group import together
from common.products import handle
from common.ranks import Ranks
from common.rng import torch_seed
from common.spec import RunSpec
from common.streams.stream import Stream


def fabric_for(device: str, precision: str, processes: int = 1) -> Fabric:
    """Fabric on one device of this process. Errors: Problem when a GPU is asked for and torch finds none."""
    # on a login node Lightning advises srun, but one process a run is what is meant
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    if torch.cuda.is_available():  # the same kernels every time, so that a resumed run goes on as it would have
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    if processes != 1:
        return together(_device(device), _precision(precision), processes)
    return Fabric(accelerator=_device(device), devices=1, precision=_precision(precision))


def build(spec: RunSpec, fabric: Fabric, ranks: Ranks | None = None) -> tuple[Stream, Learner]:
    """The stream and the learner of a spec, on Fabric's device, with weights drawn from the seed (or the parent's)."""
    stream = build_stream(spec)
    resident = stream.resident(fabric.device)
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(spec.seed, "weights"))
        net = _load("model", spec)(resident.shape, stream.classes, **spec.model.settings)
    if spec.parent:
        _inherit(net, spec.parent)
    net = net.to(fabric.device).train()
    optimiser = _load("optimiser", spec)(net.parameters(), **spec.optimiser.settings)
    learner: Learner = _load("learner", spec)(Setup(net, optimiser, resident, spec.seed), **spec.learner.settings)
    _, learner.optimiser = fabric.setup(learner, optimiser)
    learner.watch = spec.evaluation.gradients
    if ranks is not None and ranks.world > 1:
        ranks.admit(net)
        learner.ranks = ranks
    learner.unsaved()  # remembers how it was made
    torch.manual_seed(torch_seed(spec.seed, "dropout"))
    return stream, learner


def build_stream(spec: RunSpec) -> Stream:
    """The stream of a spec; needs its data set, but neither torch nor a device."""
    made: Stream = _load("stream", spec)(handle(spec.data, spec.maker), spec.seed, **spec.stream.settings)
    return made


def _load(kind: parts.Kind, spec: RunSpec) -> Any:
    return parts.find(kind, getattr(spec, kind).name).load()


def _inherit(net: torch.nn.Module, parent: dict[str, str]) -> None:
    """Puts the final weights of the parent run into the network: all of them, or the trunk's alone."""
    path = runs_dir() / parent["run"] / "weights.pt"
    if not path.exists():
        raise Problem(f"The parent run {parent['run']} has no {path.name} yet. Run its target first.")
    weights = checkpoint.read_weights(path.parent)
    if parent["take"] == "trunk":
        weights = {name: t for name, t in weights.items() if name.startswith("trunk.")}
    own = net.state_dict()
    wrong = [name for name, t in weights.items() if name not in own or own[name].shape != t.shape]
    if wrong:
        raise Problem(
            f"The weights of the parent run {parent['run']} do not fit this model at {', '.join(wrong[:5])}. Use the parent's "
            "model settings and pictures of its size, parent.take=trunk when only the head differs, or parent=null."
        )
    net.load_state_dict(own | weights)


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise Problem(
            "device is 'cuda', but torch finds no GPU here. Use --device cpu, or leave it out to take what is there."
        )
    return wanted


def _precision(wanted: str) -> Any:
    return "32-true" if wanted == "32" else wanted
