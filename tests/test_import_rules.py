"""The design's arrows, the order of the house, and a few rules of safety, checked in the source.

Every rule is a function from parsed modules to complaints (tests/support/architecture); each has a test over
this repository and planted violations that it must catch.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.architecture import arrows, circles, house, safety, spelled
from tests.support.architecture.safety import no_foreign_places
from tests.support.architecture.source import Module, Rule, every_module, parse
from tests.support.places import ROOT

RULES: dict[str, Rule] = {
    "arrows": arrows.arrows,
    "unused-arrows": arrows.unused,
    "libraries": arrows.libraries(arrows.FOREIGN),
    "circles": circles.circles_of_modules,
    "circles-of-folders": circles.circles_of_folders,
    "imports-by-name": circles.imports_by_name,
    "crowded-folders": house.crowded_folders,
    "top-of-reid": house.top_of_reid,
    "long-files": house.long_files,
    "private-names": house.private_names,
    "names-of-classes": house.names_of_classes,
    "tests-import-no-tests": house.tests_import_no_tests,
    "tests-mirror-the-tree": house.tests_mirror_the_tree,
    "heavy": safety.heavy_at_the_top,
    "ray-init": safety.ray_starts_in_jobs,
    "torch-load": safety.torch_load_is_safe,
    "foreign-code": safety.nothing_runs_foreign_code,
    "spelled-modalities": spelled.spelled_modalities,
}

PLANTED: list[tuple[str, dict[str, str]]] = [
    ("arrows", {"reid.data.x": "from reid import models"}),
    ("arrows", {"reid.data.x": "from pipelines import dataset"}),
    ("arrows", {"reid.gallery.x": "def f():\n    from reid.models.base import Regime"}),
    ("arrows", {"reid.evaluate.x": "from ..models import base"}),
    ("arrows", {"reid.evaluate.x": "if TYPE_CHECKING:\n    from reid.runs.run import Run"}),
    ("arrows", {"reid.nn.x": "import reid.models.base"}),
    ("arrows", {"reid.nn.x": "from reid.data.batches.collate import collate"}),
    ("arrows", {"reid.models.x": "import reid.train"}),
    ("arrows", {"reid.models.x": "from reid import load"}),
    ("arrows", {"reid.config.x": "from reid.data import shards"}),
    ("arrows", {"reid.errors": "from reid import storage"}),
    ("arrows", {"reid.config.typed": "def f():\n    import reid.models.base"}),
    ("arrows", {"reid.train.x": "import pipelines.training.train"}),
    ("arrows", {"pipelines.training.train": "from jobs.train import main"}),
    ("arrows", {"pipelines.embed": "from pipelines import index"}),
    ("arrows", {"jobs.x": "import reid.nn.towers"}),
    ("arrows", {"reid.newcomer.x": ""}),
    ("libraries", {"reid.x": "def f():\n    import ray.data"}),
    ("libraries", {"reid.x": "from ray import data"}),
    ("circles", {"reid.a": "from reid import b", "reid.b": "from reid.a import f"}),
    ("circles", {"reid.a": "from reid import b", "reid.b": "def f():\n    import reid.a"}),
    ("circles", {"reid.a": "import reid.b", "reid.b": "import reid.c", "reid.c": "import reid.a"}),
    (
        "circles",
        {"reid.a": "if TYPE_CHECKING:\n    x = 1\nelse:\n    import reid.b", "reid.b": "import reid.a"},
    ),
    (
        "circles-of-folders",
        {
            "reid.runs.a": "import reid.train.a",
            "reid.train.b": "def f():\n    from reid.runs import b",
            "reid.train.a": "",
            "reid.runs.b": "",
        },
    ),
    (
        "circles-of-folders",
        {
            "pipelines.serve.a": "import pipelines.embed",
            "pipelines.embed": "import pipelines.serve.b",
            "pipelines.serve.b": "",
        },
    ),
    ("imports-by-name", {"reid.x": "import importlib as i\ni.import_module('reid.train.loop')"}),
    ("imports-by-name", {"reid.models.registry": "__import__('reid.train.loop')"}),
    ("imports-by-name", {"reid.x": "from importlib import import_module\nimport_module(f'reid.{name}')"}),
    ("crowded-folders", {f"reid.data.m{n}": "" for n in range(16)}),
    ("crowded-folders", {f"tests.data.test_m{n}": "" for n in range(16)}),
    ("top-of-reid", {"reid.helpers": ""}),
    ("top-of-reid", {f"reid.room{n}.x": "" for n in range(20)}),
    ("long-files", {"reid.data.x": "\n" * 401}),
    ("long-files", {"tests.data.test_x": "\n" * 401}),
    ("private-names", {"pipelines.x": "def f(log):\n    return log._lines"}),
    ("private-names", {"reid.x": "from reid.data.images import _decode"}),
    ("private-names", {"reid.x": "class A:\n    _a = 1\nclass B:\n    def f(self, a):\n        return a._a"}),
    ("names-of-classes", {"reid.a": "class Plan:\n    pass", "pipelines.b": "class Plan:\n    pass"}),
    ("names-of-classes", {"reid.a": "class Reader:\n    pass", "reid.b": "class Reader:\n    pass"}),
    ("tests-import-no-tests", {"tests.a.test_x": "from tests.b.test_y import helper"}),
    ("tests-import-no-tests", {"tests.a.test_x": "from tests.b import test_y as helpers"}),
    ("tests-import-no-tests", {"tests.support.x": "def f():\n    import tests.a.conftest"}),
    ("tests-import-no-tests", {"tests.a.test_x": "CODE = 'import sys\\nfrom tests.a.test_x import *'"}),
    ("tests-mirror-the-tree", {"tests.datasets.test_x": "", "reid.dataset.x": ""}),
    ("heavy", {"reid.x": "try:\n    import open_clip\nexcept ImportError:\n    pass"}),
    ("heavy", {"jobs.x": "class A:\n    from matplotlib import pyplot"}),
    ("ray-init", {"pipelines.x": "import ray\ndef f():\n    ray.init()"}),
    ("ray-init", {"pipelines.x": "from ray import init as start\nstart()"}),
    ("torch-load", {"tests.x": "import torch\ntorch.load('x')"}),
    ("torch-load", {"reid.x": "from torch import load\nload('x', weights_only=False)"}),
    ("foreign-code", {"tests.x": "eval('1')"}),
    ("foreign-code", {"reid.x": "import pickle as p\np.loads(b'')"}),
    ("foreign-code", {"reid.x": "import numpy as np\nnp.load('x', allow_pickle=True)"}),
    ("spelled-modalities", {"reid.dataset.x": "from reid.modality import Target as T\nreid.Target.NIR"}),
    ("spelled-modalities", {"pipelines.x": "order = ['tir']"}),
    ("spelled-modalities", {"jobs.x": "f('nir->rgb|nir')"}),
    ("spelled-modalities", {"reid.data.readers.folder.x": "names = {'sketch': 1}"}),
]

PASSING: list[tuple[str, dict[str, str]]] = [
    ("arrows", {"jobs.x": "import ray, pipelines.dataset.build"}),
    ("arrows", {"reid.config.x": "from reid.errors import ConfigError\nfrom reid import modality"}),
    ("arrows", {"reid.nn.x": "from reid.data.batches.batch import Batch"}),
    ("arrows", {"reid.dataset.x": "from reid import __version__, storage"}),
    ("libraries", {"reid.rayleigh": "import rayon", "pipelines.x": "import ray"}),
    ("circles", {"reid.a": "from reid import b", "reid": "import reid.a", "reid.b": ""}),
    ("circles", {"reid.a": "import reid.b", "reid.b": "if TYPE_CHECKING:\n    import reid.a"}),
    ("circles-of-folders", {"reid.data": "import reid.data.a", "reid.data.a": "import reid.data.b.c"}),
    ("imports-by-name", {"reid.models.registry": "import importlib\nimportlib.import_module(name)"}),
    ("imports-by-name", {"reid.x": "import importlib\nimportlib.import_module('faiss')"}),
    ("crowded-folders", {f"reid.data.readers.m{n}": "" for n in range(16)}),
    ("crowded-folders", {f"tests.data.readers.test_m{n}": "" for n in range(16)}),
    ("private-names", {"reid.x": "class A:\n    _a = 1\n    def f(self, other):\n        return other._a"}),
    ("names-of-classes", {f"reid.models.{m}": "class Model:\n    pass" for m in "ab"}),
    ("names-of-classes", {f"reid.{m}": "class _Row:\n    pass" for m in "ab"}),
    ("tests-mirror-the-tree", {"tests.data.test_x": "", "reid.data.x": "", "tests.cluster.test_x": ""}),
    ("heavy", {"reid.x": "def f():\n    import open_clip"}),
    ("heavy", {"reid.x": "if TYPE_CHECKING:\n    import transformers"}),
    ("ray-init", {"jobs.x": "import ray\nray.init()"}),
    ("torch-load", {"reid.x": "import torch\ntorch.load('x', weights_only=True)"}),
    ("foreign-code", {"reid.x": "model.eval()", "tests.x": "import pickle\npickle.loads(b'')"}),
    ("spelled-modalities", {"reid.models.x.model": "'rgb+nir'", "reid.data.readers.rgbnt100": "'tir'"}),
    ("spelled-modalities", {"reid.dataset.x": "Modality.TEXT\nf('give rgb or nir', 'text')"}),
]


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """Every source file of the product and its tests."""
    found = every_module()
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


@pytest.mark.parametrize(("rule", "sources"), PASSING)
def test_what_is_allowed_passes(rule: str, sources: dict[str, str]) -> None:
    assert RULES[rule]([parse(name, source) for name, source in sources.items()]) == []


def test_an_arrow_that_nobody_needs_any_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrows, "ALLOWED", {"reid.a": ("reid.b", "reid.c"), "reid.b": (), "reid.c": ()})
    needed = [parse("reid.a.x", "import reid.b.x"), parse("reid.b.x", "")]
    assert arrows.unused(needed) == [
        "no room reid.c: delete its row",
        "reid.a imports no reid.c: delete it from its row",
    ]


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
