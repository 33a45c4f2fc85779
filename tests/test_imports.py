"""The doors between the rooms: who may import whom, read from the source and tried in a fresh process."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "torchvision", "lightning", "timm"}
# every other module of common/ can be imported without torch
WITH_TORCH = (
    "common.loop", "common.analyse", "common.build", "common.batches", "common.progress", "common.checkpoint", "common.evaluate",
    "common.ranks", "common.process_group", "common.optimisers", "common.learners", "common.models", "common.streams.resident",
    "common.analysis", "common.analyses", "common.vectorised",
    "common.streams.probe_sets", "common.streams.augment", "common.schedules",
)  # fmt: skip
PLAIN = {"common.errors", "common.files", "common.places"}  # what every room may use

# room -> what it may import besides the standard library, itself and PLAIN
MAY: dict[str, set[str]] = {
    "common.errors": set(),
    "common.files": set(),
    "common.places": set(),
    "common.fields": set(),
    "common.rng": {"numpy"},
    "common.registry": set(),
    "common.fit": set(),
    "common.imported": set(),
    "common.signatures": {"common.imported"},
    "common.own_code": {"common.imported", "common.registry"},
    "common.parts": {"common.registry", "common.fit", "common.signatures", "common.own_code"},
    "common.spec": {"common.parts"},
    "common.limits": {"common.spec", "common.parts"},
    "common.resolve": {"common.spec", "common.limits", "common.parts"},
    "common.specfiles": {"omegaconf", "yaml"},
    "common.words": {"yaml", "common.parts"},
    "common.products": {"common.streams.data"},
    "common.variants": {"common.specfiles"},
    "common.selected": {"common.specfiles"},
    "common.ancestors": {"common.specfiles"},
    "common.sweep": {"common.specfiles", "common.variants", "common.selected", "common.ancestors", "common.words", "common.spec",
                     "common.resolve", "common.streams.data", "common.weights"},
    "common.weights": set(),
    "common.trace": {"numpy"},
    "common.writers": set(),
    "common.record": {"numpy", "pandas", "pyarrow", "common.trace", "common.writers"},
    "common.lock": {"common.writers", "common.scheduler"},
    "common.metrics": {"numpy", "pandas"},
    "common.asked": set(),
    "common.stored": {"pandas", "common.asked", "common.metrics"},
    "common.run_metrics": {"common.imported", "common.metrics", "common.papers_code", "common.record", "common.sweep"},
    "common.points": {"numpy", "pandas", "common.metrics", "common.record", "common.spec", "common.sweep"},
    "common.switches": {"numpy", "pandas", "common.metrics"},
    "common.stats": {"numpy", "pandas", "scipy"},
    "common.streams": {"common.spec", "common.rng", "numpy", "torch", "torchvision", "PIL", "pyarrow", "pandas", "yaml",
                       "sklearn", "scipy", "tqdm"},
    "common.networks": set(),
    "common.models": {"torch", "timm", "common.networks"},
    "common.optimisers": {"torch"},
    "common.schedules": {"torch"},
    "common.process_group": {"torch", "lightning"},
    "common.ranks": {"common.process_group", "common.streams.resident", "torch", "lightning"},
    "common.learners": {"common.ranks", "common.streams.stream", "common.streams.resident", "common.rng", "torch", "lightning",
                        "timm", "numpy", "scipy"},
    "common.checkpoint": {"numpy", "torch", "common.learners", "common.record", "common.trace"},
    "common.evaluate": {"torch", "common.learners", "common.streams"},
    "common.analysis": {"torch", "numpy", "common.rng"},
    "common.page": {"jinja2", "markupsafe", "common.asked", "common.sweep", "common.readme", "common.table", "common.drawings",
                    "common.stamp", "common.verdict_table", "common.reading"},
    "common.scheduler": set(),
    "common.gpus": set(),
    "common.bar": {"common.estimate", "common.record", "common.show", "common.sweep", "tqdm"},
    "common.launch": {"common.bar", "common.gpus", "common.outcome", "common.pool", "common.record", "common.sweep",
                      "common.together"},
    "common.outcome": {"common.together"},
    "common.pool": {"common.bar", "common.gpus", "common.outcome", "common.record", "common.sweep", "common.together",
                    "common.worker"},
    "common.together": {"common.estimate", "common.gpus", "common.spec", "common.sweep"},
    "common.vectorised": {"torch", "numpy", "common.batches", "common.build", "common.checkpoint", "common.evaluate",
                          "common.learners", "common.lock", "common.loop", "common.parts", "common.progress", "common.ranks",
                          "common.record", "common.schedules", "common.sitting", "common.spec", "common.streams"},
    "common.sitting": {"common.record"},
    "common.worker": {"common.loop", "common.outcome", "common.analyse", "common.run_metrics", "common.vectorised", "torch"},
    "common.cluster": {"common.spec", "common.own_code", "common.parts", "common.writers", "common.record",
                       "common.sweep", "common.launch", "common.outcome", "common.bar", "common.estimate",
                       "common.provenance", "common.scheduler",
                       "common.worker", "common.analyse", "common.loop", "common.run_metrics", "yaml", "submitit"},
}  # fmt: skip
# what no module may import
NEVER: dict[str, tuple[str, ...]] = {
    "common": ("papers", "tests", "benchmarks", "notebooks"),
    "common.streams": ("common.learners", "common.models", "common.loop"),
    "common.learners": ("common.loop", "common.models", "common.spec", "common.sweep"),
    "common.models": ("common.streams", "common.learners", "common.loop"),
    "common.analysis": ("common.streams", "common.learners", "common.models", "common.loop", "common.record"),
}


def modules(room: str) -> list[str]:
    """Dotted names of all modules of a package."""
    paths = sorted((ROOT / room).rglob("*.py"))
    return [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in paths]


def source(module: str) -> Path:
    base = ROOT.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def imported(module: str, top: bool) -> Iterator[str]:
    """Dotted names a module imports: all of them, or (top) what importing it imports; typing-only ones left out."""
    waiting: list[ast.AST] = list(ast.parse(source(module).read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            yield node.module or ""
            if (node.module or "").split(".")[0] in ("common", "papers"):
                yield from (f"{node.module}.{a.name}" for a in node.names if is_module(f"{node.module}.{a.name}"))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not (top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            waiting += ast.iter_child_nodes(node)


def is_module(name: str) -> bool:
    return source(name).exists()


def within(name: str, rooms: tuple[str, ...] | set[str]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


COMMON = modules("common")


@pytest.mark.parametrize("module", [m for m in COMMON if within(m, set(MAY))])
def test_each_room_imports_what_it_may(module: str) -> None:
    room = max((r for r in MAY if within(module, {r})), key=len)
    allowed = MAY[room] | PLAIN | {room, "common"}
    for name in imported(module, top=False):
        first = name.split(".")[0]
        if first in sys.stdlib_module_names or name in ("common", "common.streams"):
            continue
        assert within(name, allowed - {"common"}), f"{module} must not import {name}"


@pytest.mark.parametrize("module", COMMON)
def test_no_module_opens_a_forbidden_door(module: str) -> None:
    for room, forbidden in NEVER.items():
        if within(module, {room}):
            wrong = [name for name in imported(module, top=False) if within(name, forbidden)]
            assert not wrong, f"{module} must not import {wrong}"


@pytest.mark.parametrize("module", [m for m in COMMON if not within(m, WITH_TORCH)])
def test_modules_that_reading_verbs_use_do_not_import_torch(module: str) -> None:
    wrong = [n for n in imported(module, top=True) if n.split(".")[0] in HEAVY or within(n, WITH_TORCH)]
    assert not wrong, f"{module} imports {wrong} when it is imported"


@pytest.mark.parametrize("module", [m for m in modules("papers") if m.count(".") > 1])
def test_papers_import_common_and_themselves_and_never_another_paper(module: str) -> None:
    own = ".".join(module.split(".")[:2])
    wrong = [n for n in imported(module, top=False) if within(n, {"papers"}) and not within(n, {own}) and n != "papers"]
    assert not wrong, f"{module} must not import {wrong}"


def test_importing_everything_that_reads_leaves_torch_and_pandas_alone() -> None:
    light = [m for m in COMMON if not within(m, WITH_TORCH) and m != "common"]
    code = f"import sys, importlib; [importlib.import_module(m) for m in {light!r}]; print(sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(said.stdout))
    assert not loaded & (HEAVY | {"pandas", "matplotlib", "seaborn", "sklearn", "scipy"})
    assert said.stderr == ""


@pytest.mark.parametrize("package", ["torch", "lightning", "sympy", "pandas"])
def test_the_environment_is_compiled(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    compiled = Path(importlib.util.cache_from_source(spec.origin))
    assert compiled.exists(), "every process would compile all that it imports, where Python may not write bytecode"
