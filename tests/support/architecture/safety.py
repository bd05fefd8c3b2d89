"""What no source file may do: start Ray outside the verbs, run foreign code, name places of one machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from tests.support.architecture.source import (
    Module,
    calls,
    imports_at_import_time,
    is_below,
    is_ours,
)
from tests.support.places import ROOT

# Seconds of import time, and present only where somebody uses them: imported inside functions.
HEAVY = ("open_clip", "transformers", "segment_anything", "matplotlib", "torchvision")
PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}

_REGISTRIES = ("py" + "pi", "python" + "hosted", "npm" + "js", "docker", "ghcr", "quay")  # no host in full
HOSTS = re.compile(
    r"--(?:extra-)?index-url[ =]|--find-links[ =]|--trusted[-]host|\.dkr\.ecr\.|\.pkg\.dev"
    rf"|\b(?:{'|'.join(_REGISTRIES)})\.(?:org|io|com)\b"
)
MACHINE_PATHS = re.compile(r"(?<![\w.:/~-])/(?:root|home|Users)/\w")


def heavy_at_the_top(modules: Sequence[Module]) -> list[str]:
    return [
        f"{m.where}:{i.line}: import {library} inside the function that needs it"
        for m in modules
        if is_ours(m.name)
        for i in imports_at_import_time(m)
        for library in HEAVY
        if is_below(i.target, library)
    ]


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
