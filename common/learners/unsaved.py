"""What a learner remembers outside of what a checkpoint holds: its attributes, told apart by their content.

An attribute's mark changes when the attribute is replaced by another value or changed in place (a list, dict, set, array,
tensor, generator of random numbers, object of one's own, however nested). Weights and state are passed over where
something refers to them: they are saved.
"""

import io
import pickle
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning import Fabric
from torch import Tensor, nn

from common.files import sha256_bytes
from common.learners.memory import STORED, Memory
from common.ranks import Ranks
from common.streams.resident import Resident

if TYPE_CHECKING:
    from common.learners.base import Learner

SAVED = ("state", "memory", "live", "training", "watch", "optimiser")  # or given anew to whoever goes on
PLAIN = (bool, int, float, str, type(None))
# the same as long as it is the same object: code, and what the loop gives
FIXED = (
    type,
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    ModuleType,
    torch.optim.Optimizer,
    Resident,
    Ranks,
    Fabric,
)
LARGE = 2**24  # bytes of a tensor, from which torch's own count of changes stands for its content


def attributes(learner: "Learner") -> dict[str, Any]:
    """What could be lost, by name: the attributes of the learner, of its classes and of its memory that no checkpoint holds.

    Names that begin with _ are left out: they are for what can be made again.
    """
    kinds = type(learner).mro()
    own = kinds[: next(k for k, kind in enumerate(kinds) if kind.__module__ == "common.learners.base")]
    found = {
        name: value for kind in reversed(own) for name, value in vars(kind).items() if not hasattr(value, "__get__")
    }
    found |= vars(learner) | learner._modules
    if learner.memory is not None and type(learner.memory).stored is Memory.stored:
        found |= {f"memory.{name}": value for name, value in vars(learner.memory).items() if name not in STORED}
    return {name: v for name, v in found.items() if name not in SAVED and not name.startswith(("_", "memory._"))}


def marks(learner: "Learner", values: dict[str, Any]) -> dict[str, str]:
    """By name a mark of each value's content, the same as long as the content is."""
    found = {name: repr(value) if type(value) in PLAIN else str(id(value)) for name, value in values.items()}
    nested = {name: value for name, value in values.items() if not isinstance(value, (*PLAIN, *FIXED, nn.Module))}
    if nested:
        known = Known(learner)
        found |= {name: _mark(value, known) for name, value in nested.items()}
    return found


class Known:
    """What a checkpoint holds, and what holds it: objects by their id, tensors by the place of their numbers."""

    def __init__(self, learner: "Learner") -> None:
        parts = (learner.state, learner.memory, learner.live, learner._fabric, learner.optimiser)
        self.objects = {id(part) for part in (*parts, *learner.modules()) if part is not None}
        given = [value for value in vars(learner.data).values() if isinstance(value, Tensor)]
        self.places = {_place(t) for t in (*learner.parameters(), *learner.buffers(), *given)}


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _mark(value: Any, known: Known) -> str:
    """Digest of the value's pickle; where it has none, its id."""
    stream = io.BytesIO()
    try:
        _Marker(stream, known).dump(value)
    except Exception:  # code of one's own may raise anything here
        return str(id(value))
    return sha256_bytes(stream.getvalue())


class _Marker(pickle.Pickler):
    """Pickles what nobody will read: the content of lists, dicts, objects; in place of the rest a mark."""

    def __init__(self, stream: io.BytesIO, known: Known) -> None:
        super().__init__(stream, protocol=5)
        self.known = known

    def persistent_id(self, value: Any) -> Any:
        if id(value) in self.known.objects or isinstance(value, FIXED):
            return id(value)
        if isinstance(value, Tensor):
            return _of_tensor(value, self.known)
        if isinstance(value, torch.Generator):
            return sha256_bytes(value.get_state().numpy().tobytes())
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            content = sha256_bytes(value.tobytes()) if value.flags.writeable else id(value)
            return value.shape, str(value.dtype), content
        return None

    def reducer_override(self, value: Any) -> Any:
        try:
            return value.__reduce_ex__(5)
        except Exception:  # an open file, a lock
            return int, (id(value),)


def _of_tensor(tensor: Tensor, known: Known) -> Any:
    kind = tuple(tensor.shape), str(tensor.dtype)
    if tensor.layout != torch.strided or tensor.is_meta:
        return *kind, id(tensor)
    if tensor.numel() and _place(tensor) in known.places:
        return "saved"
    if tensor.nbytes >= LARGE:
        return *kind, id(tensor), 0 if tensor.is_inference() else tensor._version
    return *kind, sha256_bytes(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
