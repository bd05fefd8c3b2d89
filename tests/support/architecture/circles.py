"""No circles: not of modules, not of folders, and none that hides behind a name in a string."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tests.support.architecture.source import Module, calls, imports_at_run_time, is_ours, product

LOOKUPS = {
    "reid": "the public face imports what is asked of it",
    "reid.config.typed": "sections of plug-ins by their name",
    "reid.config.addresses": "hashes the sources that a run's name depends on",
    "reid.data.readers.base": "the reader that the configuration names",
    "reid.doctor.data.layout": "asks every reader",
    "reid.doctor.machine.packages": "whether libraries load",
    "reid.generate.fingerprints": "generators register when they are imported",
    "reid.modality": "loads no registry before it is asked",
    "reid.modality.registry": "the entries of modalities, ours and of installed packages",
    "reid.models.registry": "the system that the configuration names",
    "reid.runs.convert.base": "the converter of a system",
    "jobs.__main__": "the verb that the command line names",
    "jobs.build": "the verbs below build",
    "jobs.runs": "the verbs below runs",
}
"""Modules that may import by a name that is known when they run only."""


def circles_of_modules(modules: Sequence[Module]) -> list[str]:
    """Imports inside functions count; those for type checkers alone do not."""
    return [" -> ".join(circle) for circle in circles(_graph(modules))]


def circles_of_folders(modules: Sequence[Module]) -> list[str]:
    """What stands side by side in one folder, folders and modules, each with all that is below it."""
    siblings: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, targets in _graph(product(modules)).items():
        for target in targets:
            a, b = name.split("."), target.split(".")
            common = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
            if common:  # None: one lies in the other
                siblings[".".join(a[:common])][a[common]].add(b[common])
    return [
        f"{folder}: {' -> '.join(circle)}" for folder, graph in siblings.items() for circle in circles(graph)
    ]


def _graph(modules: Sequence[Module]) -> dict[str, set[str]]:
    """Module -> the modules it imports. A package's __init__ is a module like others."""
    known = {m.name for m in modules}
    # `from package import submodule` depends on no name that the package itself defines.
    return {
        m.name: {t for i in imports_at_run_time(m) for t in i.meant(known) if t in known} - {m.name}
        for m in modules
    }


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


def imports_by_name(modules: Sequence[Module]) -> list[str]:
    """`import_module` where an import line would do, or in a module that is not declared as a lookup."""
    found = []
    for m in product(modules):
        for call, name in calls(m):
            if name not in {"importlib.import_module", "__import__", "builtins.__import__"} or not call.args:
                continue
            asked = call.args[0]
            constant = asked.value if isinstance(asked, ast.Constant) else None
            if isinstance(constant, str) and is_ours(constant):
                found.append(f"{m.where}:{call.lineno}: write `import {constant}`; this hides an arrow")
            elif constant is None and m.name not in LOOKUPS:
                found.append(f"{m.where}:{call.lineno}: {m.name} is not declared as a lookup (LOOKUPS)")
    return found
