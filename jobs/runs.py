"""See training runs: list them, show one, compare several, follow one.

Reads run folders that are finished, running or interrupted, local or s3://: one, a folder of them
(<workdir>/train/<name>, <workdir>/train) or a working folder. Writes nothing but the page that --html names.
The first word says what: list, show, compare or tail.

Example:

  python -m jobs.runs list runs
  python -m jobs.runs compare runs/train/mine --html curves.html
"""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from jobs.common import DebugOption, run_verb
from reid.errors import UsageError

SUB_VERBS = ("list", "show", "compare", "tail")
"""The first word: `main_<word>` in jobs/runs_<word>.py."""


def runs(
    word: Annotated[str | None, typer.Argument(help="list, show, compare or tail.", metavar="WORD")] = None,
    debug: DebugOption = False,
) -> None:
    """Tell which words there are: each of list, show, compare and tail is a verb of its own."""
    from reid.config.typed import did_you_mean

    if word is None:
        raise UsageError(f"Say what: python -m jobs.runs {' | '.join(SUB_VERBS)}.")
    raise UsageError(f"Unknown word {word!r}.{did_you_mean(word, SUB_VERBS)}")


def main(program: str = "python -m jobs.runs") -> None:
    """Run the sub-verb that the first word names; `program` is how the usage line calls it."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word not in SUB_VERBS:
        run_verb(runs, program)
        return
    sys.argv = [f"{sys.argv[0]} {word}", *sys.argv[2:]]
    verb = getattr(importlib.import_module(f"jobs.runs_{word}"), f"main_{word}")
    run_verb(verb, f"{program} {word}")


if __name__ == "__main__":
    main()
