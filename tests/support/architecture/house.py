"""How the house is kept: sizes of folders and files, private names, names of classes, the place of tests."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from tests.support.architecture.source import Module, imports, is_below, is_ours, product

MODULES_A_FOLDER = 15
ENTRIES_IN_REID = 19
LINES_A_FILE = 400
ONE_FILE_A_SUBJECT = ("reid/data/readers", "jobs")
"""A public layout or a verb each: as many files as there are."""

LOOSE = {"reid", "reid.errors"}
PLUGINS = ("reid.models", "reid.data.readers")
"""Each plug-in has its own class of these names."""
PLUGIN_CLASSES = {"Config", "Model", "Reader"}
PUBLIC_UNDERSCORES = {"_asdict", "_replace", "_fields"}  # of named tuples

NO_MIRROR = ("tests/support", "tests/golden", "tests/cluster", "tests/docs")
"""Folders of tests whose subject is no package."""
PLANTED = "tests.test_import_rules"
"""Has violations in strings, on purpose."""


def crowded_folders(modules: Sequence[Module]) -> list[str]:
    """Modules side by side; of tests, the test modules."""
    count: dict[str, int] = defaultdict(int)
    for m in modules:
        path = PurePosixPath(m.where)
        if not m.is_package and (is_ours(m.name) or path.name.startswith("test_")):
            count[str(path.parent)] += 1
    return [
        f"{folder}: {n} modules side by side; {MODULES_A_FOLDER} are enough"
        for folder, n in count.items()
        if n > MODULES_A_FOLDER and not any(folder in (f, f"tests/{_subject(f)}") for f in ONE_FILE_A_SUBJECT)
    ]


def top_of_reid(modules: Sequence[Module]) -> list[str]:
    """Few entries, and nothing loose but the ground."""
    below = [m for m in modules if is_below(m.name, "reid")]
    loose = {m.name for m in below if m.where.count("/") == 1} - LOOSE
    entries = {m.where.split("/")[1] for m in below}
    return [f"{name}: put it into the folder of its subject" for name in sorted(loose)] + [
        f"reid/ has {len(entries)} entries, more than {ENTRIES_IN_REID}"
    ] * (len(entries) > ENTRIES_IN_REID)


def long_files(modules: Sequence[Module]) -> list[str]:
    return [
        f"{m.where}: {m.lines} lines, more than {LINES_A_FILE}" for m in modules if m.lines > LINES_A_FILE
    ]


def private_names(modules: Sequence[Module]) -> list[str]:
    """`other._name` belongs to the class that defines it; `from module import _name` to that module."""
    found = []
    for m in product(modules):
        for i in imports(m):
            taken = [n for n in i.names if _is_private(n) and is_ours(i.target)]
            found += [f"{m.where}:{i.line}: {name} is private to {i.target}" for name in taken]
        for node, own in _attributes(m.tree, frozenset()):
            mine = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            mine = mine or ast.unparse(node.value) == "super()"
            if _is_private(node.attr) and not mine and node.attr not in own | PUBLIC_UNDERSCORES:
                found.append(
                    f"{m.where}:{node.lineno}: {ast.unparse(node)} is private; give it a public name"
                )
    return found


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _attributes(node: ast.AST, own: frozenset[str]) -> Iterator[tuple[ast.Attribute, frozenset[str]]]:
    """Attributes with the names that the classes around them define."""
    if isinstance(node, ast.ClassDef):
        own |= {n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
        own |= {
            n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)
        }
        own |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    if isinstance(node, ast.Attribute):
        yield node, own
    for child in ast.iter_child_nodes(node):
        yield from _attributes(child, own)


def names_of_classes(modules: Sequence[Module]) -> list[str]:
    """One public class a name."""
    homes: dict[str, list[str]] = defaultdict(list)
    for m in product(modules):
        for node in m.tree.body:
            if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
                continue
            if not (node.name in PLUGIN_CLASSES and any(is_below(m.name, p) for p in PLUGINS)):
                homes[node.name].append(m.where)
    return [f"{name}: {' and '.join(at)}; qualify one of them" for name, at in homes.items() if len(at) > 1]


def tests_import_no_tests(modules: Sequence[Module]) -> list[str]:
    """Helpers live in tests/support; a test, or a conftest, is nobody's library. Code in strings counts."""
    found = []
    for m in modules:
        if not is_below(m.name, "tests"):
            continue
        for line, target in _imports_of_tests(m):
            last = target.split(".")[1:]
            if any(part == "conftest" or part.startswith("test_") for part in last):
                found.append(f"{m.where}:{line}: {target} is no helper; move what is shared to tests/support")
    return found


def _imports_of_tests(module: Module) -> Iterator[tuple[int, str]]:
    for i in imports(module):
        for spelling in i.spellings():
            if is_below(spelling, "tests"):
                yield i.line, spelling
    for node in ast.walk(module.tree) if module.name != PLANTED else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for line in node.value.splitlines():
                words = line.split()
                if words[:1] in (["from"], ["import"]) and len(words) > 1 and is_below(words[1], "tests"):
                    yield node.lineno, words[1]


def tests_mirror_the_tree(modules: Sequence[Module]) -> list[str]:
    """A folder of tests is named like the folder it tests: tests/data is of reid/data."""
    folders = {m.where.rpartition("/")[0] for m in product(modules)}
    subjects = {_subject(folder) for folder in folders}
    tests = {m.where.rpartition("/")[0] for m in modules if is_below(m.name, "tests")} - {"tests"}
    return [
        f"{folder}: there is no reid/{_subject(folder)} that it would test"
        for folder in sorted(tests)
        if not folder.startswith(NO_MIRROR) and _subject(folder) not in subjects
    ]


def _subject(folder: str) -> str:
    """tests/data and reid/data are of one subject; so are tests/pipelines and pipelines."""
    return folder.removeprefix("tests/").removeprefix("reid/")
