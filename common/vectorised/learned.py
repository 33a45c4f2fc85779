"""A function of one learner made into one for all members of a group, and proven equal before it is used."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from common.learners.base import Learner
from common.vectorised import joining
from common.vectorised.capture import Unfit, captured
from common.vectorised.lift import TRIALS, Program, same, scrambled

Make = Callable[[Learner], Callable[..., Any]]


class Learned:
    """A member's function for all members at once, compared with each member's own. Errors: Unfit."""

    def __init__(self, learners: list[Learner], make: Make, inputs: tuple[Any, ...]) -> None:
        flat = pytree.tree_leaves(inputs)
        first = joining.parts(inputs, len(learners))[0]
        self.program = Program(captured(make(learners[0]), *first), len(learners), flat)
        for trial in range(TRIALS + 1):
            tried = pytree.tree_map(lambda v, t=trial: scrambled(v, t) if t and isinstance(v, Tensor) else v, inputs)
            whole = self(*tried)
            for k, own in enumerate(joining.parts(tried, len(learners))):
                result = make(learners[k])(*own)
                alone = pytree.tree_leaves(result)
                if not all(same(one, joining.part(all_, k)) for one, all_ in zip(alone, whole, strict=True)):
                    raise Unfit("its numbers are not those of a run alone")
        self.form = pytree.tree_structure(result)

    def __call__(self, *inputs: Any) -> list[Any]:
        return self.program(pytree.tree_leaves(inputs))

    def tree(self, *inputs: Any) -> Any:
        """The results in the form in which the function returns them."""
        return pytree.tree_unflatten(self(*inputs), self.form)
