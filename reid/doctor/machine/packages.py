"""Python and the packages: versions against the project's ranges, and whether the compiled ones load."""

from __future__ import annotations

import importlib
import platform
import tomllib
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from reid.doctor.finding import Check

PROJECT = "anyreid"
COMPILED = ("numpy", "pyarrow", "PIL", "torch", "torchvision", "faiss", "lance", "ray")
"""Modules with compiled parts: a version may fit and the module still not load."""
_INSTALL = "make install, or pip install --require-hashes -r requirements.lock"


def requirements() -> tuple[str, list[str]]:
    """(requires-python, requirements) of the pyproject.toml beside the sources, else as installed."""
    file = Path(__file__).resolve().parents[3] / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        return str(project["requires-python"]), list(project["dependencies"])
    try:
        package = metadata.metadata(PROJECT)
        listed = metadata.requires(PROJECT) or []
    except metadata.PackageNotFoundError:
        return "", []
    return package["Requires-Python"] or "", [one for one in listed if "extra ==" not in one]


def package_checks(
    python: str, wanted: Sequence[str], version_of: Callable[[str], str] = metadata.version
) -> Iterator[Check]:
    """Python, and every package that is missing or out of range; one line when all fit."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    running = platform.python_version()
    if SpecifierSet(python).contains(running, prereleases=True):
        yield Check("python", "ok", f"Python {running} ({platform.machine()}, {platform.system()})")
    else:
        yield Check(
            "python", "fail", f"Python {running}, the project needs {python}", "make a new .venv with it"
        )
    if not wanted:
        yield Check(
            "packages", "warn", "no list of requirements found", "run from a checkout, or install the project"
        )
        return
    bad = 0
    for one in map(Requirement, wanted):
        if one.marker is not None and not one.marker.evaluate():
            continue
        try:
            version = version_of(one.name)
        except metadata.PackageNotFoundError:
            bad += 1
            yield Check(f"package {one.name}", "fail", f"missing, the project needs {one}", _INSTALL)
            continue
        if not one.specifier.contains(version, prereleases=True):
            bad += 1
            yield Check(
                f"package {one.name}", "fail", f"{version}, the project needs {one.specifier}", _INSTALL
            )
    if not bad:
        yield Check("packages", "ok", f"{len(wanted)} packages fit the project's ranges")


def import_checks(modules: Sequence[str] = COMPILED) -> Iterator[Check]:
    """Every module that does not load; one line when all do."""
    bad = 0
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken binary raises whatever its loader raises
            bad += 1
            why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            yield Check(f"import {name}", "fail", why, _INSTALL)
    if not bad:
        yield Check("imports", "ok", f"{', '.join(modules)} load")
