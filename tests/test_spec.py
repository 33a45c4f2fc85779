"""What a run is: the digest follows everything that can move a number, and nothing else."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from common import specfiles
from common.errors import Problem
from common.limits import LIMITS
from common.places import ROOT
from common.resolve import resolve
from common.spec import RunSpec
from tests.helpers import LEARNERS, SMALL

CHANGES: dict[str, Any] = {
    "seed": 1, "precision": "bf16-mixed", "learner.alpha": 0.4, "learner.memory": 22, "model.hidden": [13],
    "model.name": "small_cnn", "optimiser.lr": 0.06, "optimiser.momentum": 0.8, "optimiser.fresh": False,
    "optimiser.weight_decay": 0.1, "budget.batch": 9, "budget.iterations": 13, "evaluation.every": 2,
    "evaluation.samples": 21, "evaluation.gradients": True, "stream.tasks": 2, "stream.classes_per_task": 3,
    "stream.first_class": 1, "stream.train_per_task": 50, "stream.test_per_task": 50, "stream.evaluate_on": "validation",
}  # fmt: skip
# limits of settings that the usual parts do not have -> parts that have them
OTHER_PARTS: dict[str, dict[str, Any]] = {
    **{key: {"model": {"name": "vgg"}} for key in ("model.convs", "model.fc")},
    "model.depth": {"model": {"name": "mlp_he"}},
    **{f"optimiser.{key}": {"optimiser": {"name": "sgd_scheduled", "lr": 0.1}}
       for key in ("milestones", "gamma", "warm_up", "start", "end")},
    **{f"stream.{key}": {"stream": {"name": "subset"}} for key in ("per_class", "test_per_class", "count", "draw", "sizes")},
    **{f"stream.{key}": {"stream": {"name": "recurring", "tasks": 3, "classes_per_task": 2}}
       for key in ("classes", "exponent", "prob_reduction", "combinations", "severity")},
    "learner.clip": {"learner": {"name": "masked"}},
    **{f"learner.{key}": {"learner": {"name": "papers.scole.learner.ReplayClasses"}} for key in ("low", "high", "budget")},
}  # fmt: skip
ER = {"learner": {"name": "er", **LEARNERS["er"]}}


def raw(over: dict[str, Any] | None = None) -> dict[str, Any]:
    return specfiles.merge(specfiles.merge(SMALL, ER), specfiles.nested(over or {}))


def test_every_setting_is_in_the_identity() -> None:
    ids = {key: resolve(raw({key: value}), "d").run_id for key, value in CHANGES.items()}
    ids["nothing"] = resolve(raw(), "d").run_id
    ids["data"] = resolve(raw(), "other").run_id
    ids["parent"] = resolve(raw() | {"parent": {"run": "x", "take": "all"}}, "d").run_id
    ids["other parent"] = resolve(raw() | {"parent": {"run": "y", "take": "all"}}, "d").run_id
    ids["trunk"] = resolve(raw() | {"parent": {"run": "x", "take": "trunk"}}, "d").run_id
    assert len(set(ids.values())) == len(ids)


def test_a_version_of_a_part_is_in_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    from common import parts

    before = resolve(raw(), "d").run_id
    for kind, name in (("learner", "er"), ("stream", "split"), ("model", "mlp"), ("optimiser", "sgd")):
        with monkeypatch.context() as patch:
            path, number = parts.REGISTRY[kind][name]  # type: ignore[index]
            patch.setitem(parts.REGISTRY[kind], name, (path, number + 1))  # type: ignore[index]
            parts.find.cache_clear()
            assert resolve(raw(), "d").run_id != before
    parts.find.cache_clear()
    assert resolve(raw(), "d").run_id == before


@pytest.mark.parametrize(
    "same",
    [
        {"optimiser.lr": 0.05, "stream.first_class": 0},  # a default written out
        {"learner.alpha": 0.3, "evaluation.every": 1, "seed": 0, "precision": "32"},
        {"precision": 32},  # as YAML reads it
        {"optimiser.weight_decay": 0},  # a whole number for a float
    ],
)
def test_the_same_request_written_otherwise_is_the_same_run(same: dict[str, Any]) -> None:
    assert resolve(raw(same), "d").run_id == resolve(raw(), "d").run_id
    turned = dict(reversed(list(raw(same).items())))
    assert resolve(turned, "d").run_id == resolve(raw(), "d").run_id


def test_frozen_run_id() -> None:
    """A change here gives every stored run another name: do it on purpose, and raise what changed its meaning."""
    assert resolve(raw(), "d").run_id == "er-digits-s0-f6641080bef4"


def test_the_id_is_the_same_in_another_process() -> None:
    code = (
        "import json, sys; from common.resolve import resolve; print(resolve(json.loads(sys.argv[1]), 'd').run_id, "
        "'torch' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(raw())],
        cwd=ROOT, env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [resolve(raw(), "d").run_id, "False", "False"]


def test_places_and_devices_are_nowhere_in_the_identity(
    small: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    one = small("er").run_id
    for name in ("REPLICATE_DATA", "REPLICATE_RUNS", "REPLICATE_RESULTS"):
        monkeypatch.setenv(name, str(tmp_path / "other"))
    assert small("er").run_id == one


def test_a_readable_name_and_flat_columns() -> None:
    spec = resolve(raw(), "d")
    assert spec.run_id.startswith("er-digits-s0-")
    flat = spec.flat()
    assert flat["learner.name"] == "er"
    assert flat["optimiser.lr"] == 0.05
    assert flat["budget.epochs"] is None
    assert json.loads(json.dumps(spec.science)) == spec.science
    assert {k.split(".")[0] for k in flat} == {
        "data", "precision", "seed", "stream", "model", "learner", "optimiser", "budget", "evaluation",
    }  # fmt: skip


@pytest.mark.parametrize("key", LIMITS)
def test_limits_are_inclusive_and_nothing_beyond_them_passes(key: str) -> None:
    low, high = LIMITS[key]
    owner = {"learner.strength": "ewc", "learner.fisher_batch": "ewc", "learner.damping": "si", "learner.gamma": "gem",
             "learner.temperature": "lwf"}.get(key)  # fmt: skip
    base: dict[str, Any] = {}
    if owner:
        base = {"learner": {"name": owner, **LEARNERS[owner]}}
    elif key == "model.width":
        base = {"model": {"name": "small_cnn"}}
    elif key in OTHER_PARTS:
        base = OTHER_PARTS[key]
    elif key.startswith("augmentation."):
        base = {"augmentation": {"name": "crop_flip"}}
    elif key == "stream.degrees":
        base = {"stream": {"name": "rotated", "degrees": 1.0, "tasks": 3}}
    elif key == "budget.epochs":
        base = {"budget.iterations": None}
    whole = isinstance(low, int) and isinstance(high, int)
    for value, fits in ((low, True), (high, True), (low - 1, False), (high * 2 + 1, False)):
        given = int(value) if whole else float(value)
        given_ = (
            [given]
            if key in ("model.hidden", "optimiser.milestones", "evaluation.snapshots", "stream.sizes")
            else given
        )
        settings = specfiles.merge(raw(base), specfiles.nested({key: given_}))
        if key == "stream.tasks" and fits:
            settings["learner"] = {"name": "finetune"}
        try:
            resolve(settings, "d")
            refused = ""
        except Problem as problem:
            refused = str(problem)
        assert (f"{key} is" in refused) == (not fits or (key == "learner.memory" and value == low)), (value, refused)


def test_all_problems_in_one() -> None:
    wrong = raw({"learner.aplha": 1, "optimiser.lr": "x", "budget.batch": None, "sede": 3, "precision": "64"})
    with pytest.raises(Problem) as caught:
        resolve(wrong, "d")
    assert len(caught.value.messages) == 5


def test_impossible_pairs_come_together_with_ranges() -> None:
    both = raw({"stream.scenario": "task", "learner.memory": 2, "budget.epochs": 3, "learner.alpha": 7})
    with pytest.raises(Problem) as caught:
        resolve(both, "d")
    assert len(caught.value.messages) == 4


def test_more_convolutions_than_the_vgg_has_are_refused_early() -> None:
    with pytest.raises(Problem, match=r"model\.convs is 9, but a VGG-11 has 8 convolutions"):
        resolve(raw({"model.name": "vgg", "model.depth": 11, "model.convs": 9}), "d")
    assert resolve(raw({"model.name": "vgg", "model.depth": 11, "model.convs": 8}), "d")
