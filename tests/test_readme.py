"""Every command of the README files and of docs/ works, the method that README.md shows is a whole one, and links exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
LACKING = re.compile(r"(data set|weights) '[\w.]+' .*(is|are) not in |Nothing is selected by ")
READMES = [ROOT / "README.md", *sorted(ROOT.glob("papers/*/README.md")), *sorted(ROOT.glob("docs/*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    """Contents of the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), flags=re.S)


def commands(path: Path) -> list[str]:
    """Lines of its shell blocks, comments taken off."""
    lines = [line.partition("  #")[0].strip() for block in blocks(path, "sh") for line in block.splitlines()]
    return [line for line in lines if line]


def write_methods(folder: Path) -> list[str]:
    """Names of the files that the shown methods were written to: each says its own in its first line."""
    shown = [code for page in ("README.md", "docs/more_parts.md") for code in blocks(ROOT / page, "python")]
    names = [code.splitlines()[0].removeprefix("# ") for code in shown]
    for name, code in zip(names, shown, strict=True):
        (folder / name).write_text(code)
    return names


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder like a newcomer's: the README's method and a small data set in it, the committed results beside."""
    folder = tmp_path_factory.mktemp("newcomer")
    assert write_methods(folder) == ["my_methods.py", "my_der.py"]
    (folder / "results").symlink_to(ROOT / "results")
    for number in range(224):  # four classes, six training and fifty test pictures each
        split = "train" if number % 56 < 6 else "test"
        path = folder / "data" / "my_set" / split / "abcd"[number // 56] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number, 255 - number, 40)).save(path)
    return folder


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "common.cli", *command.split()[1:]]
    places = {f"REPLICATE_{room.upper()}": f"{folder}/{room}" for room in ("data", "runs")}
    places |= {"REPLICATE_RESULTS": f"{folder}/own-results", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        words, cwd=folder, env=os.environ | places, capture_output=True, text=True, timeout=1800
    )  # a busy machine


@pytest.mark.parametrize(
    ("readme", "command"),
    [pytest.param(path, line, id=f"{path.parent.name}: {line}") for path in READMES for line in commands(path)],
)
def test_every_command_works(readme, command, workplace):
    if command.startswith("make "):
        assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), flags=re.M)
        return
    if re.search("--tier (small|full)", command):  # hours, and data of one's own, of which the tests have none: planned
        done = run(command.replace("replicate run ", "replicate plan ").replace(" --on slurm", ""), workplace)
        if "l2m" in command:  # makes its own data
            assert done.returncode == 0, done.stderr
        else:
            assert done.returncode == 1
            assert LACKING.search(done.stderr), done.stderr
        assert "Traceback" not in done.stderr
        return
    done = run(command, workplace)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr


def test_the_shown_method_is_another_run_than_er(workplace):
    import json

    line = next(c for c in commands(ROOT / "README.md") if "my_methods" in c)
    planned = run(line.replace("replicate run", "replicate plan") + " --json", workplace)
    plan = json.loads(planned.stdout)
    assert plan["runs"] == 2
    listed = [path.name for path in (workplace / "runs").iterdir()]
    assert sum(name.startswith("slowstart-digits") for name in listed) in (0, 2)


def test_the_shown_der_asks_for_the_logits_of_when_a_sample_came_in_and_is_resumed(small, tmp_path, monkeypatch):
    import numpy as np
    import torch
    from lightning import Fabric

    from common import loop
    from common.batches import Batches
    from common.build import build
    from tests.helpers import same, stored

    write_methods(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = small("my_der.DER", {"learner.memory": 21, "learner.alpha": 0.3})
    stream, learner = build(spec, Fabric(accelerator="cpu", devices=1))
    answers = {}
    for task in stream.tasks[:2]:
        batches = Batches(learner, task, spec)
        for step in range(6):
            facts = learner.update(batches.at(step))
        learner.end(task)
        with torch.no_grad():
            answers[task.index] = learner.net(learner.data.batch(learner.data.rows(task)).x)
    assert facts["stability"] > 0
    batch = Batches(learner, stream.tasks[2], spec).at(0)
    terms = learner.terms(learner.live, learner.state, batch)
    now, total = learner.net(batch.replay.x).detach(), 0.0
    for k, row in enumerate(batch.replay.rows.tolist()):
        (task,) = (t for t in stream.tasks[:2] if row in learner.data.rows(t))
        (place,) = np.flatnonzero(learner.data.rows(task) == row)
        total += float(((now[k] - answers[task.index][place]) ** 2).mean()) / len(batch.replay.y)
    assert terms.stability.item() == pytest.approx(0.3 * total, rel=1e-4)
    assert terms.plasticity.item() == pytest.approx(
        torch.nn.functional.cross_entropy(learner.net(batch.x), batch.y).item()
    )

    asked = iter(range(100))
    with pytest.raises(loop.Stopped):
        loop.run(spec, loop.Place(stop=lambda: next(asked) == 16))
    resumed = stored(loop.run(spec).path)
    monkeypatch.setenv("REPLICATE_RUNS", str(tmp_path / "whole"))
    assert same(resumed, stored(loop.run(spec).path))


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_links_exist(readme):
    for target in re.findall(r"\]\(([^)#]+)\)", readme.read_text()):
        if "://" not in target:
            assert (readme.parent / target).exists() or (ROOT / target).exists(), target


def test_every_dependency_is_explained():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "README.md").read_text().lower()
    named = [re.match(r"[a-z0-9_-]+", line.lower()).group() for line in project["dependencies"]]
    missing = [name for name in named if name not in text]
    assert missing == []


def test_the_shown_claim_is_valid(tmp_path):
    from common.claims import load_claims

    (row,) = (block for block in blocks(ROOT / "docs" / "more_parts.md", "yaml") if block.startswith("- id"))
    (tmp_path / "stability_gap").mkdir()
    path = tmp_path / "stability_gap" / "claims.yaml"
    path.write_text(row)
    assert [claim.id for claim in load_claims(path)] == ["M1"]


def test_the_shown_spec_of_analyses_is_valid():
    import yaml

    from common import parts
    from common.specfiles import KEYS

    (text,) = (block for block in blocks(ROOT / "docs" / "more_parts.md", "yaml") if block.startswith("of:"))
    spec = yaml.safe_load(text)
    assert spec.keys() <= KEYS
    analysis = dict(spec["run"]["analysis"])
    assert parts.check(parts.find("analysis", analysis.pop("name")), analysis)[1] == []


def test_deviations_that_claims_name_are_explained():
    import yaml

    for folder in sorted(ROOT.glob("papers/*/claims.yaml")):
        text = (folder.parent / "README.md").read_text()
        for row in yaml.safe_load(folder.read_text()):
            for deviation in row.get("deviations", []):
                assert f"| {deviation} |" in text, f"{row['id']}: {deviation}"
