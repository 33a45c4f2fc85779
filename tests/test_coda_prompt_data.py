"""CODA-Prompt's streams, image folders, weights' files and measures, on small things made by hand."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from common import loop, parts, sweep, verbs, weights
from common.errors import Problem
from common.streams import data
from common.streams.sources import SOURCES
from papers.coda_prompt import checks, figures, measures
from papers.coda_prompt.crops import resized_crop_flip
from papers.coda_prompt.pictures import CHANGES, STYLES, Rendered
from papers.coda_prompt.streams import incremental

HERE = "papers.coda_prompt."
TAG = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPLICATE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


# --- streams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "first"),
    [(1, [53, 37, 65, 51, 4]), (2, [0, 76, 61, 63, 1]), (3, [35, 41, 45, 4, 76]), (4, [73, 86, 82, 23, 1])],
)
def test_class_orders_are_those_of_the_released_trials(seed: int, first: list[int]) -> None:
    order = list(range(100))
    random.Random(seed).shuffle(order)
    assert order[:5] == first


def test_streams_are_disjoint_and_follow_the_order() -> None:
    digits = data.load("digits")
    natural = incremental(digits, 0, tasks=5)
    assert [t.classes for t in natural.tasks] == [(2 * k, 2 * k + 1) for k in range(5)]
    assert natural.relabel.tolist() == list(range(10))
    shuffled = incremental(digits, 3, tasks=5)
    order = list(range(10))
    random.Random(3).shuffle(order)
    assert shuffled.relabel[order].tolist() == list(range(10))
    rows = np.concatenate([t.train for t in shuffled.tasks])
    assert len(np.unique(rows)) == len(rows) == 1200
    for task in shuffled.tasks:
        assert set(shuffled.images.train.labels[task.train]) == {order[c] for c in task.classes}
    assert incremental(digits, 3, tasks=5, order="natural").relabel.tolist() == list(range(10))
    (whole,) = incremental(digits, 3, tasks=5, joint=True).tasks
    assert len(whole.train) == 1200
    odd = incremental(digits, 0, tasks=5, of="odd")
    assert odd.images.classes == ("1", "3", "5", "7", "9")
    even = incremental(digits, 0, tasks=1, of="even", joint=True)
    assert not set(odd.images.classes) & set(even.images.classes)
    with pytest.raises(Problem, match="does not divide the 10 classes"):
        incremental(digits, 0, tasks=3)
    with pytest.raises(Problem, match="Did you mean 'tilted'"):
        incremental(digits, 0, tasks=5, renditions=["tiltd"])


def test_a_number_of_tasks_that_does_not_fit_is_told_how_the_classes_are_counted() -> None:
    digits = data.load("digits")
    with pytest.raises(Problem, match=r"the 20 classes of this stream \(10 classes x 2 renditions = 20\)\. Give"):
        incremental(digits, 0, tasks=3, renditions=["plain", "tilted"])
    with pytest.raises(Problem, match=r"the 10 classes of this stream\. Give"):
        incremental(digits, 0, tasks=3)
    with pytest.raises(Problem, match=r"stream\.renditions is \[\], but must name one or more of: plain, "):
        verbs.plan("coda_prompt/methods", overrides={"stream.renditions": []}, seeds=[0], case="FT")


def test_renditions_make_classes_and_mirrored_copies_do_not() -> None:
    digits = data.load("digits")
    stream = incremental(digits, 0, tasks=5, renditions=["plain", "tilted_inverted"], per_class=7)
    assert stream.classes == 20
    images = stream.images.train
    assert len(images.labels) == 2 * 70
    row = int(np.flatnonzero(images.labels == 13)[0])
    plain = images.images[np.array([row - 70])]
    assert images.labels[row - 70] == 3
    assert (images.images[np.array([row])] == 16 - np.rot90(plain, 1, (2, 3))).all()
    twice = incremental(digits, 0, tasks=5, mirrored=True, evaluate_on="validation")
    count = len(digits.train.labels)
    for task in twice.tasks:
        held = set(task.test.tolist()) | {row + count for row in task.test.tolist()}
        assert not held & set(task.train.tolist())
        assert (task.train >= count).sum() == (task.train < count).sum()
    copy = twice.images.train.images[np.array([5, 5 + count])]
    assert (copy[1] == copy[0][..., ::-1]).all()


def test_each_style_changes_pictures_and_keeps_their_form() -> None:
    x = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    assert len(STYLES) == 15
    for place, name in enumerate(CHANGES):
        made = Rendered(x, np.arange(4), np.full(4, place), tuple(CHANGES), 255)[np.arange(4)]
        assert made.dtype == np.uint8
        assert made.shape == x.shape
        assert (made == x).all() == (name == "plain"), name


def test_the_dual_shift_takes_eight_kinds_from_each_task_in_training_alone() -> None:
    stream = incremental(data.load("digits"), 1, tasks=5, styles=True, dual_shift=True)
    left = []
    for task in stream.tasks:
        assert stream.images.train.domain is not None
        kinds = set(stream.images.train.domain[task.train].tolist())
        assert len(kinds) <= 7
        left.append(kinds)
        assert stream.images.test.domain is not None
        assert len(set(stream.images.test.domain[task.test].tolist())) > 7
    assert len({frozenset(kinds) for kinds in left}) > 1
    with pytest.raises(Problem, match="more than 8 kinds"):
        incremental(data.load("digits"), 1, tasks=5, dual_shift=True)


def test_pixels_stay_between_0_and_1_where_weights_want_them_so() -> None:
    from common.streams.resident import Resident

    stream = incremental(data.load("digits"), 0, tasks=5, unit_range=True)
    batch = Resident(stream).batch(np.arange(20))
    assert float(batch.x.min()) == 0
    assert float(batch.x.max()) == pytest.approx(16 / 255)


def test_crops_are_of_the_size_and_lie_within_the_picture() -> None:
    x = torch.arange(64.0).reshape(1, 1, 8, 8).expand(50, -1, -1, -1)
    change = resized_crop_flip(size=6)
    made = change(x.to(torch.uint8), np.random.default_rng(0))
    assert made.shape == (50, 1, 6, 6)
    assert 0 <= float(made.min()) < float(made.max()) <= 63
    assert torch.equal(made, change(x.to(torch.uint8), np.random.default_rng(0)))
    right = (made[:, 0, 0, -1] > made[:, 0, 0, 0]).float().mean()
    assert 0.25 < right < 0.75  # about half are mirrored
    whole = resized_crop_flip(size=8, least_area=1.0, flip=0.0)(x.to(torch.uint8), np.random.default_rng(1))
    assert float((whole[:, 0, 4, 4] - x[:, 0, 4, 4]).abs().mean()) < 4  # all of it, but for its shape


# --- image folders with released lists --------------------------------------------------------------------------------


def write_lists(folder: Path, name: str, paths: dict[str, list[tuple[str, int]]], prefix: str) -> None:
    (folder / "splits").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, rows in paths.items():
        content = {"data": [f"{prefix}/{path}" for path, _ in rows], "targets": [label for _, label in rows]}
        (folder / "splits" / f"{name}_{split}.yaml").write_text(yaml.safe_dump(content))
        for path, _ in rows:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / path)


def small_imagenet_r(folder: Path, classes: int = 4, kinds: int = 9) -> None:
    rows: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for label in range(classes):
        wnid = f"n{(label * 7) % classes:08d}"  # labels are not in the order of the folders
        for kind in range(kinds):
            rows["train"].append((f"{wnid}/kind{kind}_{kind}.jpg", label))
        rows["test"].append((f"{wnid}/kind0_99.jpg", label))
    write_lists(folder, "imagenet-r", rows, "data/imagenet-r")


def test_imagenet_r_is_read_by_its_lists(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setitem(SOURCES, "imagenet_r", replace(SOURCES["imagenet_r"], shape=(3, 16, 16)))
    small_imagenet_r(data_folder / "imagenet-r")
    images = data.load("imagenet_r")
    assert images.classes[1] == "n00000003"
    assert images.train.images.shape == (36, 3, 16, 16)
    assert images.domains == tuple(f"kind{k}" for k in range(9))
    assert np.bincount(images.train.labels).tolist() == [9] * 4
    stream = incremental(images, 1, tasks=2, dual_shift=True)
    assert {len(t.train) for t in stream.tasks} == {2}
    missing = data_folder / "imagenet-r" / "n00000003"
    for path in missing.iterdir():
        path.unlink()
    missing.rmdir()
    with pytest.raises(Problem, match="lacks the pictures of 1 classes: n00000003"):
        data.find("imagenet_r")
    (data_folder / "imagenet-r" / "splits" / "imagenet-r_test.yaml").unlink()
    with pytest.raises(Problem, match=r"imagenet-r_test\.yaml missing"):
        data.find("imagenet_r")


def test_domainnet_is_read_by_its_lists(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setitem(SOURCES, "domainnet", replace(SOURCES["domainnet"], shape=(3, 16, 16)))
    rows = {
        "train": [
            (f"{d}/{c}/{d}_{i}.jpg", k) for d in ("clipart", "real") for k, c in enumerate("ab") for i in range(3)
        ],
        "test": [(f"{d}/{c}/{d}_9.jpg", k) for d in ("clipart", "real") for k, c in enumerate("ab")],
    }
    write_lists(data_folder / "domainnet", "domainnet", rows, "data/domainnet")
    images = data.load("domainnet")
    assert (images.classes, images.domains) == (("a", "b"), ("clipart", "real"))
    assert len(images.train.labels) == 12


# --- weights' files, and the full tier from end to end ------------------------------------------------------------------


def write_weights(folder: Path, seed: int = 0) -> None:
    import timm

    torch.manual_seed(seed)
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    torch.save(timm.create_model(TAG, pretrained=False).state_dict(), folder / "weights" / f"{TAG}.pth")


def test_weights_are_known_by_tag_and_digest(data_folder: Path) -> None:
    settings = {"tag": TAG, "weights": True, "digest": None}
    with pytest.raises(Problem, match="are not in"):
        weights.filled(settings)
    write_weights(data_folder)
    first = weights.filled(settings)
    assert len(first["digest"]) == 64
    assert weights.filled(settings | {"digest": first["digest"][:12]}) == first
    with pytest.raises(Problem, match="these are other weights"):
        weights.filled(settings | {"digest": "0" * 64})
    with pytest.raises(Problem, match="these are other weights"):
        weights.filled(settings | {"digest": ""})
    write_weights(data_folder, seed=1)
    assert weights.filled(settings)["digest"] != first["digest"]
    assert weights.filled({"width": 3}) == {"width": 3}
    assert weights.filled(settings | {"weights": False})["digest"] is None


def test_the_papers_table_from_end_to_end_on_a_folder_of_the_same_layout(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The full spec as it is, but for the size of the network and of the pictures, and two updates a task."""
    from dataclasses import replace

    monkeypatch.setitem(SOURCES, "imagenet_r", replace(SOURCES["imagenet_r"], shape=(3, 230, 230)))
    small_imagenet_r(data_folder / "imagenet-r", classes=10, kinds=2)
    small = {"model.tag": TAG, "budget.iterations": 1, "budget.epochs": None, "budget.batch": 2}
    with pytest.raises(Problem, match="The weights 'vit_tiny"):
        sweep.expand("coda_prompt/methods", "full", small)
    write_weights(data_folder)
    plan = verbs.plan("coda_prompt/methods", "full", small)
    assert plan["runs"] == 14 * 5
    (request,) = sweep.expand("coda_prompt/methods", "full", small, seeds=[1], case="CODA-P")
    folder = loop.run(request.run)
    assert folder.status()["updates"] == 10
    write_weights(data_folder, seed=1)
    (other,) = sweep.expand("coda_prompt/methods", "full", small, seeds=[1], case="CODA-P")
    assert other.run_id != request.run_id
    for case in ("DualPrompt", "FT"):
        (one,) = sweep.expand("coda_prompt/methods", "full", small | {"stream.tasks": 2}, seeds=[0], case=case)
        assert loop.run(one.run).status()["state"] == "done"


