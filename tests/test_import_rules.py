"""The design's arrows, and a few rules of safety, checked in the source without importing it.

Every rule is a function from parsed modules to complaints; each has a test over this repository and
planted violations that it must catch.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.places import ROOT

PRODUCT = ("reid", "pipelines", "jobs")

# Who may not know whom: (importer, what it must never import), each with all that is below it.
ROOMS = [
    ("reid", ("ray", "pipelines", "jobs")),
    ("pipelines", ("jobs",)),
]
DATA_SIDE = [
    (f"reid.{room}", ("reid.models", "reid.train")) for room in ("data", "generate", "evaluate", "gallery")
]
MODEL_SIDE = [
    ("reid.nn", ("reid.models", "reid.train")),
    ("reid.nn.losses", ("reid.models", "reid.train")),
    ("reid.models", ("reid.train",)),
]
FOUNDATION = ("reid.modality", "reid.config", "reid.errors")
# Seconds of import time, and present only where somebody uses them: imported inside functions.
HEAVY = ("open_clip", "transformers", "segment_anything", "matplotlib", "torchvision")
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}

_REGISTRIES = ("py" + "pi", "python" + "hosted", "npm" + "js", "docker", "ghcr", "quay")  # no host in full
HOSTS = re.compile(
    r"--(?:extra-)?index-url[ =]|--find-links[ =]|--trusted[-]host|\.dkr\.ecr\.|\.pkg\.dev"
    rf"|\b(?:{'|'.join(_REGISTRIES)})\.(?:org|io|com)\b"
)
MACHINE_PATHS = re.compile(r"(?<![\w.:/~-])/(?:root|home|Users)/\w")


@dataclass(frozen=True)
class Module:
    """A parsed source file."""

    name: str
    where: str
    tree: ast.Module
    is_package: bool = False


@dataclass(frozen=True)
class Import:
    """One import of `target`; `names` are what a `from` import takes out of it."""

    target: str
    names: tuple[str, ...]
    line: int

    def spellings(self) -> list[str]:
        """Every module that this import may mean: `from a import b` is a, or a.b."""
        return [self.target, *(f"{self.target}.{n}" for n in self.names)]


Rule = Callable[[Sequence[Module]], list[str]]


def is_below(name: str, ancestor: str) -> bool:
    return name == ancestor or name.startswith(ancestor + ".")


def parse(name: str, source: str, where: str | None = None, is_package: bool = False) -> Module:
    return Module(name, where or name, ast.parse(source), is_package)


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def at_import_time(nodes: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run on import: not function bodies, not type-checking blocks."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        skip_body = isinstance(node, ast.If) and is_type_checking(node.test)
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = [] if field == "body" and skip_body else getattr(node, field, [])
            for child in inner:
                if isinstance(child, ast.ExceptHandler | ast.match_case):
                    yield from at_import_time(child.body)
                else:
                    yield from at_import_time([child])


def imports(module: Module, *, only_at_import_time: bool = False) -> Iterator[Import]:
    nodes = at_import_time(module.tree.body) if only_at_import_time else ast.walk(module.tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, (), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            target = node.module or ""
            if node.level:
                parents = module.name.split(".")
                keep = len(parents) - node.level + module.is_package
                target = ".".join([*parents[:keep], *([target] if target else [])])
            yield Import(target, tuple(a.name for a in node.names), node.lineno)


def calls(module: Module) -> Iterator[tuple[ast.Call, str]]:
    """Every call with the dotted name it calls, `from x import y` and `import x as z` undone."""
    aliases: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            aliases |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            aliases |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            head, _, rest = ast.unparse(node.func).partition(".")
            head = aliases.get(head, head)
            yield node, f"{head}.{rest}" if rest else head


def arrows(forbidden: Sequence[tuple[str, tuple[str, ...]]]) -> Rule:
    """No importer may import its forbidden modules, at the top or inside a function."""

    def rule(modules: Sequence[Module]) -> list[str]:
        return [
            f"{m.where}:{i.line}: {m.name} must not import {target}"
            for m in modules
            for importer, targets in forbidden
            if is_below(m.name, importer)
            for i in imports(m)
            for target in targets
            if any(is_below(spelling, target) for spelling in i.spellings())
        ]

    return rule


def foundation(modules: Sequence[Module]) -> list[str]:
    """The lowest modules know only each other."""
    return [
        f"{m.where}:{i.line}: {m.name} may import nothing of ours but {', '.join(FOUNDATION)}"
        for m in modules
        if founds(m.name)
        for i in imports(m)
        if is_ours(i.target)
        and not (founds(i.target) or (i.target == "reid" and all(founds(f"reid.{n}") for n in i.names)))
    ]


def founds(name: str) -> bool:
    return any(is_below(name, lowest) for lowest in FOUNDATION)


def is_ours(name: str) -> bool:
    return name.split(".")[0] in PRODUCT


def heavy_at_the_top(modules: Sequence[Module]) -> list[str]:
    return [
        f"{m.where}:{i.line}: import {library} inside the function that needs it"
        for m in modules
        if is_ours(m.name)
        for i in imports(m, only_at_import_time=True)
        for library in HEAVY
        if is_below(i.target, library)
    ]


def cycles(modules: Sequence[Module]) -> list[str]:
    """Circles of top-level imports. A package's __init__ is a module like others."""
    known = {m.name for m in modules}
    graph: dict[str, set[str]] = {}
    for m in modules:
        edges: set[str] = set()
        for i in imports(m, only_at_import_time=True):
            inner = [f"{i.target}.{n}" for n in i.names if f"{i.target}.{n}" in known]
            edges |= set(inner)
            # `from package import submodule` depends on no name that the package itself defines.
            if i.target in known and len(inner) < max(len(i.names), 1):
                edges.add(i.target)
        graph[m.name] = edges - {m.name}
    return [" -> ".join(circle) for circle in circles(graph)]


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """One circle for every back edge of a depth-first walk."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
            return
        if name in done:
            return
        for target in sorted(graph.get(name, ())):
            visit(target, [*path, name])
        done.add(name)

    for name in sorted(graph):
        visit(name, [])
    return found


def ray_starts_in_jobs(modules: Sequence[Module]) -> list[str]:
    return [
        f"{m.where}:{call.lineno}: only jobs/ may start Ray"
        for m in modules
        if is_ours(m.name) and not is_below(m.name, "jobs")
        for call, name in calls(m)
        if name == "ray.init"
    ]


def torch_load_is_safe(modules: Sequence[Module]) -> list[str]:
    def says_weights_only(call: ast.Call) -> bool:
        return any(
            k.arg == "weights_only" and isinstance(k.value, ast.Constant) and k.value.value is True
            for k in call.keywords
        )

    return [
        f"{m.where}:{call.lineno}: torch.load needs weights_only=True"
        for m in modules
        for call, name in calls(m)
        if name in {"torch.load", "torch.serialization.load"} and not says_weights_only(call)
    ]


def nothing_runs_foreign_code(modules: Sequence[Module]) -> list[str]:
    found = []
    for m in modules:
        for call, name in calls(m):
            library, _, function = name.partition(".")
            pickled = library in PICKLES and function in {"load", "loads", "Unpickler", "open"}
            numpy_pickle = any(
                k.arg == "allow_pickle" and not (isinstance(k.value, ast.Constant) and not k.value.value)
                for k in call.keywords
            )
            if name in {"eval", "exec", "builtins.eval", "builtins.exec"}:
                found.append(f"{m.where}:{call.lineno}: {name}() runs text as code")
            # Tests may check that our objects survive a round trip through pickle.
            elif is_ours(m.name) and (pickled or numpy_pickle or name.endswith(".read_pickle")):
                found.append(f"{m.where}:{call.lineno}: {name} can run code that a file brings")
    return found


def no_foreign_places(text: str) -> list[str]:
    """Package hosts, and paths that exist on one machine only."""
    here = [str(ROOT), f"{ROOT.parent}/shared"] if len(ROOT.parts) > 2 else []
    return [
        f"line {number}: {found!r}"
        for number, line in enumerate(text.splitlines(), 1)
        for found in [
            *HOSTS.findall(line),
            *MACHINE_PATHS.findall(line),
            *(p for p in here if p in line),
        ]
    ]


RULES: dict[str, Rule] = {
    "rooms": arrows(ROOMS),
    "data-side": arrows(DATA_SIDE),
    "model-side": arrows(MODEL_SIDE),
    "foundation": foundation,
    "heavy": heavy_at_the_top,
    "cycles": cycles,
    "ray-init": ray_starts_in_jobs,
    "torch-load": torch_load_is_safe,
    "foreign-code": nothing_runs_foreign_code,
}

PLANTED: list[tuple[str, dict[str, str]]] = [
    ("rooms", {"reid.x": "def f():\n    import ray.data"}),
    ("rooms", {"reid.x": "from pipelines import data"}),
    ("rooms", {"pipelines.x": "from jobs.train import main"}),
    ("data-side", {"reid.data.x": "from reid import models"}),
    ("data-side", {"reid.gallery.x": "def f():\n    from reid.models.base import Regime"}),
    ("data-side", {"reid.evaluate.x": "from ..models import base"}),
    ("model-side", {"reid.nn.x": "import reid.models.base"}),
    ("model-side", {"reid.nn.losses.x": "from reid.train.loop import fit"}),
    ("model-side", {"reid.models.x": "import reid.train"}),
    ("foundation", {"reid.config": "from reid.data import schema"}),
    ("foundation", {"reid.errors": "from reid import storage"}),
    ("foundation", {"reid.config.typed": "def f():\n    import reid.models.base"}),
    ("foundation", {"reid.config.loading": "from reid.storage import read_bytes"}),
    ("heavy", {"reid.x": "try:\n    import open_clip\nexcept ImportError:\n    pass"}),
    ("heavy", {"jobs.x": "class A:\n    from matplotlib import pyplot"}),
    ("cycles", {"reid.a": "from reid import b", "reid.b": "from reid.a import f"}),
    (
        "cycles",
        {"reid.a": "import reid.b", "reid.b": "import reid.c", "reid.c": "import reid.a"},
    ),
    ("ray-init", {"pipelines.x": "import ray\ndef f():\n    ray.init()"}),
    ("ray-init", {"pipelines.x": "from ray import init as start\nstart()"}),
    ("torch-load", {"tests.x": "import torch\ntorch.load('x')"}),
    ("torch-load", {"reid.x": "from torch import load\nload('x', weights_only=False)"}),
    ("foreign-code", {"tests.x": "eval('1')"}),
    ("foreign-code", {"reid.x": "import pickle as p\np.loads(b'')"}),
    ("foreign-code", {"reid.x": "import numpy as np\nnp.load('x', allow_pickle=True)"}),
]

ALLOWED: list[tuple[str, dict[str, str]]] = [
    ("rooms", {"reid.rayleigh": "import rayon", "jobs.x": "import ray, pipelines.dataset.build"}),
    (
        "foundation",
        {"reid.config": "from reid.errors import ConfigError\nfrom reid import modality"},
    ),
    (
        "foundation",
        {"reid.config.loading": "from reid.config import strict_yaml\nfrom reid.config.typed import Section"},
    ),
    ("heavy", {"reid.x": "def f():\n    import open_clip"}),
    ("heavy", {"reid.x": "if TYPE_CHECKING:\n    import transformers"}),
    (
        "cycles",
        {"reid.a": "from reid import b", "reid": "", "reid.b": "def f():\n    import reid.a"},
    ),
    ("ray-init", {"jobs.x": "import ray\nray.init()"}),
    ("torch-load", {"reid.x": "import torch\ntorch.load('x', weights_only=True)"}),
    ("foreign-code", {"reid.x": "model.eval()", "tests.x": "import pickle\npickle.loads(b'')"}),
]


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """Every source file of the product and its tests."""
    found = []
    for path in sorted(p for room in (*PRODUCT, "tests") for p in (ROOT / room).rglob("*.py")):
        relative = path.relative_to(ROOT)
        parts = list(relative.with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found.append(parse(name, path.read_text(encoding="utf-8"), str(relative), is_package))
    assert any(m.name == "reid.config" for m in found), "the source tree was not found"
    return found


def tracked_files() -> list[Path]:
    """What git would publish; new files count before they are added."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: there is no list of tracked files")
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds(rule: str, modules: list[Module]) -> None:
    complaints = RULES[rule](modules)
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(("rule", "sources"), PLANTED)
def test_a_planted_violation_is_caught(rule: str, sources: dict[str, str]) -> None:
    assert RULES[rule]([parse(name, source) for name, source in sources.items()])


