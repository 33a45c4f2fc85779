"""L2M's model, bins, windows and policy: sizes of the sheet, what a token can see, and that acting equals computing anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import Problem
from papers.l2m.bins import BINS, REST, UNUSED, bins, centres
from papers.l2m.changes import Change
from papers.l2m.model import MDDT, mddt
from papers.l2m.modulators import LoRA, modulator
from papers.l2m.policy import Acting
from papers.l2m.sequences import Sequences, sequences
from papers.l2m.shelf import Book
from tests.l2m_points import PLACES, collect

SHAPE = (3, 6, 3)  # time steps, states, actions


class Folder:
    """What a collection is told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seed = folder, 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy data set."""
    made = tmp_path_factory.mktemp("toy") / "data"
    list(collect(Folder(made), episodes=6))
    return made


@pytest.fixture
def toy(folder: Path) -> Callable[..., Sequences]:
    """A stream on it."""

    def make(**over: Any) -> Sequences:
        settings: dict[str, Any] = {"learn": ["east"], "play": list(PLACES), "context": 3, "layout": "6", "actions": 3}
        return sequences(folder, 0, **{**settings, "worlds": "tests.l2m_points.make", **over})

    return make


def net(**over: Any) -> MDDT:
    torch.manual_seed(0)
    made = mddt(SHAPE, BINS, **{"width": 32, "depth": 2, "attention_heads": 2, "types": True, **over}).eval()
    for name, p in made.named_parameters():
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=2.0 if name == "trunk.state.weight" else 0.3)
    return made


def windows(count: int = 5, steps: int = 3) -> torch.Tensor:
    draws = np.random.default_rng(0)
    x = draws.uniform(-1, 1, (count, steps, 6 + 3 + 4)).astype(np.float32)
    x[..., -2], x[..., -1] = np.arange(steps), 1
    return torch.from_numpy(x)


# --- bins -----------------------------------------------------------------------------------------------------------


def test_bins_and_back() -> None:
    every = torch.arange(BINS)
    assert torch.equal(bins(centres(every)), every)
    actions = torch.linspace(-1, 1, 1001)
    assert (centres(bins(actions)) - actions).abs().max() <= 1 / 64 + 1e-6
    assert bins(torch.tensor([-5.0, -1.0, -0.97, 0.0, 0.99, 1.0, 5.0])).tolist() == [0, 0, 0, REST, 63, 63, 63]
    assert centres(torch.tensor([0, 63])).tolist() == pytest.approx([-1 + 1 / 64, 1 - 1 / 64])


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "width", "millions"),
    [
        (1, 128, 0.2), (3, 256, 2.4), (4, 512, 12.6), (6, 768, 42.5), (8, 768, 57), (6, 1024, 76), (8, 1024, 101),
        (10, 1280, 197), (24, 1024, 302),
    ],
)  # fmt: skip
def test_parameters_of_the_blocks_are_those_of_gpt2(depth: int, width: int, millions: float) -> None:
    with torch.device("meta"):
        blocks = mddt((5, 204, 6), BINS, width=width, depth=depth, attention_heads=width // 64).trunk.blocks
    count = sum(p.numel() for p in blocks.parameters())
    assert count == depth * (12 * width**2 + 13 * width)
    assert count / 1e6 == pytest.approx(millions, abs=0.5 if millions > 20 else 0.05)


def test_the_papers_model_and_its_modulators() -> None:
    with torch.device("meta"):
        whole = mddt((5, 204, 6), BINS)
        parameters = sum(p.numel() for p in whole.parameters())
        blocks = sum(p.numel() for p in whole.trunk.blocks.parameters())
    assert blocks == 42_527_232
    # beside the blocks: states 204, goal and reward 1, 64 bins, 1000 time steps, two normalisations, head
    assert parameters - blocks == 768 * (204 + 1 + 1 + 1 + 1 + 1 + 64 + 1000 + 4) + 64 * 769
    lora = LoRA(1, 6, 768, 0, 8, 2.0)
    assert sum(p.numel() for p in lora.parameters()) == 442_368  # 1 % of the trunk
    ia3 = modulator("ia3", 1, whole, 0, 8, 2.0, 5)
    assert sum(p.numel() for p in ia3.parameters()) == 27_648


# --- what a token can see -------------------------------------------------------------------------------------------


def test_nothing_leaks_from_what_comes_later() -> None:
    model, x = net(), windows().requires_grad_()
    scores = model(x)
    for step, dim in ((0, 0), (1, 2), (2, 0), (2, 2)):
        (slope,) = torch.autograd.grad(scores[:, step, dim].sum(), x, retain_graph=True)
        assert not slope[:, step + 1 :].any()  # later time steps
        assert not slope[:, step, -3].any()  # the reward of the same one
        assert slope[:, step, :7].any()
    for step, dim in ((0, 1), (2, 0), (2, 1)):  # actions enter as bins, which have no slope
        changed = windows()
        changed[:, step, 7 + dim :] = -changed[:, step, 7 + dim :]
        changed[:, step, -2:] = windows()[:, step, -2:]
        changed[:, step + 1 :, :-2] += 1
        other = model(changed)
        assert torch.equal(other[:, :step], scores[:, :step])
        assert torch.allclose(other[:, step, : dim + 1], scores[:, step, : dim + 1], atol=1e-5)
        assert not torch.allclose(other[:, step, dim + 1 :], scores[:, step, dim + 1 :], atol=1e-3) or dim == 2


def test_a_window_that_is_filled_up_gives_what_the_short_one_gives() -> None:
    model, x = net(), windows()
    short = model(x[:, :2])
    x[:, 2] = 0
    torch.testing.assert_close(model(x)[:, :2], short, rtol=1e-5, atol=1e-5)


def test_the_query_is_the_mean_of_the_state_tokens_that_are_there() -> None:
    model, x = net(), windows()
    x[0, 1:] = 0
    tokens = model.trunk.embed(x)
    query = model.query(tokens, model.trunk.split(x)[-1])
    torch.testing.assert_close(query[0], tokens[0, 0, 0])
    torch.testing.assert_close(query[1], tokens[1, :, 0].mean(0))


def test_a_query_after_a_layer_is_of_the_hidden_states_that_the_unmodulated_net_has_there() -> None:
    model, x = net(), windows()
    tokens, there = model.trunk.embed(x), model.trunk.split(x)[-1]
    model.query_layer = 1
    h = model.trunk.blocks[0](tokens.flatten(1, 2), 0, Change(), None).view_as(tokens)
    query = model.query(tokens, there)
    torch.testing.assert_close(query, (h[:, :, 0] * there).sum(1) / there.sum(1))
    assert not query.requires_grad
    model.query_layer = 2
    assert not torch.allclose(model.query(tokens, there), query)
    later = x.clone()  # actions of the last step are unknown while it acts: the query does not see them
    later[:, -1, model.trunk.states + 1 : -2] = 0.5
    torch.testing.assert_close(model.query(model.trunk.embed(later), there), model.query(tokens, there))


# --- acting ---------------------------------------------------------------------------------------------------------


class Whole(Acting):
    """The same without a cache: the whole window anew for every action."""

    def decide(self, x: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        net, x = self.net, x.clone()
        tokens = net.trunk.embed(x)
        change, _ = self.modulation(tokens, net.trunk.split(x)[-1], torch.from_numpy(self.tasks[rows]))
        dims = torch.from_numpy(self.dims[rows])
        chosen = torch.full((len(x), 3), REST)
        for k in range(3):
            best = net.decide(net.trunk.embed(x), change)[:, -1, k].argmax(-1)
            chosen[:, k] = torch.where(k < dims, best, REST)
            x[:, -1, 7 + k] = centres(chosen[:, k])
        return chosen


def books() -> list[Book]:
    """Books of two tasks, of 2 and 3 action dimensions."""
    some: Any = np.zeros((4, 6), dtype=np.float32)
    return [
        Book(some, some, some[:, 0], np.array([0, 4]), np.array([goal]), dims, 2.0)
        for goal, dims in ((3.0, 2), (5.0, 3))
    ]


@pytest.mark.parametrize("kind", ["none", "lora", "ia3", "adapter", "prompt", "prefix", "deep_prompt"])
def test_acting_with_kept_keys_and_values_equals_computing_anew(kind: Any) -> None:
    model = net()
    made = None if kind == "none" else modulator(kind, 4, model, 0, 2, 2.0, 3)
    for p in () if made is None else made.parameters():
        torch.nn.init.normal_(p, std=0.3)
    index = torch.tensor([0, 2, 1, 3, 2])

    def modulation(tokens: Any, there: Any, played: Any) -> Any:
        return (Change() if made is None else made.pick(index[: len(tokens)], None)), None

    draws = np.random.default_rng(1)
    said = []
    for kind_of in (Acting, Whole):
        policy, draws = kind_of(model, modulation, books(), 3), np.random.default_rng(1)
        policy.start(5, [0, 1, 0, 1, 1])
        for step in range(6):
            rows = np.arange(5) if step < 4 else np.array([0, 2, 4])  # two of them are over
            said.append(policy.act(draws.uniform(-1, 1, (len(rows), 6)).astype(np.float32), rows))
            policy.reward(rows, draws.uniform(0, 1, len(rows)).astype(np.float32))
    for one, other in zip(said[:6], said[6:], strict=True):
        np.testing.assert_array_equal(one, other)
    assert (said[0][[0, 2], 2] == 0).all()  # a dimension that the task does not have
    assert len(np.unique(np.concatenate([a[:, 0] for a in said[:6]]))) > 2


def test_goals_fall_by_rewards_and_never_rise_above_the_first() -> None:
    policy = Acting(net(), lambda *_: (Change(), None), books(), 3)
    policy.start(2, [0, 1])
    np.testing.assert_allclose(policy.goal, [1.5, 2.5])
    policy.act(np.zeros((2, 6), dtype=np.float32), np.arange(2))
    policy.reward(np.arange(2), np.array([1.0, -1.0], dtype=np.float32))
    np.testing.assert_allclose(policy.goal, [1.0, 2.5])
    np.testing.assert_allclose(policy.past[:, 0, 6 + 3 + 1], [0.5, -0.5])


def test_shares_of_modulated_steps_are_kept_by_task_in_the_order_of_episodes() -> None:
    on = iter([[True, False], [True, True]])
    policy = Acting(net(), lambda *_: (Change(), torch.tensor(next(on))), books(), 3)
    policy.start(2, [1, 0])
    for _ in range(2):
        policy.act(np.zeros((2, 6), dtype=np.float32), np.arange(2))
        policy.reward(np.arange(2), np.zeros(2, dtype=np.float32))
    policy.close()
    assert policy.shares == [[0.5], [1.0]]


# --- windows --------------------------------------------------------------------------------------------------------


def test_windows_hold_what_is_stored(toy: Callable[..., Sequences]) -> None:
    stream = toy(learn=["west", "east"])
    data = stream.resident("cpu")
    book = stream.shelf["east"]
    row = data.first[1] + book.starts[2] - 2  # two steps before the end of east's second episode
    batch = data.batch(np.array([row, 0]))
    states, goal, actions, reward, time, there = (t[0] for t in batch.x.split((6, 1, 3, 1, 1, 1), dim=-1))
    steps = slice(book.starts[2] - 2, book.starts[2])
    np.testing.assert_array_equal(states[:2], book.states[steps])
    np.testing.assert_array_equal(actions[:2], book.actions[steps])
    np.testing.assert_allclose(reward[:2, 0], book.rewards[steps])
    np.testing.assert_allclose(goal[:2, 0], [book.rewards[steps].sum(), book.rewards[steps][1]], rtol=1e-5)
    assert time[:2, 0].tolist() == [10, 11]
    assert there[:, 0].tolist() == [1, 1, 0]
    assert not batch.x[0, 2].any()
    assert torch.equal(batch.y[0, :2, :2], bins(actions[:2, :2]))
    assert (batch.y[0, 2] == UNUSED).all()
    assert (batch.y[..., 2] == UNUSED).all()  # the toys have two dimensions


def test_rows_are_drawn_evenly_over_the_time_steps_of_a_group(toy: Callable[..., Sequences]) -> None:
    stream = toy(learn=["west", "east"], beside=["south"], joint=True)
    data = stream.resident("cpu")
    rows = data.drawn(stream.tasks[0], 0, 30_000, 0)
    assert len(rows) == 60_000
    assert (rows[:30_000] < data.first[2]).all()
    assert (rows[30_000:] >= data.first[2]).all()
    counts = np.bincount(rows[:30_000], minlength=int(data.first[2]))
    assert abs(counts - counts.mean()).max() < 6 * np.sqrt(counts.mean())


def test_a_stream_is_there_before_its_data(tmp_path: Path) -> None:
    stream = sequences(tmp_path / "none", 0, learn=["CW10"], play=["MT40", "CW10"])
    assert (len(stream), len(stream.parts or ())) == (10, 50)
    assert "task 0: hammer" in str(stream)
    assert stream.tasks[3].classes == (43,)  # its place among the played tasks
    with pytest.raises(Problem, match="no whole data set"):
        stream.digest()


def test_data_of_other_spaces_are_refused(toy: Callable[..., Sequences], folder: Path) -> None:
    with pytest.raises(Problem, match="wants 7 and 3"):
        toy(layout="7").digest()
    with pytest.raises(Problem, match="no task 'eats'"):
        toy(learn=["eats"]).digest()
