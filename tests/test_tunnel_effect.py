"""The tunnel effect's analyses on small runs, and its measures against facts made by hand."""

import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest

from common import analyse, loop, targets, verbs
from common.analyses import layerwise
from common.analysis import spectrum
from common.errors import Problem
from common.places import ROOT
from common.resolve import resolve
from common.spec import RunSpec
from common.specfiles import merge
from common.streams import data
from papers.tunnel_effect import analyses, measures
from tests.helpers import SMALL

LAYERS = ("trunk.fc1", "trunk.fc2", "trunk.fc3")
TWO = {
    "stream": {"name": "subset", "count": 4, "sizes": [2, 2], "scenario": "task"},
    "model": {"name": "mlp_he", "depth": 4, "width": 16, "heads": "multi"},
    "budget": {"iterations": 25, "batch": 16},
    "evaluation": {"every": 0, "samples": None, "snapshots": [0, 10]},
}


def trained(over: dict[str, Any]) -> analyse.Trained:
    run: RunSpec = resolve(merge(SMALL, over), data.digest("digits"))
    loop.run(run)
    return analyse.trained(run.run_id, "cpu")


def table(facts: Any) -> pd.DataFrame:
    return pd.DataFrame(list(facts))


def test_exchanging_nothing_changes_nothing_and_the_last_cut_is_the_extractors(places: Path) -> None:
    found = trained(TWO)
    facts = table(analyses.swap(found))
    assert sorted(facts["split"].unique()) == [1, 2, 3]

    def value(split: int, quantity: str, task: int = 1) -> float:
        rows = facts[(facts["split"] == split) & (facts["quantity"] == quantity) & (facts["task"] == task)]
        (one,) = rows["value"]
        return float(one)

    trace = found.folder.trace()
    bits = np.unpackbits(trace["bits"], axis=1)[:, : trace["offsets"][-1]]
    first, second = (slice(trace["offsets"][t], trace["offsets"][t + 1]) for t in (0, 1))
    at_end_of_one = int(np.flatnonzero(trace["step"] == 25)[0])
    for split in (1, 2, 3):
        assert value(split, "E1+T1") == pytest.approx(bits[at_end_of_one, first].mean())
        assert value(split, "E2+T2") == pytest.approx(bits[-1, first].mean())
        assert value(split, "E2+T2", 2) == pytest.approx(bits[-1, second].mean())
    assert value(3, "E1+T2") == value(3, "E1+T1")  # after the last layer there is no tunnel
    assert value(3, "E2+T1") == value(3, "E2+T2")
    assert value(3, "E2+T1, new head") == value(3, "probe of E2")
    assert any(value(k, "E1+T2") != value(k, "E1+T1") for k in (1, 2))
    columns = measures.per_analysis("swap", facts)
    assert columns["acc1"] == pytest.approx(value(1, "E1+T1"))
    assert columns["forgetting"] == pytest.approx(value(1, "E1+T1") - value(1, "E2+T2"))
    assert columns["swap_penalty@3"] == 0


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("stream.count", 1, "A rank needs 100 held-out pictures or more, but the trained classes have 55"),
        ("analysis.test_per_class", 10, "A rank needs 100 held-out pictures or more, but the trained classes have 50"),
        ("analysis.test_per_class", 1000, "analysis.test_per_class is 1000, but class 0 has 55 images"),
    ],
)
def test_too_few_held_out_pictures_are_refused_before_anything_trains(key: str, value: int, words: str) -> None:
    with pytest.raises(Problem, match=f"^tunnel_effect/vgg_layers: {words}"):
        verbs.plan("tunnel_effect/vgg_layers", overrides={key: value})
    assert targets.FEWEST == spectrum.FEWEST


def test_a_tunnel_of_no_layers_can_be_reset(places: Path) -> None:
    found = trained(
        {**TWO, "stream": {"name": "subset", "count": 4}, "model": {"name": "mlp_he", "depth": 4, "width": 16}}
    )
    facts = table(analyses.reset(found))
    plain = facts[facts["quantity"] == "tunnel reset"].set_index("split")["value"]
    trace = found.folder.trace()
    bits = np.unpackbits(trace["bits"], axis=1)
    assert plain[3] == pytest.approx(bits[-1, : trace["offsets"][1]].mean())
    assert plain[1] < plain[3]
    weights = found.weights()
    assert all(np.array_equal(t, weights[name]) for name, t in found.net.state_dict().items())  # left as it was found


