"""Rows of claims.yaml: what is read, and that everything wrong is refused at once in plain sentences."""

from pathlib import Path

import pytest

from common.claims import Reported, Rule, load_claims
from common.errors import Problem

ROW = """
- id: C1
  says: ER suffers a large transient drop that standard metrics hide
  source: Table 1, p. 6
  mark: verified
  reported: {value: 28.8, spread: 0.9, n: 5, where: "ER, ACC - WC-ACC"}
  runs: {spec: [er, er_online], learner.name: er}
  measure: acc - wc_acc
  unit: pp
  tiers:
    smoke: {at_least: 15, expect: holds}
    full: {reported: true, expect: within}
  deviations: [D1, D3]
"""
BARE = """
- {id: C2, says: s, source: p, mark: derived, runs: {}, measure: gap,
   tiers: {smoke: {at_most: 0.1, expect: fails}}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "some_paper" / "claims.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> list[str]:
    with pytest.raises(Problem) as caught:
        load_claims(written(folder, text))
    return caught.value.messages


def test_a_row_is_read_whole(tmp_path):
    first, second = load_claims(written(tmp_path, ROW + BARE))
    assert (first.paper, first.id, first.measure, first.unit) == ("some_paper", "C1", "acc - wc_acc", "pp")
    assert first.reported == Reported(28.8, 0.9, 5, "pp", "ER, ACC - WC-ACC")
    assert first.runs == {"spec": ("er", "er_online"), "learner.name": ("er",)}
    assert first.tiers == {"smoke": Rule("at_least", 15.0, "holds"), "full": Rule("reported", None, "within")}
    assert first.deviations == ("D1", "D3")
    assert second.reported is None
    assert (second.unit, second.deviations, second.tiers["smoke"].bound) == ("", (), 0.1)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("says: ER", "sais: ER", ["unknown key 'sais'. Did you mean 'says'?", "'says' is missing"]),
        ("id: C1", "id: 1", ["'id' must be a text, not 1"]),
        ("mark: verified", "mark: sure", ["'mark' must be one of verified, secondary, recalled"]),
        ("mark: verified", "mark: recalled", ["a recalled value is no target"]),
        ("value: 28.8", "value: high", ["'value' must be a number, not 'high'"]),
        ("value: 28.8", "value: .nan", ["'value' must be a number, not nan"]),
        ("spread: 0.9", "spread: -1", ["'spread' must be a number >= 0 or null"]),
        ("n: 5", "n: 0.5", ["'n' must be a count of seeds or null"]),
        ("n: 5", "unit: '%'", ["reported in '%' but measured in 'pp'"]),
        ("spec: [er, er_online]", "spec: []", ["'runs' must be a mapping from columns"]),
        ("spec: [er, er_online]", "spec: {a: b}", ["'runs' must be a mapping from columns"]),
        ("smoke:", "smok:", ["'smok' is no tier. Did you mean 'smoke'? Allowed: smoke, small, full."]),
        ("at_least: 15", "at_lest: 15", ["unknown key 'at_lest'. Did you mean 'at_least'?"]),
        ("at_least: 15", "at_least: true", ["'at_least' must be a number, not True"]),
        ("at_least: 15", "at_least: 15, at_most: 20", ["exactly one of at_least, at_most, reported"]),
        ("at_least: 15, ", "", ["exactly one of at_least, at_most, reported, not none"]),
        ("expect: holds", "expect: hold", ["'expect' must be one of holds, fails"]),
        ("expect: holds", "expect: within", ["the rule at_least never gives 'within'"]),
        ("expect: within", "expect: holds", ["the rule reported never gives 'holds'"]),
        ("reported: true", "reported: false", ["'reported' must be true, not False"]),
        ("deviations: [D1, D3]", "deviations: D1", ["'deviations' must be a list of texts, not 'D1'"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, told):
    messages = refusal(tmp_path, ROW.replace(old, new))
    for part in told:
        assert any(part in message for message in messages), messages
    assert all("claims.yaml, " in message for message in messages)


def test_a_rule_against_nothing_reported_is_refused(tmp_path):
    kept = [line for line in ROW.splitlines() if not line.startswith("  reported:")]
    (message,) = refusal(tmp_path, "\n".join(kept))
    assert "claim C1: 'reported: true' needs a reported value" in message


def test_everything_is_told_at_once(tmp_path):
    messages = refusal(tmp_path, ROW.replace("pp", "[]").replace("mark: ", "Mark: ") + ROW + "- 3\n" + BARE)
    for part in ("'unit' must be", "unknown key 'Mark'", "'mark' is missing", "id C1 is given", "row 3: must be"):
        assert any(part in message for message in messages), part


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id: C1", "must be a list of rows"),
        ("", "not nothing"),
        ("- [", "is not valid YAML"),
        ("- {a: !!python/name:os.system }", "is not valid YAML"),
    ],
)
def test_what_is_no_list_of_rows_is_refused(tmp_path, text, told):
    (message,) = refusal(tmp_path, text)
    assert told in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(Problem, match=r"There is no .*claims\.yaml"):
        load_claims(tmp_path / "claims.yaml")
