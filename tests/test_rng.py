"""Draws have an address: the same address gives the same draw, another one another, in any order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.rng import generator, torch_seed

address = st.tuples(
    st.integers(0, 2**31), st.sampled_from(["order", "replay", "weights"]), st.integers(0, 99), st.integers(0, 10**6)
)


@given(address, address)
def test_same_address_same_draw_other_address_other_draw(
    one: tuple[int, str, int, int], other: tuple[int, str, int, int]
) -> None:
    first, second = (generator(*a).integers(2**63, size=4).tolist() for a in (one, other))
    assert (first == second) == (one == other)


def test_draws_do_not_depend_on_what_was_drawn_before() -> None:
    alone = generator(3, "order", 1, 2).permutation(50)
    for step in range(20):
        generator(3, "order", 1, step).random(100)
    np.random.seed(0)
    np.random.random(10)
    assert np.array_equal(generator(3, "order", 1, 2).permutation(50), alone)


def test_frozen_values() -> None:
    """A change here changes every stored result: raise LOOP_VERSION with it."""
    assert generator(0, "order", 1, 2).permutation(8).tolist() == [7, 5, 6, 3, 1, 4, 0, 2]
    assert torch_seed(0, "weights") == 6465559029600296245


def test_torch_seeds_of_purposes_and_seeds_differ() -> None:
    assert len({torch_seed(seed, purpose) for seed in range(50) for purpose in ("weights", "dropout")}) == 100
    assert 0 <= torch_seed(7, "weights") < 2**63
