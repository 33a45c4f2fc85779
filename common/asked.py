"""A request of one's own - other settings, seeds or one case - and the folder where its results lie."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.files import read_json, sha256_bytes
from common.places import results_dir


@dataclass(frozen=True)
class Asked:
    """What a request asks for besides a paper's specs as they stand; such tables have a folder of their own."""

    target: str
    overrides: tuple[tuple[str, Any], ...] = ()
    seeds: tuple[int, ...] = ()
    case: str = ""

    @property
    def words(self) -> str:
        """As the command line takes it."""
        seeds = f" --seeds {','.join(map(str, self.seeds))}" if self.seeds else ""
        case = f" --case {self.case}" if self.case else ""
        return f"{self.target}{seeds}{case}" + "".join(f" {key}={_yaml(value)}" for key, value in self.overrides)

    @property
    def label(self) -> str:
        """A folder's name: readable while it is short."""
        spec = self.target.partition("/")[2]
        seeds = "seeds=" + "+".join(map(str, self.seeds)) if self.seeds else ""
        words = [spec, f"case={self.case}" if self.case else "", seeds, *(f"{k}={_yaml(v)}" for k, v in self.overrides)]
        plain = re.sub(r"[^\w.=,+-]+", "_", ",".join(filter(None, words)))
        return plain if len(plain) <= 100 else f"{plain[:80]}-{sha256_bytes(plain.encode())[:12]}"


def _yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")


def folder_of(paper: str, tier: str, asked: Asked | None = None) -> Path:
    """Where the tables and figures of a paper at a tier lie; a request of one's own has a folder beside it."""
    return results_dir() / paper / (f"{tier}@{asked.label}" if asked else tier)


def asked_in(folder: Path) -> str:
    """The words that `replicate figures` takes to make that folder again."""
    path = folder / "request.json"
    return str(read_json(path)["asked"]) if path.exists() else folder.parent.name
