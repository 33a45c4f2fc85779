"""How often classes occur: probabilities of classes, and the probability that a class is in a task of k classes.

The unbalanced worlds are those of SCoLe's released code (sampling.py); Zipf's law is an addition of ours.
"""

import numpy as np
import numpy.typing as npt

from common.errors import Problem
from common.rng import generator

Floats = npt.NDArray[np.float64]


def entropy_decrease(count: int, exponent: float) -> Floats:
    """p_i proportional to (1 - a i)^exponent for i = 0 .. count-1, a = 0.05, or 0.01 for exactly 100 classes.

    Errors: Problem where 1 - a i is not above 0 (more than 20 classes but not 100): there the released code fails for odd
    exponents, and gives rare classes a high probability for even ones.
    """
    slope = 0.01 if count == 100 else 0.05
    base: Floats = 1 - slope * np.arange(count, dtype=np.float64)
    if base[-1] <= 0:
        raise Problem(
            f"stream.probability is 'entropy_decrease', which is defined for up to 20 classes and for 100, but the stream has "
            f"{count}. Use stream.probability=zipf, or other stream.classes."
        )
    return _normalised(np.power(base, exponent))


def zipf(count: int, exponent: float) -> Floats:
    """p_i proportional to 1 / (i + 1)^exponent for i = 0 .. count-1."""
    return _normalised((1 + np.arange(count, dtype=np.float64)) ** -exponent)


def inclusion(probabilities: Floats, count: int, draws: int = 200_000) -> Floats:
    """q_i: the probability that class i is among `count` classes drawn one after the other without replacement.

    Exact for one or two classes, else from so many simulated draws with a fixed seed (standard error below 0.0012).
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if count == 1:
        return p
    if count >= (p > 0).sum():
        return (p > 0).astype(np.float64)
    if count == 2:
        odds = p / (1 - p)
        return p * (1 + odds.sum() - odds)
    # the largest of log p + Gumbel noise are such a draw
    rng, found = generator(0, "inclusion"), np.zeros(len(p))
    with np.errstate(divide="ignore"):
        score = np.log(p)
    for part in np.array_split(np.arange(draws), -(-draws // 10_000)):
        keys = score + rng.gumbel(size=(len(part), len(p)))
        np.add.at(found, np.argpartition(-keys, count, axis=1)[:, :count].ravel(), 1)
    return found / draws


def _normalised(weights: Floats) -> Floats:
    return weights / weights.sum()
