"""Everything that the pages name exists: files, folders, modules, verbs, presets, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reid.config import presets
from tests.support.pages import DOCS
from tests.support.places import ROOT

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((ROOT / "cluster").glob("*.md"))]
LONGEST = {f"write-a-{what}.md": 60 for what in ("model", "reader", "generator", "protocol", "modality")}
"""Lines of the pages that are to be read in one go."""

_PATH = re.compile(r"(?<![\w./<>-])(?:reid|pipelines|jobs|tests|cluster|docs)/[\w./-]*\w/?")
_MODULE = re.compile(r"(?<![\w./-])(?:reid|pipelines)(?:\.[a-z]\w*)+")
_VERB = re.compile(r"(?<![\w.])jobs\.(\w+)")
_LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)(?:#[^)]*)?\)")
_PRESET = re.compile(r"--preset ([\w-]+/[\w-]+)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def named(page: Path, pattern: re.Pattern[str]) -> set[str]:
    """What a page names, by the pattern's first group or whole."""
    return {m[m.lastindex or 0] for m in pattern.finditer(page.read_text(encoding="utf-8"))}


def links(page: Path) -> set[str]:
    """The relative links of a page. Code has brackets, too."""
    return set(_LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))))


def is_module(name: str) -> bool:
    """Whether a dotted name is a module of ours, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if place.is_dir() and length == len(parts):
            return True
        if file.is_file():
            inner = parts[length:]
            return not inner or (
                len(inner) == 1
                and re.search(rf"\b{inner[0]}\b", file.read_text(encoding="utf-8")) is not None
            )
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_module_is_there(page: Path) -> None:
    paths = [p for p in named(page, _PATH) if not (ROOT / p).exists()]
    modules = [m for m in named(page, _MODULE) if not is_module(m)]
    assert sorted(paths + modules) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_verb_and_preset_is_there(page: Path) -> None:
    verbs = [v for v in named(page, _VERB) if not (ROOT / "jobs" / f"{v}.py").is_file()]
    assert sorted(verbs + [p for p in named(page, _PRESET) if p not in presets()]) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_resolves(page: Path) -> None:
    assert [link for link in links(page) if not (page.parent / link).exists()] == []


def test_every_page_is_reached_from_the_readme() -> None:
    seen, queue = set(), [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        if page not in seen:
            seen.add(page)
            found = [(page.parent / link).resolve() for link in links(page) if link.endswith(".md")]
            queue += [link for link in found if link.is_file()]
    assert [page.name for page in PAGES if page not in seen] == []


@pytest.mark.parametrize("page", LONGEST)
def test_the_pages_to_start_from_stay_short(page: str) -> None:
    assert len((DOCS / page).read_text(encoding="utf-8").splitlines()) <= LONGEST[page]


def test_what_is_not_there_would_be_found() -> None:
    text = "see `reid/no/such.py`, reid.models.nothing.here, `python -m jobs.nothing` and tests/support/"
    assert [p for p in _PATH.findall(text) if not (ROOT / p).exists()] == ["reid/no/such.py"]
    assert [m for m in _MODULE.findall(text) if not is_module(m)] == ["reid.models.nothing.here"]
    assert _VERB.findall(text) == ["nothing"]
