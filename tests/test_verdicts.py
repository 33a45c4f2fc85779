"""Verdicts over small tables of runs: every word, and what each rests on."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from common.claims import Claim, Reported, Rule
from common.errors import Problem
from common.verdict_table import markdown
from common.verdicts import judge

AT_LEAST = Rule("at_least", 15.0, "holds")
AT_MOST = Rule("at_most", 15.0, "holds")
AGAINST = Rule("reported", None, "within")
REPORTED = Reported(28.8, 0.9, 5, "pp", "Table 1")
CLAIM = Claim(
    "p", "C1", "a drop | hidden", "Table 1", "verified", REPORTED,
    {"spec": ("er",)}, "acc - wc_acc", "pp", {"smoke": AT_LEAST}, ("D1",),
)  # fmt: skip


def runs(gaps, **columns):
    """A table with one run a seed whose acc - wc_acc is the given gap in pp."""
    seeds = range(len(gaps))
    place = {
        "run_id": [f"run{seed}" for seed in seeds],
        "paper": "p",
        "spec": "er",
        "tier": "smoke",
        "seed": list(seeds),
    }
    found = {"acc": 0.9, "wc_acc": [0.9 - gap / 100 for gap in gaps]}
    return pd.DataFrame(place | columns | found | columns)


def verdict(claim, table, tier="smoke", measures=None):
    (row,) = judge([claim], table, tier, measures or {})
    json.dumps(row, allow_nan=False)  # plain values only
    return row


def ruled(rule, **changes):
    return replace(CLAIM, tiers={"smoke": rule}, **changes)


def test_cases_are_compared_by_seed_and_seeds_that_lack_one_are_named():
    er, gem = (runs([0, 0, 0], case=case, acc=acc) for case, acc in (("ER", [0.5, 0.6, 0.7]), ("GEM", [0.4, 0.3, 0.2])))
    gem["run_id"] += "g"
    claim = ruled(AT_LEAST, measure="acc[ER] - acc[GEM]", reported=None)
    row = verdict(claim, pd.concat([er, gem[:0], gem[::-1]]))
    assert row["values"] == pytest.approx([10, 30, 50])
    assert len(row["run_ids"]) == 6
    row = verdict(claim, pd.concat([er, gem[1:]]))
    assert (row["seeds"], row["verdict"]) == ([1, 2], "direction holds")
    assert "seed 0 left out: no run of GEM" in row["note"]
    row = verdict(ruled(AT_LEAST, measure="acc[ER]", reported=None), pd.concat([er, gem]))
    assert row["values"] == pytest.approx([50, 60, 70])
    row = verdict(ruled(AT_LEAST, measure="acc[GM] - acc[ER]", reported=None), pd.concat([er, gem]))
    assert row["verdict"] == "not run at this tier"
    assert "no run of the case 'GM'. Did you mean 'GEM'?" in row["note"]
    with pytest.raises(Problem, match="the measure 'ac' is neither"):
        verdict(ruled(AT_LEAST, measure="ac[ER]", reported=None), pd.concat([er, gem]))


@pytest.mark.parametrize(
    ("rule", "gaps", "word"),
    [
        (AT_LEAST, [20, 25, 30], "direction holds"),
        (AT_LEAST, [15, 15, 15], "direction holds"),
        (AT_LEAST, [14, 25, 30], "too few seeds to tell"),
        (AT_LEAST, [30], "too few seeds to tell"),
        (AT_LEAST, [10, 12, 14], "fails"),
        (AT_LEAST, [10, 12, 20], "too few seeds to tell"),
        (AT_LEAST, [10], "too few seeds to tell"),
        (AT_MOST, [10, 12, 14], "direction holds"),
        (AT_MOST, [10, 12, 16], "too few seeds to tell"),
        (AT_MOST, [16, 30, 20], "fails"),
        (AT_MOST, [14, 30, 20], "too few seeds to tell"),
        (AGAINST, [28, 29, 30], "within"),
        (AGAINST, [38, 39, 40], "above"),
        (AGAINST, [18, 19, 20], "below"),
        (AGAINST, [28.8], "too few seeds to tell"),
    ],
)
def test_the_words(rule, gaps, word):
    row = verdict(ruled(rule), runs(gaps))
    assert row["verdict"] == word
    assert row["as_expected"] == (word in ("direction holds", "within"))
    assert row["measured"] == pytest.approx(np.mean(gaps))
    assert row["values"] == pytest.approx(gaps)
    assert row["run_ids"] == [f"run{seed}" for seed in range(len(gaps))]


@given(
    st.lists(st.integers(-30, 30).map(float), min_size=1, max_size=6),
    st.integers(-30, 30).map(float),
)
def test_at_most_mirrors_at_least(values, bound):
    table = runs(values)
    mirrored = replace(ruled(Rule("at_most", -bound, "holds")), measure="wc_acc - acc")
    least = verdict(ruled(Rule("at_least", bound, "holds")), table)
    most = verdict(mirrored, table)
    assert least["verdict"] == most["verdict"]
    assert least["p_value"] == most["p_value"]
    if least["verdict"] == "direction holds":
        assert len(values) >= 2
        assert least["interval"][0] >= bound - 1e-6


def test_what_a_row_holds():
    row = verdict(CLAIM, runs([20, 25, 30]))
    assert row["rule"] == "at least 15 pp"
    assert row["interval"] == pytest.approx([20, 30])  # three seeds: from the smallest to the largest
    assert row["p_value"] == 1 / 8  # all three above the bound: one of the 2^3 sign patterns reaches that
    assert "the smallest p an exact paired test can give is 0.125" in row["note"]
    assert (row["n_seeds"], row["seeds"], row["unit"], row["expect"]) == (3, [0, 1, 2], "pp", "holds")
    assert row["reported"] == {"value": 28.8, "spread": 0.9, "n": 5, "unit": "pp", "where": "Table 1"}


@given(st.lists(st.integers(200, 400).map(lambda n: n / 10), min_size=2, max_size=6, unique=True))
def test_against_a_reported_spread_is_welchs_test(values):
    row = verdict(ruled(AGAINST), runs(values))
    test = reference.ttest_ind_from_stats(
        np.mean(values), np.std(values, ddof=1), len(values), 28.8, 0.9, 5, equal_var=False
    )
    assert (row["verdict"] == "within") == (test.pvalue > 0.05)
    assert row["rule"] == "reported 28.8 pp, spread 0.9, n = 5"


def test_without_a_reported_spread_ours_alone_decides_and_the_note_says_so():
    claim = ruled(AGAINST, reported=replace(REPORTED, spread=None))
    assert verdict(claim, runs([28, 29, 30]))["verdict"] == "within"
    row = verdict(claim, runs([28.9, 29, 30]))
    assert row["verdict"] == "above"
    assert "no spread" in row["note"]
    assert verdict(claim, runs([28.7, 28, 27]))["verdict"] == "below"


@pytest.mark.parametrize(
    ("claim", "table", "tier", "note", "expected"),
    [
        (CLAIM, runs([20, 20]), "full", "no rule for this tier", True),
        (CLAIM, pd.DataFrame(), "smoke", "there are no runs yet", False),
        (CLAIM, runs([20, 20], spec="gem"), "smoke", "no run with paper = p, tier = smoke, spec = er", False),
        (CLAIM, runs([20, 20], tier="small"), "smoke", "there is no run", False),
        (replace(CLAIM, runs={"spek": ("er",)}), runs([20, 20]), "smoke", "Did you mean 'spec'?", False),
        (CLAIM, runs([20, 20], acc=math.nan), "smoke", "no run holds a value of acc - wc_acc", False),
        (CLAIM, runs([20, 20], seed=0, **{"learner.lr": [0.1, 0.2]}), "smoke",
         "seed 0 has 2 runs that differ in learner.lr;", False),
    ],
)  # fmt: skip
def test_not_run_says_why(claim, table, tier, note, expected):
    row = verdict(claim, table, tier)
    assert row["verdict"] == "not run at this tier"
    assert note in row["note"]
    assert row["as_expected"] is expected
    assert (row["measured"], row["values"], row["p_value"]) == (None, [], None)
    ill_posed = note.startswith(("no run holds", "seed 0 has"))  # what it is about was made
    assert row["run_ids"] == (table["run_id"].tolist() if ill_posed else [])


@pytest.mark.parametrize(
    ("measure", "words"), [("acc - wcacc", "Did you mean 'wc_acc'?"), ("spec", "'spec' holds texts")]
)
def test_a_measure_that_there_is_not_is_refused(measure, words):
    with pytest.raises(Problem, match="claim C1") as refused:
        judge([replace(CLAIM, measure=measure)], runs([20, 20]), "smoke", {})
    assert words in str(refused.value)


def test_runs_are_selected_by_every_column_and_any_value():
    table = runs([20, 20, 99, 99, 99], **{"stream.phi": [10, 80, 10, 30, None]})
    table["spec"] = ["er", "gem", "lwf", "er", "er"]
    several = replace(CLAIM, runs={"spec": ("er", "gem"), "stream.phi": (10, "8e1")})
    assert verdict(several, table)["run_ids"] == ["run0", "run1"]  # 10 is read back from a file as 10.0
    assert verdict(replace(CLAIM, runs={"stream.phi": (None,)}), table)["run_ids"] == ["run4"]


def test_one_run_under_two_specs_counts_once():
    table = pd.concat([runs([20, 20]), runs([20, 20], spec="sweep")])
    row = verdict(replace(CLAIM, runs={"spec": ("er", "sweep")}), table)
    assert row["values"] == pytest.approx([20, 20])
    assert row["run_ids"] == ["run0", "run1"]


def test_flags_are_found_in_a_table_that_was_read_from_a_file(tmp_path):
    runs([20, 20], **{"learner.reset": [True, False]}).to_csv(tmp_path / "runs.csv")
    claim = replace(CLAIM, runs={"learner.reset": (True,)})
    assert verdict(claim, pd.read_csv(tmp_path / "runs.csv"))["run_ids"] == ["run0"]


def slope(rows):
    """A measure over several runs of a seed."""
    if len(rows) < 2:
        raise Problem("it needs two rotations")
    return rows.sort_values("phi")["acc"].diff().iloc[-1]


def test_a_function_sees_all_runs_of_one_seed_and_may_leave_a_seed_out():
    table = pd.concat([runs([0, 0, 0], phi=10, acc=[0.5, 0.5, 0.5]), runs([0, 0], phi=80, acc=[0.7, 0.8])])
    row = verdict(replace(CLAIM, measure="slope"), table, measures={"slope": slope})
    assert row["values"] == pytest.approx([20, 30])
    assert row["seeds"] == [0, 1]
    assert "seed 2 left out: it needs two rotations" in row["note"]
    assert row["verdict"] == "direction holds"
    nothing = verdict(replace(CLAIM, measure="slope"), runs([20, 20]), measures={"slope": slope})
    assert nothing["verdict"] == "not run at this tier"
    assert "needs two rotations" in nothing["note"]


def test_what_never_happened_fails():
    def recovered(rows):
        return math.nan if rows["seed"].iloc[0] == 1 else 20.0

    row = verdict(
        replace(CLAIM, measure="recovered", unit="iterations"), runs([1, 1]), measures={"recovered": recovered}
    )
    assert row["verdict"] == "fails"
    assert "could not be measured in seed 1" in row["note"]
    assert row["values"] == [20.0, None]  # iterations are not shown times 100
    assert (row["interval"], row["p_value"]) == (None, None)
    endless = verdict(replace(CLAIM, measure="ratio"), runs([1, 1]), measures={"ratio": lambda rows: math.inf})
    assert (endless["verdict"], endless["measured"]) == ("fails", None)


def test_the_table_marks_and_explains_what_was_not_expected():
    rows = judge([CLAIM, ruled(AT_MOST, id="C2")], runs([20, 25, 30]), "smoke", {})
    expected, surprising, *rest = markdown(rows).splitlines()[2:]
    assert (
        expected == "| C1 | a drop \\| hidden | at least 15 pp | 25.0 pp [20.0, 30.0] | 3 | smoke | direction holds |"
    )
    assert surprising.endswith("| at most 15 pp | 25.0 pp [20.0, 30.0] | 3 | smoke | **fails** (expected: holds) |")
    assert rest[1].startswith(
        "- **C2** at tier smoke, Table 1: seed 0: 20.0 pp, seed 1: 25.0 pp, seed 2: 30.0 pp; 3 runs"
    )


def test_reading_claims_loads_no_torch_and_no_scipy():
    code = (
        "import sys, common.verdicts, common.claim_lock, common.metrics, common.switches\n"
        "print([m for m in ('torch', 'pandas', 'scipy', 'yaml', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
