"""All verbs by one name: `anyreid VERB …`, or `python -m jobs VERB …`."""

from __future__ import annotations

import importlib
import sys

from jobs.listing import overview, verbs
from reid import __version__


def main(program: str = "anyreid") -> None:
    """Run the verb that the first argument names, as `python -m jobs.<verb>` does; or list the verbs."""
    word = sys.argv[1] if len(sys.argv) > 1 else None
    if word in ("--help", "-h", "help"):
        print(overview(program))
    elif word == "--version":
        print(f"anyreid {__version__}")
    elif word is None:
        print(overview(program), file=sys.stderr)
        sys.exit(2)
    elif word in verbs():
        _run(word, f"{program} {word}")
    else:
        from reid.config.typed import did_you_mean

        print(f"error: Unknown verb {word!r}.{did_you_mean(word, list(verbs()))}", file=sys.stderr)
        sys.exit(2)


def _run(verb: str, program: str) -> None:
    module = importlib.import_module(f"jobs.{verb}")
    sys.argv = [program, *sys.argv[2:]]
    if hasattr(module, "main"):  # a verb with verbs of its own
        module.main(program)
        return
    from jobs.common import run_verb

    run_verb(getattr(module, verb), program)


if __name__ == "__main__":
    main("python -m jobs")
