"""The process group of a run that several processes carry out, from what srun or torchrun says in the environment."""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from lightning import Fabric
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.fabric.strategies import DDPStrategy
from torch import nn

from common.errors import Problem

# a process that does not answer for so long counts as lost; nothing that one process does alone takes as long
PATIENCE = timedelta(minutes=5)


def together(device: str, precision: Any, processes: int) -> Fabric:
    """Fabric as one of the processes that a launcher started. Errors: Problem when their number is not what was asked."""
    each, nodes = _placed(device, processes)
    # named here, not left to Fabric to find: where it finds none (a SLURM job called "bash") it starts processes itself
    if "WORLD_SIZE" in os.environ:
        environment: ClusterEnvironment = TorchElasticEnvironment()
    else:
        os.environ["SLURM_NTASKS_PER_NODE"] = str(each)  # Fabric insists on it, and `srun -n` leaves it out
        environment = SLURMEnvironment()
    strategy = _Group(cluster_environment=environment, timeout=PATIENCE)
    fabric = Fabric(accelerator=device, devices=each, num_nodes=nodes, strategy=strategy, precision=precision)
    with answered():
        fabric.launch()
    return fabric


class _Group(DDPStrategy):
    """Fabric's DDP without its wrapper around the module: the process group alone."""

    def setup_module(self, module: nn.Module) -> Any:
        """The module as it is."""
        return module


def _placed(device: str, processes: int) -> tuple[int, int]:
    """(processes on each node, nodes), as the launcher says. Errors: Problem when it is not what was asked for."""
    said, nodes = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)), int(os.environ.get("SLURM_NNODES", 1))
    if "WORLD_SIZE" in os.environ:  # of torchrun, which can be used inside a SLURM job
        said = int(os.environ["WORLD_SIZE"])
        nodes = said // int(os.environ.get("LOCAL_WORLD_SIZE", said))
    if said != processes or processes < 2 or processes % nodes:
        raise Problem(
            f"The run is to be carried out by {processes} processes, but the launcher started {said} on {nodes} node(s). Start "
            "them all, as many on each node, with srun --nodes=N --ntasks-per-node=M or with torchrun; or ask for 1 process."
        )
    if device == "cuda" and torch.cuda.device_count() < processes // nodes:
        raise Problem(
            f"{processes // nodes} processes on a node need as many GPUs, but this one sees {torch.cuda.device_count()}. Ask "
            f"SLURM for --gpus-per-node={processes // nodes} (not --gpus-per-task, which hides the others), or use --device cpu."
        )
    return processes // nodes, nodes


@contextlib.contextmanager
def answered() -> Iterator[None]:
    """What torch says when a rank is gone, in plain words."""
    try:
        yield
    except RuntimeError as error:
        raise Problem(
            f"Another process of this run ended or has not answered for {PATIENCE.seconds // 60} minutes; its own output "
            "says why. Give the command again: the run goes on from its checkpoint. "
            f"(torch: {str(error).splitlines()[0][:200]})"
        ) from error