def test_tags_are_read_without_importing_timm_and_agree_with_it() -> None:
    import timm

    known = {name for name in timm.list_models("vit_*", pretrained=True) if name.startswith("vit_base_patch16_224.")}
    assert {tag for tag in checks.tags() if tag.startswith("vit_base_patch16_224.")} == known
    assert "vit_base_patch16_224.augreg_in21k_ft_in1k" in known
    assert all(timm.is_model(tag.partition(".")[0]) for tag in checks.tags())


# --- measures ---------------------------------------------------------------------------------------------------------------


def test_average_and_forgetting_are_those_of_the_tables() -> None:
    """The sheet's case: A_3 = 77.67, F = 10 in the code's form, 15 in the text's."""
    nan = np.nan
    found = measures.of_matrix(np.array([[90, nan, nan], [80, 85, nan], [70, 75, 88.0]]))
    assert found["a_n"] == pytest.approx(77.6667, abs=1e-3)
    assert found["f_n"] == pytest.approx(10)
    assert found["f_max"] == pytest.approx(15)
    assert found["caa"] == pytest.approx((90 + 82.5 + 77.6667) / 3, abs=1e-3)
    assert found["new"] == pytest.approx((90 + 85 + 88) / 3)
    one = measures.of_matrix(np.array([[0.5]]))
    assert one["a_n"] == 0.5
    assert np.isnan(one["f_n"])


