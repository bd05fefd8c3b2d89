"""Who may import whom: one table for all rooms of the product (design, section 1).

A room is a folder or a module right below `reid` or `pipelines`; `jobs` is one room. What a row does not
name, its room does not import, in functions neither. A name that is longer than a room's allows no more
than that part of it. A new room needs a row here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.support.architecture.source import Module, Rule, imports, is_below, is_ours, product

GROUND = ("reid.errors", "reid.modality")
BASE = (*GROUND, "reid.storage", "reid.config")
"""Below everything that has a subject."""

RUNNING = (
    "pipelines.placement",
    "pipelines.progress",
)
"""How any pipeline runs on Ray: what it asks for, what it says and what it does while it waits."""

ALLOWED: dict[str, tuple[str, ...]] = {
    "reid.errors": (),
    "reid.modality": ("reid.errors",),
    "reid.comparison": (*GROUND, "reid.config.typed"),  # a calibration is read as strictly as a configuration
    "reid.storage": ("reid.errors",),
    "reid.config": (*GROUND, "reid.storage"),  # addresses: where outputs go
    "reid.data": BASE,
    "reid.nn": (
        *BASE,
        "reid.data.batches.batch",  # the class bias takes the cameras of a batch
        "reid.data.batches.host_labels",  # shapes follow from labels in main memory
    ),
    "reid.generate": (
        *BASE,
        "reid.data",
        "reid.nn.unet",  # the networks of generators are blocks like others,
        "reid.nn.towers.checkpoint_kinds",  # which network a file of weights is of
    ),
    "reid.evaluate": (*BASE, "reid.comparison", "reid.data"),
    "reid.dataset": (
        *BASE,
        "reid",  # the version that a set was built with
        "reid.data",
        "reid.generate",
        "reid.evaluate.report.pages",  # pages of a set look like pages of a report
    ),
    "reid.gallery": (
        *GROUND,
        "reid.comparison",  # who is compared with whom in a mixed gallery
        "reid.storage",
        "reid.data.labels",  # ids are compared as readers compare labels
    ),
    "reid.models": (
        *GROUND,
        "reid.comparison",  # what a model says of a pair
        "reid.config",
        "reid.data.batches.batch",
        "reid.data.batches.host_labels",
        "reid.nn",
    ),
    "reid.runs": (
        *BASE,
        "reid.comparison.terms",  # two captures are compared, or not
        "reid.data",
        "reid.comparison.calibration",  # a run folder keeps its calibration
        "reid.evaluate.report.pages",  # pages of curves look like pages of a report
        "reid.evaluate.several_samples",  # a query's vector is what an evaluation's is
        "reid.models",
        "reid.nn.classifier",  # a run without its classifiers
        "reid.nn.parameters",
        "reid.nn.towers.checkpoint_kinds",  # which network a public checkpoint is of
    ),
    "reid.train": (
        *BASE,
        "reid.data",
        "reid.evaluate",  # validation and calibration
        "reid.comparison",  # what is calibrated depends on what can be compared
        "reid.models",
        "reid.nn",
        "reid.runs",
    ),
    "reid.retrieve": (
        *BASE,
        "reid.comparison.mixed",  # which vectors an item needs
        "reid.data",
        "reid.comparison.calibration",  # how sure a hit is
        "reid.evaluate.several_samples",  # a query's vector is what an evaluation's is
        "reid.gallery",
        "reid.generate.registry",  # masks and captions of queries are made as those of the training set
        "reid.runs",
    ),
    "reid.studies": (
        *BASE,
        "reid.data",
        "reid.dataset",
        "reid.evaluate",
        "reid.generate",  # benchmarks run its networks
        "reid.models",
        "reid.nn",
        "reid.runs",
        "reid.train",  # benchmarks run its step
    ),
    "reid.preflight": (  # asks every room what it would refuse
        *BASE,
        "reid.comparison",  # what is measured and indexed depends on it
        "reid.data",
        "reid.dataset.recipe",
        "reid.evaluate",
        "reid.generate.registry",
        "reid.models.base",
        "reid.runs",
        "reid.studies.ladders",
        "reid.train",
    ),
    "reid.doctor": (
        *BASE,
        "reid.data",
        "reid.evaluate",
        "reid.preflight",  # what verbs would refuse of a configuration
        "reid.runs.identities",  # the doctor refuses what training would refuse,
        "reid.train.validation.checks",  # by the same functions
    ),
    "reid": (  # the public face: it shows what others make
        *BASE,
        "reid.data",
        "reid.gallery",
        "reid.retrieve",
        "reid.runs",
        "reid.train",
    ),
    "pipelines.progress": (),
    "pipelines.context": (),
    "pipelines.tracebacks": ("reid.storage",),
    "pipelines.ray_messages": ("pipelines.progress",),
    "pipelines.cells": (),
    "pipelines.task_blocks": (),
    "pipelines.stopping": (),
    "pipelines.placement": ("pipelines.progress", "reid.config", "reid.errors", "reid.storage"),
    "pipelines.dataset": (
        *BASE,
        *RUNNING,
        "pipelines.task_blocks",
        "pipelines.cells",
        "pipelines.context",
        "reid.data",
        "reid.dataset",
    ),
    "pipelines.training": (
        *BASE,
        *RUNNING,
        "pipelines.tracebacks",
        "reid.data",
        "reid.evaluate.protocols.choice",
        "reid.preflight",
        "reid.runs",
        "reid.train",
    ),
    "pipelines.trial_lines": RUNNING,
    "pipelines.tune": (
        *BASE,
        *RUNNING,
        "pipelines.stopping",
        "pipelines.training",
        "pipelines.trial_lines",
        "reid.data",
        "reid.preflight",
        "reid.train",
    ),
    "pipelines.embed": (
        *BASE,
        *RUNNING,
        "pipelines.cells",
        "pipelines.context",
        "reid.data",
        "reid.evaluate",
        "reid.runs",
    ),
    "pipelines.evaluation": (
        *BASE,
        *RUNNING,
        "pipelines.context",
        "pipelines.embed",
        "reid.comparison.mixed",  # which pairs of subsets are calibrated
        "reid.data",
        "reid.evaluate",
        "reid.preflight.pairings",
        "reid.runs",
    ),
    "pipelines.gallery_rows": (
        *BASE,
        *RUNNING,
        "pipelines.cells",
        "pipelines.context",
        "pipelines.embed",
        "reid.comparison",  # which vectors an item needs
        "reid.data",
        "reid.evaluate",
    ),
    "pipelines.index": (
        *BASE,
        *RUNNING,
        "pipelines.embed",
        "pipelines.gallery_rows",
        "reid.data",
        "reid.evaluate",
        "reid.gallery",
        "reid.preflight.gallery_subsets",
        "reid.runs",
    ),
    "pipelines.ablate": (
        *BASE,
        *RUNNING,
        "pipelines.embed",
        "pipelines.evaluation",
        "pipelines.training",
        "reid.evaluate",
        "reid.preflight",
        "reid.runs",
        "reid.studies.ladders",
    ),
    "pipelines.leaderboard": (
        *BASE,
        *RUNNING,
        "pipelines.dataset",
        "pipelines.evaluation",
        "pipelines.training",
        "reid.data",
        "reid.evaluate",
        "reid.models.base",
        "reid.preflight",
        "reid.runs",
        "reid.studies.leaderboard",
    ),
    "pipelines.serve": (
        *BASE,
        *RUNNING,
        "reid.data",
        "reid.gallery",
        "reid.models.registry",  # its benchmark makes a model
        "reid.retrieve",
        "reid.runs",
        "reid.studies.benchmarks.timing",
    ),
    "jobs": (  # verbs ask rooms with a subject; tensors are not their business
        *BASE,
        "pipelines",
        "reid",  # its version
        "reid.data",
        "reid.dataset",
        "reid.doctor",
        "reid.evaluate",
        "reid.gallery",
        "reid.preflight",
        "reid.retrieve",
        "reid.runs",
        "reid.studies",
        "reid.train",
    ),
}

# Libraries that are somebody else's business.
FOREIGN = {"reid": ("ray",)}


def room_of(name: str) -> str:
    """The room that a module of ours stands in."""
    return ".".join(name.split(".")[: 1 if is_below(name, "jobs") else 2])


def _allows(allowed: str, target: str) -> bool:
    # `reid` is the face, the module itself; below it is everything.
    return target == "reid" if allowed == "reid" else is_below(target, allowed)


def _arrows(modules: Sequence[Module]) -> Iterator[tuple[Module, int, str]]:
    """(module, line, what it imports) for each import across rooms; `target` is a module of ours."""
    known = {m.name for m in modules} | set(ALLOWED)
    for m in product(modules):
        for i in imports(m):
            for target in i.meant(known):
                if is_ours(target) and room_of(target) != room_of(m.name):
                    yield m, i.line, target


def arrows(modules: Sequence[Module]) -> list[str]:
    """Every import between rooms is in the table."""
    rows = {room_of(m.name): m for m in product(modules) if m.name != "pipelines"}
    return [
        f"{m.where}: the room {room} has no row in tests/support/architecture/arrows.py"
        for room, m in rows.items()
        if room not in ALLOWED
    ] + [
        f"{m.where}:{line}: {room_of(m.name)} must not import {target}"
        for m, line, target in _arrows(modules)
        if not any(_allows(a, target) for a in ALLOWED.get(room_of(m.name), ()))
    ]


def unused(modules: Sequence[Module]) -> list[str]:
    """What the table allows and no import needs any more; groups and the face excepted."""
    used = {
        (room_of(m.name), a)
        for m, _, t in _arrows(modules)
        for a in ALLOWED[room_of(m.name)]
        if _allows(a, t)
    }
    rooms = {room_of(m.name) for m in modules}
    return [f"no room {room}: delete its row" for room in ALLOWED if room not in rooms] + [
        f"{room} imports no {allowed}: delete it from its row"
        for room, row in ALLOWED.items()
        for allowed in row
        if (room, allowed) not in used and allowed not in (*BASE, *RUNNING) and room != "reid"
    ]


def libraries(forbidden: dict[str, tuple[str, ...]]) -> Rule:
    """No importer may import its forbidden libraries, at the top or inside a function."""

    def rule(modules: Sequence[Module]) -> list[str]:
        return [
            f"{m.where}:{i.line}: {m.name} must not import {library}"
            for m in modules
            for importer, names in forbidden.items()
            if is_below(m.name, importer)
            for i in imports(m)
            for library in names
            if any(is_below(spelling, library) for spelling in i.spellings())
        ]

    return rule
