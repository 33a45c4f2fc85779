"""The lock of the reported half: append-only, blind to the half that is ours."""

from dataclasses import replace

import pytest

from common.claim_lock import check_lock, write_lock
from common.claims import Claim, Reported, Rule
from common.files import read_json

REPORTED = Reported(28.8, 0.9, 5, "pp", "Table 1")
RULES = {"smoke": Rule("at_least", 15.0, "holds")}
CLAIM = Claim("p", "C1", "says", "p. 6", "verified", REPORTED, {}, "acc", "pp", RULES, ())
OTHER = replace(CLAIM, id="C2", reported=None)


@pytest.mark.parametrize(
    "edited",
    [
        replace(CLAIM, says="less"),
        replace(CLAIM, source="p. 7"),
        replace(CLAIM, mark="derived"),
        replace(CLAIM, reported=None),
        replace(CLAIM, reported=replace(REPORTED, value=20.0)),
        replace(CLAIM, reported=replace(REPORTED, spread=9.0)),
    ],
)
def test_an_edit_of_the_reported_half_is_named_and_cannot_be_locked_in(tmp_path, edited):
    lock = tmp_path / "claims.lock"
    assert write_lock([CLAIM, OTHER], lock) == ["C1", "C2"]
    assert check_lock([CLAIM, OTHER], lock) == []
    (told,) = check_lock([edited, OTHER], lock)
    assert told.startswith("C1: what the paper reports was edited")
    assert write_lock([edited, OTHER], lock) == []
    assert check_lock([edited, OTHER], lock) == [told]


def test_our_half_is_free_to_change(tmp_path):
    lock = tmp_path / "claims.lock"
    write_lock([CLAIM], lock)
    ours = replace(CLAIM, runs={"spec": ("er",)}, measure="gap", tiers={}, deviations=("D1",))
    assert check_lock([ours], lock) == []


def test_a_removed_claim_is_named_and_stays_locked(tmp_path):
    lock = tmp_path / "claims.lock"
    write_lock([CLAIM], lock)
    assert [told.split(":")[0] for told in check_lock([OTHER], lock)] == ["C1"]
    assert write_lock([OTHER], lock) == ["C2"]
    assert set(read_json(lock)) == {"C1", "C2"}


def test_without_a_lock_nothing_is_wrong(tmp_path):
    assert check_lock([CLAIM], tmp_path / "claims.lock") == []
