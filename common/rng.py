"""Randomness with an address: every draw is keyed by (seed, purpose, task, step), never by what was drawn before."""

import zlib

import numpy as np


def generator(seed: int, purpose: str, task: int = 0, step: int = 0) -> np.random.Generator:
    """A NumPy generator that depends on its address alone, so that a resumed run draws what it would have drawn.

    Different purposes (order, replay, init ...) are independent streams of the same seed.
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), task, step])


def torch_seed(seed: int, purpose: str) -> int:
    """A 63-bit seed for torch's own generator at that address (initial weights, dropout)."""
    return int(generator(seed, purpose).integers(2**63 - 1))
