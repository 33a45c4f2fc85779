"""Data sets of L2M: collected and resumed to the byte, opened and checked, written and read in other formats, counted and drawn."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.errors import Missing, Problem
from papers.l2m import experts, mpc, released, sac, statistics, store
from papers.l2m.catalogue import PAPER_RANDOM
from papers.l2m.collection import collect, identity
from papers.l2m.layouts import LAYOUTS
from papers.l2m.minari_sets import export_minari, import_minari
from papers.l2m.playing import Settings, episode
from papers.l2m.rollouts import episode_seed
from papers.l2m.store import Episode
from papers.l2m.trajectories import Trajectories
from papers.l2m.worlds import make

ROOT = Path(__file__).resolve().parent.parent
SMALL = Settings(
    tasks=["reach", "door-close"],
    episodes=11,
    steps=100,
    noise=[0.0, 0.1],
    layout="shared",
    cut_after_success=3,
    seed=1,
)


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two tasks, 11 episodes each."""
    folder = tmp_path_factory.mktemp("l2m") / "data"
    assert collect(folder, SMALL)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def invented(folder: Path, task: str = "reach", layout: str = "disjoint", success: bool = True) -> Path:
    """A data set of a few made-up episodes."""
    draws, size = np.random.default_rng(0), LAYOUTS[layout].size
    episodes = [
        Episode(
            *(np.float32(draws.uniform(-1, 1, shape)) for shape in ((n, size), (n, 6), (n,))), noise, success, False
        )
        for n, noise in ((5, 0.0), (3, 0.1), (4, 0.2))
    ]
    store.write_part(folder, task, 0, episodes)
    store.merge(folder, task, [0])
    store.finish(folder, {"tasks": [task], "layout": layout, "versions": {"mujoco": "3.3.0"}, "seed": 0})
    return folder


# --- collecting ------------------------------------------------------------------------------------------------


def test_a_data_set_holds_what_the_experts_did(collected: Path) -> None:
    data = Trajectories.open(collected, ["reach", "door-close"], "shared")
    data.check()
    assert data.tasks == ["reach", "door-close"]
    for task in data.tasks:
        table, states, actions = data.episodes(task), data.states(task), data.actions(task)
        assert len(table.noise) == 11
        assert states.shape == (table.starts[-1], 53)
        assert np.abs(actions).max() <= 1
        assert not actions[:, data.dims(task) :].any()
        assert table.ever.mean() > 0.5
        assert np.array_equal(table.noise, np.float32([0.0, 0.1] * 6)[:11])
        sums = np.add.reduceat(data.rewards(task).astype(np.float64), table.starts[:-1])
        assert np.allclose(sums, table.returns, rtol=1e-5)
    first = episode(make("reach", "shared"), SMALL, 7)  # alone, it is the episode that it was among the others
    table = data.episodes("reach")
    rows = slice(table.starts[7], table.starts[8])
    assert np.array_equal(data.states("reach")[rows], first.states)
    assert np.array_equal(data.actions("reach")[rows], first.actions)


def test_an_episode_may_be_cut_some_steps_after_success() -> None:
    world = make("reach", "shared")
    cut = episode(world, SMALL, 0)
    whole = episode(world, replace(SMALL, cut_after_success=None), 0)
    assert cut.ever
    assert len(whole.rewards) == 100
    assert len(cut.rewards) < 100
    assert np.array_equal(whole.states[: len(cut.states)], cut.states)


def test_interrupted_equals_uninterrupted_to_the_byte(collected: Path, tmp_path: Path) -> None:
    folder, asked, told = tmp_path / "data", [0], list[tuple[int, int]]()

    def stop() -> bool:
        asked[0] += 1
        return asked[0] > 1

    while not collect(folder, SMALL, lambda *said: told.append(said), stop):
        assert not (folder / "index.json").exists()
        with pytest.raises(Missing, match="no whole data set"):
            Trajectories.open(folder)
        asked[0] = 0
    assert asked[0] == 1  # it took several sittings: one block each
    assert [said for said in told if said[0] == 10]
    assert told[-1] == (22, 22)
    assert content(folder) == content(collected)
    before = content(folder)
    assert collect(folder, SMALL, processes=5)
    assert content(folder) == before


