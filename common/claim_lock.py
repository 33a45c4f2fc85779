"""The append-only lock of what papers report, so that no target is edited until it passes.

`papers/<paper>/claims.lock` is JSON: claim id -> sha256 of (says, source, mark, reported).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from common.claims import Claim
from common.errors import Problem
from common.files import read_json, sha256_bytes, write_json


def digest(claim: Claim) -> str:
    """Hexadecimal SHA-256 of the reported half of a claim."""
    reported = None if claim.reported is None else asdict(claim.reported)
    half = [claim.says, claim.source, claim.mark, reported]
    return sha256_bytes(json.dumps(half, sort_keys=True, ensure_ascii=True).encode())


def check_lock(claims: Sequence[Claim], path: Path) -> list[str]:
    """One sentence, beginning with the claim's id, for each locked claim that was edited or removed."""
    locked = _locked(path)
    now = {claim.id: digest(claim) for claim in claims}
    told = {
        "edited": "what the paper reports was edited after it was locked. Undo the edit, or add the "
        "corrected claim under a new id and say in its source what the old one got wrong.",
        "removed": "this locked claim was removed. Put it back; a claim that is not judged keeps its row "
        "and has no rule for the tier.",
    }
    changed = {name: "edited" if name in now else "removed" for name in locked if now.get(name) != locked[name]}
    return [f"{name}: {told[change]}" for name, change in changed.items()]


def write_lock(claims: Sequence[Claim], path: Path) -> list[str]:
    """The ids that were new and are now locked; an id locked before keeps its digest, whatever it is."""
    locked = _locked(path)
    new = {claim.id: digest(claim) for claim in claims if claim.id not in locked}
    if new:
        write_json(path, locked | new)
    return list(new)


def _locked(path: Path) -> dict[str, str]:
    """id -> digest as stored; empty before the first lock."""
    locked = read_json(path) if path.exists() else {}
    if not isinstance(locked, dict) or not all(isinstance(digest, str) for digest in locked.values()):
        raise Problem(
            f"{path} is damaged: it holds no digests by claim. Restore it (git checkout); it is never written by hand."
        )
    return locked
