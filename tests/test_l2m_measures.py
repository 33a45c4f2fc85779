"""L2M's measures by hand, its claims, checks and specs."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common import estimate, specfiles, sweep
from common.claim_lock import check_lock
from common.claims import load_claims
from common.errors import Problem
from common.places import ROOT
from papers.l2m import checks, figures, measures
from papers.l2m.panels import METHODS, SECONDARY, listed
from papers.l2m.sequences import WORLD_MB

CLAIMS = ROOT / "papers" / "l2m" / "claims.yaml"


def trace() -> dict[str, np.ndarray]:
    """Four played tasks of two episodes; the third and fourth are learned; evaluations at 0, 5 (end of one) and 10 (end)."""
    ever = np.array([[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 1, 1, 1, 0, 0], [1, 0, 0, 0, 1, 0, 1, 1]])
    return {
        "offsets": np.array([0, 2, 4, 6, 8]), "ends": np.array([5, 10]), "step": np.array([0, 5, 10]),
        "trained": np.packbits(np.array([[0, 0, 1, 0], [0, 0, 0, 1]], dtype=bool), axis=1),
        "v_score": ever.astype(np.float32), "v_last": 0.5 * ever.astype(np.float32),
        "v_modulated": np.array([np.zeros(8), np.zeros(8), [0, 0, 1, 1, 1, 1, 0, 1]], dtype=np.float32),
    }  # fmt: skip


def test_what_a_run_is_measured_by() -> None:
    found = measures.per_run(trace(), np.zeros((3, 4)))
    assert found["new"] == pytest.approx(0.75)  # a half of one task, all of the other
    assert found["new_before"] == 0
    assert found["old_before"] == 1
    assert found["old"] == pytest.approx(0.25)
    assert found["retention"] == pytest.approx(0.25)
    assert found["learned"] == 1
    assert found["forgot"] == pytest.approx(0.5)  # of the one task that was followed by another
    assert found["acc"] == pytest.approx(0.5)
    assert found["new_last"] == pytest.approx(0.375)
    assert found["retention_last"] == pytest.approx(0.25)
    assert found["modulated_new"] == pytest.approx(0.75)
    assert found["modulated_old"] == pytest.approx(0.5)


def test_a_run_that_learns_every_task_has_no_retention() -> None:
    every = trace() | {"trained": np.packbits(np.ones((1, 4), dtype=bool), axis=1), "ends": np.array([10])}
    found = measures.per_run(every, np.zeros((3, 4)))
    assert np.isnan(found["retention"])
    assert np.isnan(found["forgot"])
    assert found["new"] == pytest.approx(0.5)


def test_a_net_that_solved_nothing_before_has_no_retention() -> None:
    nothing = trace()
    nothing["v_score"][0] = 0
    found = measures.per_run(nothing, np.zeros((3, 4)))
    assert np.isnan(found["retention"])
    assert found["old"] == pytest.approx(0.25)


def rows(**columns: dict[str, float]) -> pd.DataFrame:
    """rows(new={"FT": 0.5}): one run a case."""
    cases = next(iter(columns.values()))
    table = {name: [values[case] for case in cases] for name, values in columns.items()}
    return pd.DataFrame({"case": list(cases), "run_id": [f"r{k}" for k in range(len(cases))], **table})


def test_what_claims_compare() -> None:
    pool = rows(new={"L2M": 0.6, "L2P-PT": 0.1, "L2P-PreT": 0.5, "L2P-Pv2": 0.4, "EWC": 0.25})
    assert measures.MEASURES["over_l2p"](pool) == pytest.approx(0.1)
    assert measures.MEASURES["twice_ewc"](pool) == pytest.approx(0.1)
    single = rows(
        new={"FT": 0.9, "LoRA": 0.7, "prompt tuning": 0.4}, retention={"FT": 0.2, "LoRA": 0.3, "prompt tuning": 0.8}
    )
    assert measures.MEASURES["learns_more"](single) == pytest.approx(0.3)
    assert measures.MEASURES["keeps_less"](single) == pytest.approx(0.5)
    with pytest.raises(Problem, match="0 runs of L2M-oracle"):
        measures.MEASURES["oracle_gap"](pool)
    assert measures.untrained_times(pd.DataFrame({"new": [0.6], "new_before": [0.1]})) == pytest.approx(0.1)


@pytest.mark.parametrize("unknown", ["FT", "LoRA", "prompt tuning"])
def test_a_case_that_could_not_be_measured_leaves_its_seed_without_a_value(unknown: str) -> None:
    kept = {"FT": 0.2, "LoRA": 0.3, "prompt tuning": 0.8} | {unknown: np.nan}
    assert np.isnan(measures.MEASURES["keeps_less"](rows(retention=kept)))
    new = {"L2M": 0.6, "L2P-PT": 0.1, "L2P-PreT": 0.5, "L2P-Pv2": np.nan}
    assert np.isnan(measures.MEASURES["over_l2p"](rows(new=new)))
    several = pd.concat([rows(new={"L2M": 0.5}), rows(new={"L2M": np.nan}).assign(run_id="other")])
    assert np.isnan(measures.value(several, "L2M", "new"))


def test_claims_are_locked_and_measured_by_what_there_is() -> None:
    claims = load_claims(CLAIMS)
    assert check_lock(claims, CLAIMS.with_suffix(".lock")) == []
    columns = {*measures.per_run(trace(), np.zeros((3, 4))), "tasks", "solved", "moved", "active_share"}
    for claim in claims:
        assert claim.measure in measures.MEASURES or claim.measure in columns, claim.id
        for tier in claim.tiers:
            assert tier in specfiles.load("l2m", str(claim.runs["spec"][0]))["tiers"], (claim.id, tier)
    known = {claim.id.removeprefix("T-"): claim for claim in claims if claim.id.startswith("T-")}
    assert {name: claim.reported.value for name, claim in known.items() if claim.reported} == SECONDARY
    assert {claim.mark for claim in known.values()} == {"secondary"}
    against = {claim.id for claim in claims for rule in claim.tiers.values() if rule.kind == "reported"}
    assert against == {claim.id for claim in known.values()}  # nothing recalled is a target


def test_every_case_has_a_colour_and_every_figure_its_specs() -> None:
    for spec in ("sequence", "single", "sequence_dmc6"):
        assert {case for case, v in specfiles.load("l2m", spec)["cases"].items() if v is not None} <= set(METHODS)
    known = set(specfiles.specs("l2m"))
    for item in {**figures.FIGURES, **figures.TABLES}.values():
        assert set(item.needs) <= known
    assert listed("['CW10', 'reach']")[-2:] == ["peg-unplug-side", "reach"]


@pytest.mark.parametrize(
    ("target", "over", "told"),
    [
        ("sequence", {"stream.learn": ["hamer"]}, "no task 'hamer'. Did you mean 'hammer'"),
        ("sequence", {"stream.layout": "joint"}, "no layout 'joint'"),
        ("sequence", {"stream.play": ["walker-run"]}, "stream.actions is 4, but one of the tasks has 6"),
        ("sequence", {"model.attention_heads": 3}, "attention_heads is 3, which does not divide"),
        ("sequence", {"model": {"name": "mlp"}}, "needs the model papers.l2m.model.mddt"),
        ("sequence", {"budget": {"iterations": None, "epochs": 2}}, "there are no epochs"),
        ("sequence", {"stream.context": 0}, "stream.context is 0, but must be at least 1"),
        ("sequence", {"stream.horizon": 0}, "stream.horizon is 0, but must be at least 1"),
        ("sequence", {"data": "digits"}, "data is 'digits', but must be a run that collects"),
        ("keys", {"model.old_keys": 0}, "there are no keys to train"),
        ("trajectories", {"collection.episodes": 0}, "collection.episodes is 0, but must be at least 1"),
        ("trajectories", {"collection.steps": 0}, "collection.steps is 0, but must be at least 1"),
        ("trajectories", {"collection.noise": [3.0]}, "each from 0 to 2"),
        ("trajectories", {"collection.tasks": ["door-clos"]}, "Did you mean 'door-close'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_runs(target: str, over: dict[str, Any], told: str) -> None:
    with pytest.raises(Problem) as refused:
        sweep.expand(f"l2m/{target}", "smoke", over)
    assert told in " ".join(refused.value.messages)


@pytest.mark.parametrize(
    ("case", "over", "told"),
    [
        ("L2M", {"learner.kind": "prompt"}, "prompts cannot be switched off"),
        ("L2M-oracle", {"learner.kind": "prompt", "learner.top": 50}, "the pool has 10"),
        ("L2M", {"learner.top": 2}, "takes one modulator of kind lora"),
        ("L2M-oracle", {"learner.pool": 1}, "fewer than one modulator for each of the 2 tasks"),
    ],
)
def test_pools_that_cannot_be_are_refused(case: str, over: dict[str, Any], told: str) -> None:
    with pytest.raises(Problem) as refused:
        sweep.expand("l2m/sequence", "smoke", over, case=case)
    assert told in " ".join(refused.value.messages)


def test_other_simulators_than_the_collection_names_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"metaworld": "3.1.1", "mujoco": "3.3.0"}
    monkeypatch.setattr(checks, "versions", lambda tasks, source="experts": there)
    (plain,) = sweep.expand("l2m/trajectories", "smoke")
    assert checks.absent(plain.run) == []
    there["mujoco"] = "4.0.0"
    (said,) = checks.absent(plain.run)
    assert "names mujoco 3.3.0, but 4.0.0 is installed" in said

    def missing(*_: Any) -> dict[str, str]:
        raise Problem("metaworld cannot be found.")

    monkeypatch.setattr(checks, "versions", missing)
    for spec in ("trajectories", "pretrain", "sequence"):
        request = sweep.expand(f"l2m/{spec}", "smoke")[-1]
        assert checks.absent(request.run) == ["metaworld cannot be found."]


def test_simulators_are_part_of_the_identity_of_every_run() -> None:
    ids = partial(sweep.expand, "l2m/trajectories", "smoke")
    assert ids()[0].run_id != ids({"collection.simulators": "metaworld 3.0.0, mujoco 3.16.0"})[0].run_id
    maker, *others = sweep.expand("l2m/sequence", "smoke")
    assert {request.run.maker for request in others} == {maker.run_id}


def test_the_estimate_of_memory_counts_the_worlds() -> None:
    few, many = (sweep.expand("l2m/sequence", tier)[-1].run for tier in ("smoke", "small"))
    assert estimate.memory_mb(few) - estimate.PROCESS_MB == 20 * WORLD_MB  # 4 tasks, 5 episodes each
    assert estimate.memory_mb(many) - estimate.PROCESS_MB == 90 * WORLD_MB


def test_the_full_tier_is_the_papers() -> None:
    requests = sweep.expand("l2m/sequence", "full", seeds=[42], case="L2M")
    kinds = {request.spec: request.run for request in requests}
    assert list(kinds) == ["trajectories", "pretrain", "keys", "sequence"]
    run = kinds["sequence"]
    assert run.stream.settings["learn"] == ["CW10"]
    assert (run.budget.iterations, run.budget.batch) == (100_000, 256)
    assert run.optimiser.settings["lr"] == 5e-5
    assert {run.model.settings[key] for key in ("width", "depth", "attention_heads")} == {768, 6, 12}
    assert run.learner.settings["pool"] == 30
    assert kinds["pretrain"].budget.iterations == 500_000