def test_fine_tuning_that_forgets_at_once_has_the_law_of_the_code() -> None:
    """F_N = a H_{N-1} / (N - 1) where old accuracy falls to 0 with the next task."""
    n = 10
    R = np.where(np.eye(n, dtype=bool), 0.9, np.where(np.tri(n, dtype=bool), 0.0, np.nan))
    harmonic = sum(1 / k for k in range(1, n))
    assert measures.of_matrix(R)["f_n"] == pytest.approx(0.9 * harmonic / (n - 1))


def test_claims_measure_what_they_say() -> None:
    rows = pd.DataFrame(
        {
            "run_id": list("abcdef"),
            "spec": ["m5"] * 2 + ["m10"] * 2 + ["m20"] * 2,
            "case": ["CODA-P", "ER"] * 3,
            "stream.tasks": [5, 5, 10, 10, 20, 20],
            "a_n": [0.8, 0.7, 0.75, 0.6, 0.7, 0.4],
        }
    )
    assert measures.replay_gain(rows) == pytest.approx(0.1)
    assert measures.replay_gain_grows(rows) == pytest.approx(0.05)
    assert measures.MEASURES["coda_er"](rows[rows["spec"] == "m5"]) == pytest.approx(0.1)
    with pytest.raises(Problem, match="0 runs of DualPrompt"):
        measures.MEASURES["coda_dual"](rows[rows["spec"] == "m5"])
    swept = pd.DataFrame({"run_id": list("abc"), "learner.length": [4, 8, 40], "a_n": [0.5, 0.6, 0.62]})
    assert measures.long_range(swept) == pytest.approx(0.02)
    assert measures.last_less_first("learner.length", swept) == pytest.approx(0.12)


