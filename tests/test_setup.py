"""The three lists of packages agree, name no registry, and the Makefile does what its help says."""

import itertools
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CONDA_NAMES = {"torch": "pytorch"}  # where conda-forge calls a package otherwise
REGISTRY = re.compile(r"https?://|--(extra-)?index-url|--find-links|--trusted-host", re.IGNORECASE)
SET_UP_FILES = [
    "pyproject.toml",
    "requirements.txt",
    "requirements-uv.txt",
    "environment.yml",
    "Makefile",
    "tools/setup.sh",
    ".ci/run",
]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def bounds() -> dict[str, SpecifierSet]:
    """Bound of each package that pyproject.toml asks for, of its build system too."""
    project = PROJECT["project"]
    extras = [named for extra, named in project["optional-dependencies"].items() if extra != "avalanche"]  # by hand
    asked = [*project["dependencies"], *itertools.chain(*extras)]
    return {canonicalize_name(line.name): line.specifier for line in map(Requirement, asked)}


def locked(name: str) -> dict[str, tuple[list[str], int]]:
    """For each package of a requirements file: its exact versions (one a platform) and the fewest hashes."""
    found: dict[str, tuple[list[str], int]] = {}
    for block in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
        text, *hashes = block.split("--hash=sha256:")
        requirement = Requirement(text.strip())
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", f"{name}: {text.strip()} is not exact"
        package = canonicalize_name(requirement.name)
        versions, fewest = found.get(package, ([], len(hashes)))
        found[package] = ([*versions, specifier.version], min(fewest, len(hashes)))
    return found


def make(*arguments: str) -> str:
    """What `make ARGUMENTS` prints. Skips the test where there is no make (a conda environment)."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    done = subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("name", sorted(bounds()))
def test_requirements_hold_every_dependency_at_a_version_within_its_bound(name: str) -> None:
    versions, fewest_hashes = locked("requirements.txt")[name]
    assert fewest_hashes >= 1
    for version in versions:
        assert bounds()[name].contains(version, prereleases=True)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-uv.txt"])
def test_every_locked_package_has_hashes(name: str) -> None:
    assert [package for package, (_, fewest) in locked(name).items() if fewest == 0] == []


def test_the_installer_is_pinned_alone() -> None:
    assert set(locked("requirements-uv.txt")) == {"uv"}


def test_the_build_system_is_among_the_locked_packages() -> None:
    for line in map(Requirement, PROJECT["build-system"]["requires"]):
        assert bounds()[canonicalize_name(line.name)] == line.specifier


def test_environment_yml_names_the_same_packages_and_bounds() -> None:
    lines = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (by_pip,) = [line["pip"] for line in lines if isinstance(line, dict)]
    assert by_pip[-1] == "--editable ."
    parsed = [Requirement(line) for line in [*lines, *by_pip[:-1]] if isinstance(line, str)]
    conda = {line.name: line.specifier for line in parsed}
    assert len(conda) == len(parsed)
    assert conda.pop("python") == SpecifierSet(PROJECT["project"]["requires-python"])
    conda.pop("pip")
    assert conda == {CONDA_NAMES.get(name, name): bound for name, bound in bounds().items()}


@pytest.mark.parametrize("name", SET_UP_FILES)
def test_no_registry_is_named(name: str) -> None:
    assert not REGISTRY.search((ROOT / name).read_text())


def test_help_lists_exactly_the_targets_that_exist() -> None:
    listed = set(re.findall(r"^  (\w+) - ", make("help"), re.MULTILINE))
    declared = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared is not None
    assert listed == set(declared[1].split())
    assert {"demo", "test", "lint", "format", "notebooks", "bench", "lock", "clean"} < listed
    for target in listed:
        make("--dry-run", target)


def test_clean_spares_runs_and_data() -> None:
    removed = set(re.split(r"\s+", make("--dry-run", "clean")))
    assert ".venv" in removed
    assert not {word for word in removed if word.strip("./").split("/")[0] in {"runs", "data", "results"}}
