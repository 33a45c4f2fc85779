"""One run by several processes, the ranks: each takes its share of every batch, and all make the same step.

Fabric's DDP strategy makes the process group from what srun or torchrun says. Its wrapper is left out: it averages over
ranks as if all shares were equal and sees only what goes through one forward, whereas here the gradient of the whole
batch is summed once, before `edit` and the optimiser see it. With one process nothing of this does anything.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.distributed as dist
from lightning import Fabric
from torch import Tensor, nn

from common.errors import Problem
from common.files import sha256_bytes
from common.process_group import PATIENCE, answered
from common.streams.resident import Batch

if TYPE_CHECKING:
    from common.learners.base import Learner

AGES = timedelta(days=365)


class Share(NamedTuple):
    """A rank's part of a batch, and what part of the new and of the replayed samples it is (0 to 1)."""

    batch: Batch
    new: float
    old: float


class Ranks:
    """All processes of a run; Ranks() is the one process that is alone. The first rank is the lead: it alone writes."""

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.fabric = fabric
        self.rank, self.world = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
        self.lead = self.rank == 0
        # what is not a gradient goes from processor to processor, so that no update waits for the GPU
        gpus = fabric is not None and dist.get_backend() != "gloo"
        self.aside = dist.new_group(backend="gloo", timeout=PATIENCE) if gpus else None

    # --- agreeing --------------------------------------------------------------------------------------------

    def any(self, flag: bool) -> bool:
        """Whether the flag is up on any rank."""
        if self.world == 1:
            return flag
        up = torch.tensor(int(flag))
        with answered():
            dist.all_reduce(up, dist.ReduceOp.MAX, group=self.aside)
        return bool(up)

    def told(self, value: Any) -> Any:
        """The lead's value, on every rank."""
        if self.world == 1:
            return value
        values = [value]
        with answered():
            dist.broadcast_object_list(values, src=0, group=self.aside)
        return values[0]

    def agree(self, what: str, value: object) -> None:
        """Nothing when all ranks have the same value. Errors: Problem, on every rank."""
        if self.any(value != self.told(value)):
            raise Problem(
                f"The processes of this run differ in {what}. All need the same command, code, data and kind of processor, "
                "and the same folders (REPLICATE_RUNS, REPLICATE_DATA); then give the command again."
            )

    def wait(self) -> None:
        """Returns when every rank is here."""
        self.any(False)

    @contextlib.contextmanager
    def led(self, held: contextlib.AbstractContextManager[Any]) -> Iterator[Any]:
        """On the lead the block of `held` (a lock, a sitting); the others enter after it. What refuses the lead refuses all."""
        with contextlib.ExitStack() as stack:
            given = refused = None
            if self.lead:
                try:
                    given = stack.enter_context(held)
                except Problem as problem:
                    refused = problem
            if refused := self.told(refused):
                raise refused
            yield given

    def of_lead(self, act: Callable[[], Any]) -> Any:
        """What the call gives on the lead, which alone makes it, on every rank. The others wait, however long it takes."""
        if self.world == 1:
            return act()
        waiting = dist.new_group(backend="gloo", timeout=AGES)  # notices a lead that is gone, and no other silence
        values = [act() if self.lead else None]
        with answered():
            dist.broadcast_object_list(values, src=0, group=waiting)
        return values[0]

    # --- computing -------------------------------------------------------------------------------------------

    def share(self, batch: Batch) -> Share:
        """This rank's samples of a batch, new and replayed, and their weights."""
        mine, new = self._cut(batch)
        if batch.replay is None:
            return Share(mine, new, new)
        replay, old = self._cut(batch.replay)
        return Share(mine._replace(replay=replay), new, old)

    def _cut(self, batch: Batch) -> tuple[Batch, float]:
        """Neighbouring samples. Where there are fewer samples than ranks, some take one with weight 0: no mean is empty."""
        count = len(batch.y)
        start, stop = (rank * count // self.world for rank in (self.rank, self.rank + 1))
        cut = slice(start, max(stop, start + 1))
        columns, rows = (None if t is None else t[cut] for t in (batch.columns, batch.rows))
        return Batch(batch.x[cut], batch.y[cut], columns, None, rows), (stop - start) / count

    def summed(self, tensors: list[Tensor]) -> list[Tensor]:
        """The sums over all ranks, in one message."""
        flat = torch.cat([t.reshape(-1) for t in tensors])
        with answered():
            dist.all_reduce(flat)
        pieces = flat.split([t.numel() for t in tensors])
        return [piece.view(t.shape) for piece, t in zip(pieces, tensors, strict=True)]

    # --- refusing --------------------------------------------------------------------------------------------

    def admit(self, net: nn.Module) -> None:
        """Nothing for a network that treats each sample by itself. Errors: Problem for batch statistics and dropout."""
        if found := sorted({type(m).__name__ for m in net.modules() if undivided(m)}):
            raise Problem(
                f"{self.world} processes share each batch, but the model has {', '.join(found)}, which would do other things "
                "to a share than to the whole batch. Allowed are models without batch statistics and dropout (such as "
                "model.norm=group, model.p=0), or one process."
            )

    def check(self, learner: "Learner", batch: Batch) -> None:
        """Nothing when all ranks have the same weights and their shares' losses add up to the loss of the whole batch.

        Errors: Problem, on every rank; a learner that sums over samples, say, must be run by one process.
        """
        self.same(learner)
        with torch.no_grad():
            whole = learner.terms(learner.live, learner.state, batch).total
            shares = self.summed([learner.shared_terms(batch).total])[0]
        if self.any(not torch.allclose(shares, whole, rtol=1e-2, atol=1e-4)):  # bf16 leaves two digits
            raise Problem(
                f"{self.world} processes share each batch, but the loss of {type(learner).__name__} is no mean over samples: "
                f"{float(whole):.6g} on the whole batch, {float(shares):.6g} from the shares. Allowed are learners whose "
                "plasticity is a mean over new samples and whose stability is one over replayed samples (over new ones "
                "without replay), or uses none. Run it by one process."
            )

    def same(self, learner: "Learner") -> None:
        """Nothing when all ranks have the same weights and state, to the last bit. Errors: Problem, on every rank."""
        self.agree("the weights", sha256_bytes(_content(dict(learner.net.state_dict()))))
        self.agree(f"what {type(learner).__name__} remembers", sha256_bytes(_content(learner.get_extra_state())))


def undivided(module: nn.Module) -> bool:
    """Whether a layer mixes the samples of a batch or draws random numbers (torch's own layers and timm's DropPath)."""
    if "Drop" in type(module).__name__:
        return bool(getattr(module, "p", 0) or getattr(module, "drop_prob", 0))
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def _content(value: Any) -> bytes:
    """Tensors to the last bit, whichever device they are on, and what else there is, in its order."""
    if isinstance(value, dict):
        return b"".join(str(name).encode() + _content(one) for name, one in value.items())
    if isinstance(value, Tensor):
        plain = value.detach().cpu().reshape(-1).clone(memory_format=torch.contiguous_format)
        return plain.view(torch.uint8).numpy().tobytes()
    return repr(value).encode()