def test_development_sees_every_kept_checkpoint(places: Path) -> None:
    found = trained({**TWO, "evaluation": {**TWO["evaluation"], "snapshots": [0, 10, 75]}})
    facts = table(analyses.development(found, samples=150))
    ranks = facts[facts["quantity"] == "rank"]
    assert sorted(ranks["step"].unique()) == [0, 10, 25, 50]
    assert set(ranks["layer"]) == set(LAYERS)
    moved = facts[facts["quantity"] == "weight change"]
    assert sorted(moved["step"].unique()) == [10, 25, 50]
    assert (moved["value"] > 0).all()
    columns = measures.per_analysis("development", facts)
    assert columns["rank_p_early"] == ranks[(ranks["index"] == 3) & (ranks["step"] <= 20)]["value"].max()
    assert "rank_p_75" not in columns


def test_a_network_without_named_layers_is_refused(places: Path) -> None:
    found = trained({"evaluation": {"every": 0, "samples": None}})
    with pytest.raises(Problem, match="has the model mlp, which cannot be cut in two"):
        list(analyses.swap(found))


def layer_facts(curves: dict[str, list[float]], whole: dict[str, float]) -> pd.DataFrame:
    rows = [
        {"layer": f"l{k}", "index": k, "quantity": quantity, "value": value}
        for quantity, values in curves.items()
        for k, value in enumerate(values, start=1)
    ]
    rows += [{"layer": "network", "index": 0, "quantity": q, "value": v} for q, v in whole.items()]
    return pd.DataFrame(rows)


