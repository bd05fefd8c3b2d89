"""Every example in a docstring of the library runs, in a folder with a small finished project."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.support.places import ROOT
from tests.support.world import World, namespace

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples() -> list[str]:
    """Names of the library's modules whose source has an example."""
    files = [path for path in sorted((ROOT / "reid").rglob("*.py")) if ">>> " in path.read_text("utf-8")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    return [name.removesuffix(".__init__") for name in names]


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_do_what_they_show(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.folder)
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    told: list[str] = []
    tests = doctest.DocTestFinder().find(module, extraglobs=namespace(world))
    for test in tests:
        runner.run(test, out=told.append)
    assert runner.tries > 0, "an example that no docstring of a public name holds"
    assert runner.failures == 0, "".join(told)


def test_the_face_has_examples() -> None:
    """The runner finds what it should: a check of the check."""
    face = {"reid.runs.run", "reid.runs.contents", "reid.retrieve.retriever", "reid.retrieve.figure"}
    assert face | {"reid.train.shard_data"} <= set(modules_with_examples())


def test_a_wrong_example_is_told() -> None:
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    runner.run(test, out=lambda _: None)
    assert runner.failures == 1