@pytest.mark.parametrize(("rule", "sources"), ALLOWED)
def test_what_is_allowed_passes(rule: str, sources: dict[str, str]) -> None:
    assert RULES[rule]([parse(name, source) for name, source in sources.items()]) == []


def test_tracked_files_name_no_package_host_and_no_machine() -> None:
    complaints = []
    for path in tracked_files():
        data = path.read_bytes()
        if b"\0" not in data:
            text = data.decode("utf-8", errors="replace")
            complaints += [f"{path.relative_to(ROOT)}: {c}" for c in no_foreign_places(text)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(
    "line",
    [
        "https://files.python" + "hosted.org/packages/x.whl",
        "--extra-index" + "-url https://host/simple",
        "image: ghcr" + ".io/someone/image",
        "open('/" + "home/someone/data.csv')",
        "root=/" + "Users/someone",
        f"data = '{ROOT}/runs'",
    ],
)
def test_a_planted_host_or_path_is_caught(line: str) -> None:
    if str(ROOT) in line and len(ROOT.parts) <= 2:
        pytest.skip("the checkout is a top-level folder: its path is too short to look for")
    assert no_foreign_places(line)


@pytest.mark.parametrize("line", ["s3://bucket/home/x", "~/.ray", "runs/home/x", "/app/reid"])
def test_ordinary_places_pass(line: str) -> None:
    assert no_foreign_places(line) == []
