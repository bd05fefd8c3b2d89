"""Source files as the rules of architecture see them: parsed, never imported."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.support.places import ROOT

PRODUCT = ("reid", "pipelines", "jobs")


@dataclass(frozen=True)
class Module:
    """A parsed source file; `where` is its path in the repository."""

    name: str
    where: str
    tree: ast.Module
    lines: int = 0
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

    def meant(self, known: set[str]) -> list[str]:
        """The modules that it means: `from a import b, c` is a.b and a where a.b alone is `known`."""
        found = [f"{self.target}.{n}" if f"{self.target}.{n}" in known else self.target for n in self.names]
        return list(dict.fromkeys(found or [self.target]))


Rule = Callable[[Sequence[Module]], list[str]]
"""Parsed modules -> complaints."""


def parse(name: str, source: str, where: str | None = None, is_package: bool = False) -> Module:
    """A module of this name; without `where` it lies where its name says."""
    path = name.replace(".", "/") + ("/__init__.py" if is_package else ".py")
    return Module(name, where or path, ast.parse(source), len(source.splitlines()), is_package)


def every_module() -> list[Module]:
    """All source files of the product and of its tests."""
    found = []
    for path in sorted(p for folder in (*PRODUCT, "tests") for p in (ROOT / folder).rglob("*.py")):
        relative = path.relative_to(ROOT)
        parts = list(relative.with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found.append(parse(name, path.read_text(encoding="utf-8"), str(relative), is_package))
    return found


def is_below(name: str, ancestor: str) -> bool:
    """`ancestor` itself, or anything in it."""
    return name == ancestor or name.startswith(ancestor + ".")


def is_ours(name: str) -> bool:
    """Of the product."""
    return name.split(".")[0] in PRODUCT


def product(modules: Sequence[Module]) -> list[Module]:
    """Without the tests."""
    return [m for m in modules if is_ours(m.name)]


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _at_import_time(nodes: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """Statements that run on import: not function bodies, not type-checking blocks."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = [] if field == "body" and _is_type_checking(node) else getattr(node, field, [])
            for child in inner:
                if isinstance(child, ast.ExceptHandler | ast.match_case):
                    yield from _at_import_time(child.body)
                else:
                    yield from _at_import_time([child])


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Everything but the bodies of type-checking blocks."""
    yield node
    children = (
        node.orelse if isinstance(node, ast.If) and _is_type_checking(node) else ast.iter_child_nodes(node)
    )
    for child in children:
        yield from _at_run_time(child)


def imports(module: Module) -> Iterator[Import]:
    """All of them, wherever they stand."""
    return _imports(module, ast.walk(module.tree))


def imports_at_import_time(module: Module) -> Iterator[Import]:
    """Those that run when the module is imported."""
    return _imports(module, _at_import_time(module.tree.body))


def imports_at_run_time(module: Module) -> Iterator[Import]:
    """Those that ever run, in functions, too."""
    return _imports(module, _at_run_time(module.tree))


def _imports(module: Module, nodes: Iterator[ast.AST]) -> Iterator[Import]:
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
