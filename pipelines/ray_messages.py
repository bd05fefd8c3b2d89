"""What Ray's own processes tell a driver: one plain line of what matters, and nothing of the rest.

Ray prints them to stdout, whatever `log_to_driver` says: when a node dies, fifty lines of its state.
"""

from __future__ import annotations

import re
from typing import Any

from pipelines.progress import Say, say

_NODE = re.compile(r"node with node id: (\w+) and address: (\S+)")
_DIED = "Raylet is terminated"
"""Begins a guess at causes, after which the node's own message comes."""
_MATTERS = re.compile(r"memory pressure|out of memory|OOM|disk|No available node types")
_LONGEST = 200


def tell_plainly(out: Say = say) -> None:
    """From now on, messages to this driver go through `plain`."""
    from ray._private import worker

    def tell(data: dict[str, Any], ignore_prefix: bool) -> None:
        for message in data["lines"]:
            if (line := plain(message)) is not None:
                out(line)

    worker.print_to_stdstream = tell


def plain(message: str) -> str | None:
    """A line for a person, or None.

    >>> plain("The node with node id: 30e92bc8c089 and address: 10.0.0.7 has been marked dead …")
    'ray: node 30e92bc8 (10.0.0.7) is lost'
    >>> plain("Raylet is terminated. Possible reasons include: the system's OOM killer") is None
    True
    """
    if node := _NODE.search(message):
        return f"ray: node {node[1][:8]} ({node[2]}) is lost"
    first = message.strip().partition("\n")[0]
    return f"ray: {first[:_LONGEST]}" if _MATTERS.search(first) and not first.startswith(_DIED) else None
