"""Names of modalities that generic code spells out instead of asking the registry."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from reid.modality import VISUAL
from tests.support.architecture.source import Module, is_below, product

MAY_SPELL = {
    "reid.modality.entries": "where they are defined",
    "reid.modality.names": "attributes for the modalities of published systems",
    "reid.modality.subsets": "which of them these are",
    "reid.models": "a paper's system takes what the paper takes",
    "reid.runs.convert": "the public checkpoints of those systems",
    "reid.data.synthetic": "a renderer draws what it can draw",
    "reid.data.readers": "a public layout has what it has, but not the readers of any data below",
    "reid.generate.infrared": "makes infrared",
    "reid.generate.sketch": "makes sketches",
    "reid.generate.caption": "a paper's captioner weights its three views",
    "reid.config.protocols.catalogue": "protocols of public data sets",
    "reid.studies.benchmarks": "measures systems and sets of its own",
    "reid.studies.crossing": "finds rendered photos by other rendered pictures",
    "reid.studies.leaderboard": "compares systems on the rendered set",
    "jobs.demo": "shows queries of the rendered set",
}
"""Code that is about certain modalities, and why."""
GENERIC = ("reid.data.readers.base", "reid.data.readers.folder", "reid.data.readers.exported")
"""Readers of any data."""
_NAMES = {m.value for m in VISUAL}
_ANY = "|".join([*_NAMES, "text"])
_WHOLE = re.compile(rf"({_ANY})((\+|\||->)({_ANY}))*")
"""A subset or a pairing, and nothing else; sentences may give examples."""
_WORDS = {"text", "depth"}
"""Alone they usually mean something else."""


def spelled_modalities(modules: Sequence[Module]) -> list[str]:
    """`Modality.NIR`, `Target.NIR`, "nir", "rgb+nir" in code that works for any modality; docstrings may."""
    return [
        f"{m.where}:{line}: {what}: ask the registry (reid.modality) which modality is meant"
        for m in product(modules)
        if not _may_spell(m.name)
        for line, what in _spelled(m.tree)
    ]


def _may_spell(name: str) -> bool:
    allowed = any(is_below(name, place) for place in MAY_SPELL)
    return allowed and not any(is_below(name, place) for place in GENERIC)


def _spelled(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.lower() in _NAMES:
            owner = ast.unparse(node.value).rpartition(".")[2]
            if owner in {"Modality", "Target"}:
                yield node.lineno, ast.unparse(node)
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and text not in _WORDS and _WHOLE.fullmatch(text):
            yield node.lineno, repr(text)
