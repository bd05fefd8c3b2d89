"""The verbs with a line each, read from the docstrings of their files; no verb is imported."""

from __future__ import annotations

import ast
from pathlib import Path

FOLDER = Path(__file__).parent
GROUPS = {
    "Data": ("doctor", "build", "translate"),
    "Models": ("train", "tune", "ablate", "convert", "describe"),
    "Measurement": ("runs", "evaluate", "leaderboard", "benchmark"),
    "Search": ("index", "search", "serve"),
    "All of it": ("demo",),
}
"""In the order of work. A verb that is in none is listed in a group of its own, at the end."""
_OTHERS = "More"


def verbs() -> dict[str, str]:
    """{verb: its first line}. A verb is a file that defines a function of the file's own name."""
    found = {}
    for file in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == file.stem for node in tree.body):
            found[file.stem] = _first_line(tree)
    return found


def sub_verbs(verb: str) -> dict[str, str]:
    """{word: its first line} of the files <verb>_<word>.py, e.g. `verify` of build."""
    return {
        file.stem.removeprefix(f"{verb}_"): _first_line(ast.parse(file.read_text(encoding="utf-8")))
        for file in sorted(FOLDER.glob(f"{verb}_*.py"))
    }


def grouped(names: dict[str, str]) -> dict[str, list[str]]:
    """Every verb in its group."""
    groups = {title: [name for name in members if name in names] for title, members in GROUPS.items()}
    others = [name for name in names if not any(name in members for members in groups.values())]
    return {**groups, _OTHERS: others} if others else groups


def overview(program: str) -> str:
    """What `anyreid --help` prints."""
    known = verbs()
    lines = [
        f"Usage: {program} VERB [OPTIONS] [KEY=VALUE]...",
        "",
        "Find a person, vehicle or object again with whatever there is of it: photo, infrared, thermal,",
        "sketch or sentence.",
    ]
    for title, names in grouped(known).items():
        lines += ["", f"{title}:"]
        for name in names:
            lines.append(f"  {name:<15} {known[name]}")
            lines += [f"    {f'{name} {word}':<13} {told}" for word, told in sub_verbs(name).items()]
    return "\n".join(
        [
            *lines,
            "",
            f"{program} VERB --help tells what a verb reads and writes, its options and an example.",
            f"{program} --version prints the version. python -m jobs.VERB is the same as {program} VERB.",
            "Exit codes: 0 fine, 1 failure, 2 wrong usage, 130 after Ctrl-C, 143 after SIGTERM.",
        ]
    )


def _first_line(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").partition("\n")[0]