def test_killed_and_resumed_on_several_processes_it_is_the_same(collected: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    code = (
        "from pathlib import Path\nfrom papers.l2m.collection import collect\nfrom tests.test_l2m_data import SMALL\n"
        f"collect(Path({str(folder)!r}), SMALL, processes=2)"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    while not list(folder.glob("parts/*/*.npz")) and caller.poll() is None:
        time.sleep(0.01)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    assert collect(folder, SMALL, processes=2)
    assert content(folder) == content(collected)


def test_a_damaged_part_is_collected_again(collected: Path, tmp_path: Path) -> None:
    folder, asked = tmp_path / "data", [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] > 1

    assert not collect(folder, SMALL, stop=stop)
    (part,) = folder.glob("parts/*/*.npz")
    part.write_bytes(part.read_bytes()[:1000])
    with pytest.raises(Problem, match=r"damaged .* and is removed"):
        collect(folder, SMALL)
    assert collect(folder, SMALL)
    assert content(folder) == content(collected)


def test_wrong_settings_are_refused_together(tmp_path: Path) -> None:
    wrong = replace(
        SMALL, tasks=["raech"], episodes=0, noise=[3.0], layout="papre", cut_after_success=-1, source="agents"  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(Problem) as refused:
        collect(tmp_path / "data", wrong)
    said = str(refused.value)
    for words in (
        "Did you mean 'reach'?",
        "Did you mean 'paper'?",
        "episodes is 0",
        "noise is [3.0]",
        "cut_after_success is -1",
    ):
        assert words in said
    assert "source is 'agents'" in said
    assert not (tmp_path / "data").exists()


def test_identity_depends_on_everything_that_moves_the_data() -> None:
    base = identity(SMALL)
    assert base["tasks"] == ["reach", "door-close"]
    assert base == identity(replace(SMALL, tasks=["reach-v2", "door-close"], noise=[0, 0.1]))
    for other in (
        replace(SMALL, seed=2),
        replace(SMALL, layout="paper"),
        replace(SMALL, steps=None),
        replace(SMALL, noise=[0.0]),
    ):
        assert identity(other) != base
    assert "dm_control" in identity(replace(SMALL, tasks=["reach", "walker-run"]))["versions"]


def test_another_request_in_the_same_folder_is_refused(collected: Path) -> None:
    before = content(collected)
    with pytest.raises(Problem, match="collected with another episodes, seed"):
        collect(collected, replace(SMALL, seed=9, episodes=3))
    assert content(collected) == before


def test_an_expert_that_never_succeeds_is_refused_and_what_it_did_is_kept(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="reach: its demonstrator never succeeded in 2 episodes") as refused:
        collect(tmp_path / "data", replace(SMALL, tasks=["reach"], episodes=2, steps=3))
    assert "Leave the task out" in str(refused.value)
    assert (tmp_path / "data" / "reach" / "states.npy").exists()
    assert not (tmp_path / "data" / "index.json").exists()
    with pytest.raises(Problem, match="its demonstrator never got more than"):
        collect(tmp_path / "other", replace(SMALL, tasks=["pendulum-swingup"], episodes=1, steps=2, layout="disjoint"))


def test_planning_is_drawn_from_its_address_alone() -> None:
    settings = replace(SMALL, tasks=["pendulum-swingup"], steps=12, noise=[0.2])
    world = make("pendulum-swingup", "shared")
    first = episode(world, settings, 4)
    episode(world, settings, 2)
    again = episode(world, settings, 4)
    assert np.array_equal(first.states, again.states)
    assert np.array_equal(first.actions, again.actions)


def test_splines_interpolate_and_plans_move_on() -> None:
    search = mpc.Search(horizon=9, samples=4, knots=3, every=4)
    weights = mpc.spline(3, 9)
    assert np.allclose(weights.sum(axis=1), 1)
    knots = np.array([[0.0], [1.0], [3.0]])
    assert np.allclose(weights @ knots, np.interp(np.linspace(0, 2, 9), [0, 1, 2], [0, 1, 3])[:, None])
    assert np.allclose(mpc.shifted(knots, search), [[1.0], [3.0], [3.0]])  # four steps of eight: one knot of two
    assert set(mpc.SEARCHES) == set(mpc.COSTS) == set(PAPER_RANDOM)


def test_an_agents_episodes_are_data_too() -> None:
    pytest.importorskip("stable_baselines3")
    played = list(sac.learn(make("pendulum-swingup", "shared"), 0, 3, 20))
    assert [len(e.rewards) for e in played] == [20, 20, 20]
    assert played[0].states.shape == (20, 53)
    assert np.abs(played[0].actions[:, 0]).max() > 0
    assert not played[0].actions[:, 1:].any()
    assert not np.array_equal(played[0].states[0], played[1].states[0])


@pytest.mark.slow
def test_an_agent_learns_and_does_so_again(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    settings = replace(SMALL, tasks=["pendulum-swingup"], episodes=102, steps=12, source="sac")
    assert collect(tmp_path / "one", settings)
    assert collect(tmp_path / "other", settings)
    assert len(Trajectories.open(tmp_path / "one").episodes("pendulum-swingup").noise) == 102
    assert content(tmp_path / "one") == content(tmp_path / "other")


# --- opening and checking --------------------------------------------------------------------------------------


def test_a_data_set_that_lacks_what_is_asked_is_refused(tmp_path: Path) -> None:
    folder = invented(tmp_path / "data")
    with pytest.raises(Problem) as refused:
        Trajectories.open(folder, ["reahc"], "paper")
    assert "has no task 'reahc'. Did you mean 'reach'?" in str(refused.value)
    assert "states of layout disjoint (92 numbers), but paper is asked for" in str(refused.value)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def widen(path: Path) -> None:
    np.save(path, np.zeros((12, 7), dtype=np.float32))


def turn(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("name", "harm", "words"),
    [
        ("states.npy", shorten, "is cut short"),
        ("rewards.npy", shorten, "is cut short"),
        ("states.npy", Path.unlink, "is missing"),
        ("actions.npy", widen, r"float32 \[12, 7\], but the index says float32 \[12, 6\]"),
        ("episodes.npz", shorten, "missing or damaged"),
        ("states.npy", turn, "its content is not what index.json says"),
    ],
)
def test_damaged_files_are_found(tmp_path: Path, name: str, harm: Callable[[Path], None], words: str) -> None:
    folder = invented(tmp_path / "data")
    harm(folder / "reach" / name)
    with pytest.raises(Problem, match=words) as refused:
        Trajectories.open(folder).check()
    assert str(folder / "reach" / name) in str(refused.value)


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    one, same = (Trajectories.open(invented(tmp_path / name)) for name in ("a", "b"))
    other = Trajectories.open(invented(tmp_path / "c", success=True, layout="shared"))
    assert one.digest == same.digest != other.digest


# --- other formats ---------------------------------------------------------------------------------------------


def test_minari_brings_back_what_it_was_given(tmp_path: Path) -> None:
    pytest.importorskip("minari")
    pytest.importorskip("h5py")
    data = Trajectories.open(invented(tmp_path / "data"))
    assert export_minari(data, tmp_path / "out") == ["l2m/reach-v0"]
    assert "MINARI_DATASETS_PATH" not in os.environ
    back = import_minari(tmp_path / "out", tmp_path / "back", ["reach"], "disjoint")
    assert back.digest == data.digest
    with pytest.raises(Problem, match="there already"):
        export_minari(data, tmp_path / "out")
    with pytest.raises(Problem, match=r"l2m/door-close-v0 in"):
        import_minari(tmp_path / "out", tmp_path / "more", ["door-close"], "disjoint")
    with pytest.raises(Problem, match="layout paper needs 204"):
        import_minari(tmp_path / "out", tmp_path / "other", ["reach"], "paper")


def test_without_minari_a_plain_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(Problem, match="pip install 'minari"):
        export_minari(Trajectories.open(invented(tmp_path / "data")), tmp_path / "out")


def arrays(width: int, dims: int, **over: Any) -> dict[str, Any]:
    """Seven steps as released: two whole episodes of three, and a step of a third."""
    draws = np.random.default_rng(1)
    found = {
        "observations": draws.normal(size=(7, 1, width)),
        "next_observations": draws.normal(size=(7, 1, width)),
        "actions": draws.uniform(-1, 1, (7, 1, dims)),
        "rewards": draws.normal(size=(7, 1)),
        "dones": np.array([0, 0, 1, 0, 0, 1, 0])[:, None],
    }
    return found | over


def test_released_arrays_are_read(tmp_path: Path) -> None:
    ours, walker = arrays(39, 4), arrays(204, 6)
    np.savez(tmp_path / "hammer.npz", **ours)
    np.savez(tmp_path / "walker.npz", **walker)
    files = {"hammer-v2": tmp_path / "hammer.npz", "walker-run": tmp_path / "walker.npz"}
    data = released.import_released(files, tmp_path / "data", "disjoint")
    assert data.tasks == ["hammer", "walker-run"]
    assert data.episodes("hammer").lengths.tolist() == [3, 3, 1]
    assert np.isnan(data.episodes("hammer").noise).all()
    assert np.array_equal(data.states("hammer")[:, 53:], np.float32(ours["observations"][:, 0]))
    assert not data.states("hammer")[:, :53].any()
    assert np.array_equal(data.actions("hammer")[:, :4], np.float32(ours["actions"][:, 0]))
    paper, shape = LAYOUTS["paper"], LAYOUTS["disjoint"]
    for key in ("orientations", "height"):
        assert np.array_equal(
            shape.part(data.states("walker-run"), key), np.float32(paper.part(walker["observations"][:, 0], key))
        )


def test_released_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    def refused(task: str, path: Path) -> str:
        with pytest.raises(Problem) as said:
            released.import_released({task: path}, tmp_path / "data", "disjoint")
        assert not (tmp_path / "data" / "index.json").exists()
        return str(said.value)

    assert "runs whatever code it holds" in refused("hammer", tmp_path / "hammer.pkl")
    buffer = io.BytesIO()
    np.savez(buffer, **arrays(39, 4))
    (tmp_path / "cut.npz").write_bytes(buffer.getvalue()[:2000])
    assert "is cut short" in refused("hammer", tmp_path / "cut.npz")
    np.savez(tmp_path / "narrow.npz", **arrays(38, 4))
    assert "38 numbers" in refused("hammer", tmp_path / "narrow.npz")
    np.savez(tmp_path / "wide.npz", **arrays(39, 5))
    assert "actions of hammer have 5 numbers" in refused("hammer", tmp_path / "wide.npz")
    np.savez(tmp_path / "other.npz", states=np.zeros(3))
    assert "no arrays observations" in refused("hammer", tmp_path / "other.npz")
    assert "Did you mean 'hammer'" in refused("hamer", tmp_path / "wide.npz")


# --- statistics ------------------------------------------------------------------------------------------------


def test_the_statistics_are_those_of_the_episodes(tmp_path: Path) -> None:
    episodes = pd.DataFrame(statistics.rows(Trajectories.open(invented(tmp_path / "data"))))
    assert episodes["steps"].tolist() == [5, 3, 4]
    assert episodes["noise"].tolist() == [0.0, 0.1, 0.2]
    (line,) = statistics.summary(episodes).to_dict("records")
    assert (line["task"], line["steps"], line["success ever (%)"], line["success at last step (%)"]) == (
        "reach",
        "12",
        "100",
        "0",
    )
    walker = episodes.assign(task="walker-run", **{"return": [100.0, 200.0, 300.0]})
    both = statistics.summary(pd.concat([episodes, walker]))
    assert both.iloc[1][["success ever (%)", "return, mean", "return, mean, paper's data"]].tolist() == [
        "–",
        "200",
        "345",
    ]


def test_the_picture_has_a_panel_a_suite_and_a_mark_an_episode(tmp_path: Path) -> None:
    episodes = pd.DataFrame(statistics.rows(Trajectories.open(invented(tmp_path / "data"))))
    figure = statistics.picture(pd.concat([episodes.assign(ever=[1.0, 0.0, 1.0]), episodes.assign(task="walker-run")]))
    suites = {axis.get_title(loc="left"): sum(len(line.get_xdata()) for line in axis.lines) for axis in figure.axes}  # type: ignore[arg-type]
    assert suites == {"Meta-World": 3, "DMControl": 3}
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["reach"]


def test_experts_know_their_suite() -> None:
    draws = np.random.default_rng(0)
    world = make("door-close")
    assert isinstance(experts.expert(world, draws), experts.Scripted)
    with pytest.raises(Problem, match="MPC plans there alone"):
        mpc.Planner(world, draws)
    assert episode_seed(0, "collect", "reach", 0) != episode_seed(1, "collect", "reach", 0)