def test_measures_of_a_tunnel_made_by_hand() -> None:
    facts = layer_facts(
        {
            "ID accuracy": [0.5, 0.7, 0.80, 0.80, 0.81, 0.80],
            "OOD accuracy": [0.6, 0.7, 0.75, 0.70, 0.65, 0.60],
            "rank": [90, 100, 80, 40, 20, 10],
            "within/between": [9, 8, 4, 3, 2, 1],
            **{f"cka to l{k}": [0.1, 0.3, 0.5, 0.8, 0.9, 1.0] for k in range(1, 7)},
        },
        {"accuracy": 0.8, "s95": 3, "s98": 3},
    )
    found = measures.per_analysis("layerwise", facts)
    expected = {
        "s95": 3, "tunnel_share": 0.5, "flat_third": 0.01, "kept_after_s95": 1.0, "rank_p": 10, "rank_fall": 8, "ood_drop": 0.15,
        "ood_retained": 0.8, "ood_peak": 3, "ood_peak_from_s95": 0, "rank_ood_spearman": 1, "ratio_spearman": -1,
        "cka_tunnel": 0.85, "cka_extractor": 0.3, "cka_contrast": 0.55,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == pytest.approx(expected)


def test_measures_without_a_tunnel_say_nothing_of_it() -> None:
    curves = {"ID accuracy": [0.5, 0.6], "OOD accuracy": [0.5, 0.4], "rank": [9, 8], "within/between": [2, 1]}
    found = measures.per_analysis("layerwise", layer_facts(curves | {"cka to l2": [0.5, 1]}, {"accuracy": 0.9}))
    assert np.isnan(found["s95"])
    assert "cka_tunnel" not in found
    assert found["ood_drop"] == pytest.approx(0.1)
    assert measures.per_analysis("another", pd.DataFrame()) == {}


def test_the_spike_is_looked_for_at_the_end_of_the_penultimate_stage() -> None:
    curves = {
        "ID accuracy": [0.5] * 9,
        "OOD accuracy": [0.5] * 9,
        "rank": [9, 9, 9, 9, 9, 4, 8, 5, 2],
        "within/between": [1] * 9,
    }
    facts = layer_facts({**curves, "cka to l9": [1] * 9}, {"accuracy": 0.5, "s95": 1, "s98": 1})
    assert "spike" not in measures.per_analysis("layerwise", facts)
    names = {f"l{k}": "trunk.conv1" if k == 1 else f"trunk.block{k - 1}" for k in range(1, 10)}
    blocks = facts.assign(
        layer=facts["layer"].replace(names), quantity=facts["quantity"].str.replace("l9", "trunk.block8")
    )
    assert measures.per_analysis("layerwise", blocks)["spike"] == 8 / 5  # block 6, after the stem, over block 7


def test_two_tasks_are_measured_when_each_was_just_learned() -> None:
    accuracy = np.array([[0.2, np.nan], [0.9, np.nan], [0.7, 0.4], [0.6, 0.8]])
    found = measures.per_run({"step": np.array([0, 10, 15, 20]), "ends": np.array([10, 20])}, accuracy)
    assert found == pytest.approx({"learned_1": 0.9, "learned_2": 0.8, "learned": 0.85, "left_1": 0.6})
    assert measures.per_run({"step": np.array([0, 10]), "ends": np.array([10])}, accuracy[:2, :1]) == {}


def test_shortened_networks_are_compared_at_the_extractors_length() -> None:
    nets = pd.DataFrame(
        {"spec": "shortened", "model.depth": 19, "model.convs": [3, 6, 10, np.nan], "learned": [0.5, 0.78, 0.81, 0.8],
         "forg": [0.1, 0.15, 0.2, 0.25], "seed": 0}
    )  # fmt: skip
    rows = pd.concat([nets, pd.DataFrame({"spec": ["swap"], "swap_s95": [5.0], "seed": 0})])
    ways = measures.MEASURES
    assert ways["shortened_accuracy"](rows) == pytest.approx(-0.02)
    assert ways["shortened_forgetting"](rows) == pytest.approx(0.1)
    assert ways["too_short_loss"](rows) == pytest.approx(0.3)
    with pytest.raises(Problem, match="no network is shorter than the extractor, which ends at layer 2"):
        ways["too_short_loss"](rows.assign(swap_s95=rows["swap_s95"] - 3))
    with pytest.raises(Problem, match="missing"):
        ways["shortened_accuracy"](nets)


def test_training_variables_are_compared_with_the_plain_case() -> None:
    rows = pd.DataFrame(
        {"case": ["plain", "crops", "50-classes"], "ood_retained": [0.6, 0.7, 0.9], "stream.count": [10, 10, 50]}
    )
    ways = measures.MEASURES
    assert ways["crops_gain"](rows) == pytest.approx(0.1)
    assert ways["classes_gain"](rows) == pytest.approx(0.3)
    assert ways["classes_gain"](rows.assign(**{"stream.count": [np.nan, np.nan, 50]})) == pytest.approx(
        -0.3
    )  # null: all
    for name in ("crops_gain", "classes_gain", "pixels_gain"):
        with pytest.raises(Problem, match="missing"):
            ways[name](rows[:1])


def test_width_is_judged_on_vgg_19_alone() -> None:
    rows = pd.DataFrame(
        {"model.name": ["vgg"] * 4 + ["resnet"], "model.depth": [19, 19, 19, 16, 34], "model.width": [4, 8, 16, 8, 8],
         "s95": [6.0, 5.0, 5.0, 9.0, 9.0], "stream.count": [2, 3, 5, 2, 2]}
    )  # fmt: skip
    assert measures.MEASURES["width_rise"](rows) == 0
    assert measures.MEASURES["start_rises"](rows[:3]) == -1
    with pytest.raises(Problem, match=r"fewer than two values of model\.width"):
        measures.MEASURES["width_rise"](rows[3:])


def test_measures_over_several_runs() -> None:
    rows = pd.DataFrame({"case": ["a", "b"], "s95": [2.0, 5.0], "stream.count": [2, 5], "ood_retained": [0.6, 0.9]})
    assert measures.MEASURES["start_range"](rows) == 3
    assert measures.MEASURES["retained_rises"](rows) == pytest.approx(0.3)
    with pytest.raises(Problem):
        measures.MEASURES["start_range"](rows[:1])
    with pytest.raises(Problem):
        measures.MEASURES["retained_rises"](rows[:1])
    both = pd.DataFrame({"model.name": ["vgg", "resnet"], "rank_p": [10.0, 25.0]})
    assert measures.MEASURES["rank_against_vgg"](both) == 2.5
    with pytest.raises(Problem):
        measures.MEASURES["rank_against_vgg"](both[:1])


@pytest.mark.parametrize(
    ("name", "setting", "column"),
    [
        ("start_range", "case", "s95"), ("start_rises", "stream.count", "s95"), ("width_rise", "model.width", "s95"),
        ("retained_rises", "stream.count", "ood_retained"), ("rank_against_vgg", "model.name", "rank_p"),
    ],
)  # fmt: skip
def test_a_network_that_could_not_be_measured_leaves_its_seed_without_a_value(
    name: str, setting: str, column: str
) -> None:
    places = ["vgg", "resnet", "vgg"] if setting == "model.name" else [1, 2, 3]
    rows = pd.DataFrame({"model.name": "vgg", "model.depth": 19, setting: places, column: [3, 4, np.nan]})
    assert np.isnan(measures.MEASURES[name](rows))
    assert np.isfinite(measures.MEASURES[name](rows[:2]))


def test_a_tunnel_that_never_starts_leaves_its_seed_without_a_value() -> None:
    nets = pd.DataFrame({"spec": "shortened", "model.depth": 19, "model.convs": [3, 6], "learned": 0.5, "forg": 0.1})
    rows = pd.concat([nets, pd.DataFrame({"spec": ["swap"], "swap_s95": [np.nan]})])
    for name in ("shortened_accuracy", "shortened_forgetting", "too_short_loss"):
        assert np.isnan(measures.MEASURES[name](rows))
    curves = {"E1+T1": 0.9, "E1+T2": 0.5, "E2+T2": 0.8, "probe of E1": 0.2, "probe of E2": 0.2, "E2+T1, new head": 0.3}
    points = [
        {"quantity": quantity, "task": task, "split": split, "value": value}
        for quantity, value in curves.items() for task in (1, 2) for split in (1, 2)
    ]  # fmt: skip
    found = measures.per_analysis("swap", pd.DataFrame(points))
    assert np.isnan([found["swap_s95"], found["swap_penalty@s95"], found["refit_gain@s98"]]).all()
    assert found["acc1"] == pytest.approx(0.9)


def test_weights_of_before_the_first_update_can_be_looked_into(places: Path) -> None:
    found = trained(
        {**TWO, "stream": {"name": "subset", "count": 4}, "model": {"name": "mlp_he", "depth": 4, "width": 16}}
    )
    each = {"train_per_class": 20, "ood_classes": [5, 6]}
    last, first = (table(layerwise(found, after=after, **each)) for after in (None, 0))  # type: ignore[arg-type]
    accuracy = [float(t[(t["quantity"] == "accuracy") & (t["index"] == 0)]["value"].iloc[0]) for t in (last, first)]
    trace = found.folder.trace()
    bits = np.unpackbits(trace["bits"], axis=1)[:, : trace["offsets"][1]]
    assert accuracy == pytest.approx([bits[-1].mean(), bits[0].mean()])


def test_the_five_lines_for_a_network_of_ones_own_work(capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from torch.nn.functional import interpolate

    page = (ROOT / "papers" / "tunnel_effect" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    book = nbformat.read(ROOT / "notebooks" / "tunnel_effect.ipynb", as_version=4)
    assert any(code in cell.source for cell in book.cells)
    images = data.load("digits")
    x = interpolate(torch.tensor(np.array(images.train.images)).float(), 32).repeat(1, 3, 1, 1) / 255
    y = torch.tensor(np.array(images.train.labels)).long()
    exec(code, {"x": x[:600], "y": y[:600], "x_test": x[600:900], "y_test": y[600:900]})
    assert "layer1.0" in capsys.readouterr().out