def test_a_case_that_could_not_be_measured_leaves_its_seed_without_a_value() -> None:
    trace = {"step": np.array([0, 5]), "ends": np.array([5])}
    found = measures.per_run(trace, np.array([[0.1], [0.6]]))
    assert found["a_n"] == pytest.approx(0.6)
    assert np.isnan([found["f_n"], found["f_max"]]).all()  # of one task nothing can be forgotten
    runs = {"run_id": list("abcd"), "case": ["CODA-P", "no attention", "no freezing", "no orthogonality"]}
    for k in range(4):
        rows = pd.DataFrame({**runs, "a_n": [np.nan if k == j else 0.5 for j in range(4)]})
        assert np.isnan(measures.orthogonality_most(rows))
    swept = pd.DataFrame({"run_id": list("abc"), "learner.length": [4, 8, 40], "a_n": [0.5, 0.6, np.nan]})
    assert np.isnan(measures.last_less_first("learner.length", swept))
    assert np.isnan(measures.least_key_slope(pd.DataFrame({"key_gradient": [0.1, np.nan]})))


def test_every_part_states_its_version_and_every_number_of_the_paper_has_a_place() -> None:
    for request in sweep.expand("coda_prompt", "smoke", seeds=[0]):
        for kind in parts.KINDS:
            assert not getattr(request.run, kind).version.startswith("file-")
    from papers.coda_prompt.panels import METHODS, reported

    for spec, cases in reported().items():
        if spec != "ablation":
            assert set(cases) <= set(METHODS), spec
    assert set(figures.FIGURES) == {"over_tasks", "differences", "plane", "sweeps", "choices"}
