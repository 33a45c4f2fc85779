"""Settings of parts are read from source and agree with what Python itself says of the signature."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import parts
from common.errors import Problem
from common.own_code import own_files
from common.parts import check, find, fit
from common.places import ROOT
from common.signatures import REQUIRED

EVERY: list[tuple[Any, str]] = [(kind, name) for kind in parts.KINDS for name in parts.REGISTRY[kind]]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_settings_read_from_source_are_those_of_the_signature(kind: Any, name: str) -> None:
    part = find(kind, name)
    loaded = part.load()
    signature = inspect.signature(loaded)
    own = {n: p for n, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert part.parameters.keys() == own.keys()
    for key, parameter in own.items():
        default = REQUIRED if parameter.default is parameter.empty else parameter.default
        assert part.parameters[key].default == default
    assert not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    assert inspect.getdoc(loaded)


def test_reading_settings_imports_no_torch() -> None:
    code = (
        "import sys\nfrom common import parts\n"
        "for kind in parts.KINDS:\n    for name in parts.REGISTRY[kind]: parts.find(kind, name)\n"
        "print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("value", "annotation", "fitted", "fits"),
    [
        (1, "float", 1.0, True),
        (1.5, "int", 1.5, False),
        (1.0, "int", 1.0, False),
        (True, "int", True, False),
        (True, "float", True, False),
        (1, "bool", 1, False),
        ("x", "str", "x", True),
        (None, "int | None", None, True),
        (None, "int", None, False),
        (3, "int | None", 3, True),
        ("3", "int | None", "3", False),
        ([1, 2], "list[int]", [1, 2], True),
        ((1, 2), "list[float]", [1.0, 2.0], True),
        ([1, "a"], "list[int]", [1, "a"], False),
        ("ab", "list[str]", "ab", False),
        (5, "list[int]", 5, False),
        ([], "list[int]", [], True),
        ([[1], [2]], "list[list[int]]", [[1], [2]], True),
        ("class", "Literal['class', 'task']", "class", True),
        ("clas", "Literal['class', 'task']", "clas", False),
        ("only", "Literal['only']", "only", True),
        ("x", "object", "x", True),
        ([1], "list[int] | None", [1], True),
        ([None], "list[int | None]", [None], True),
    ],
)
def test_fit(value: Any, annotation: str, fitted: Any, fits: bool) -> None:
    found, found_fits = fit(value, annotation)
    assert (found, found_fits) == (fitted, fits)
    assert type(found) is type(fitted)


plain = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=3)
anything = plain | st.lists(plain, max_size=3)


@given(anything, st.sampled_from(["int", "float", "bool", "str", "int | None", "list[int]", "list[float] | None"]))
def test_what_fits_is_in_its_one_normal_form(value: Any, annotation: str) -> None:
    fitted, fits = fit(value, annotation)
    again, still = fit(fitted, annotation)
    assert still == fits
    assert repr(again) == repr(fitted)


@given(st.dictionaries(st.sampled_from(["memory", "alpha", "memry", "strength", "x"]), anything))
def test_check_names_everything_that_is_wrong(given_: dict[str, Any]) -> None:
    part = find("learner", "er")
    settings, problems = check(part, given_)
    for key in given_.keys() - {"memory", "alpha"}:
        assert sum(f"no setting '{key}'" in p for p in problems) == 1
    assert ("memory" not in given_) == any("needs learner.memory" in p for p in problems)
    if not problems:
        assert settings == {"memory": given_["memory"], "alpha": given_.get("alpha", 0.5)}


MINE = '''
from torch.nn import Module as Base

from common.learners.replay import ER


class Middle(Base):
    def __init__(self, net, *, rate: float, steps: int = 3, names: list[str] | None = None) -> None: ...


class Leaf(Middle):
    """Inherits its settings."""


class Foreign(Base):
    """Has none of ours."""


class Heir(ER):
    """Its settings are in another file."""


def build(images, seed, *, tasks: int = 2): ...
'''


def test_parts_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_parts.py").write_text(MINE)
    middle, leaf = find("learner", "own_parts.Middle"), find("learner", "own_parts.Leaf")
    assert {n: p.default for n, p in middle.parameters.items()} == {"rate": REQUIRED, "steps": 3, "names": None}
    assert leaf.parameters == middle.parameters
    assert find("learner", "own_parts.Foreign").parameters == {}
    assert find("learner", "own_parts.Heir").parameters == find("learner", "er").parameters
    assert find("stream", "own_parts.build").parameters["tasks"].default == 2
    assert middle.version == leaf.version
    assert middle.version.startswith("file-")


def test_edited_code_of_ones_own_is_another_version_unless_it_states_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    versions = []
    for edit in ("", "\n# edited", "\nVERSION = 3\n", "\nVERSION = 3\n# edited"):
        (tmp_path / "own_edited.py").write_text("class Mine: ...\n" + edit)
        find.cache_clear()
        versions.append(find("learner", "own_edited.Mine").version)
    assert len(set(versions)) == 3
    assert versions[2] == versions[3] == "3"


RELATIVE = {
    "__init__.py": "",
    "bases.py": "class Base:\n    def __init__(self, setup, *, rate: float = 0.5): ...\n",
    "deep/__init__.py": "",
    "deep/mine.py": "from . import numbers\nfrom .. import shared\nfrom ..bases import Base as B\n\n\nclass Mine(B): ...\n",
    "deep/numbers.py": "ONE = 1\n",
    "shared.py": "from .deep.more import TWO\n",
    "deep/more.py": "TWO = 2\n",
}


@pytest.mark.parametrize("edited", ["bases.py", "deep/numbers.py", "shared.py", "deep/more.py"])
def test_what_a_part_of_ones_own_imports_relatively_is_followed(
    tmp_path: Path, edited: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    package = f"own_{edited.removesuffix('.py').replace('/', '_')}"  # one for each test: an imported one stays imported
    for name, text in RELATIVE.items():
        (tmp_path / package / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / package / name).write_text(text)
    learner = f"{package}.deep.mine.Mine"
    before = find("learner", learner)
    assert set(before.parameters) == {"rate"}
    assert set(own_files(learner)) == {f"{package}/{name}" for name in RELATIVE}
    (tmp_path / package / edited).write_text(RELATIVE[edited] + "# edited\n")
    find.cache_clear()
    assert find("learner", learner).version != before.version


def test_a_relative_import_of_a_file_that_is_in_no_package_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_lone.py").write_text(
        "try:\n    from .kit import X\nexcept ImportError:\n    X = 1\n\n\nclass Mine: ...\n"
    )
    assert set(own_files("own_lone.Mine")) == {"own_lone.py"}
    assert find("learner", "own_lone.Mine").parameters == {}


@pytest.mark.parametrize(
    "name", ["", "er ", "ER", "nope", ".x", "a..b", "common.learners.replay.", "os.path", "sys.exit"]
)
def test_names_that_are_no_part(name: str) -> None:
    with pytest.raises(Problem):
        find("learner", name)


def test_a_part_of_ones_own_is_looked_up_without_importing_what_it_imports() -> None:
    code = (
        "import sys; from common import parts; part = parts.find('analysis', 'papers.scole.analyses.classes'); "
        "print(part.version.startswith('file-'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
