"""Count what a shard set holds: identities, cameras, modalities, sizes, captions.

Reads the tables of a shard set, not its pictures: its folder, or the one that a configuration builds.
Prints the numbers and what was set aside. Writes stats.html and stats.json to the set, or to --out.

Example:

  python -m jobs.build stats runs/shards/synthetic/2a7bda001c3b
"""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.build_preview import UriArgument, set_uri
from jobs.common import ConfigOption, DebugOption, JsonOption, PresetOption, run_verb, show


def main_stats(
    given: UriArgument = None,
    out: Annotated[
        str | None,
        typer.Option(help="Folder for stats.html and stats.json; default: the set's own."),
    ] = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print the numbers, and write them as stats.html and stats.json. Pictures are not read."""
    from pipelines.progress import Progress
    from reid import storage
    from reid.data.shards.shard_set import ShardSet
    from reid.dataset.report.statistics import statistics
    from reid.dataset.report.statistics_page import render_statistics, text_lines

    shards = ShardSet.open(set_uri(given, config, preset))
    total = int(shards.stored.numbers("rows").sum())
    found = statistics(shards, watch=Progress("stats", total).add)
    folder = storage.absolute(out) if out else shards.root
    page, data = storage.join(folder, "stats.html"), storage.join(folder, "stats.json")
    storage.write_json(data, found)
    storage.write_bytes(page, render_statistics(found).encode())
    show({**found, "page": page, "json": data}, as_json, [*text_lines(found), page])


if __name__ == "__main__":
    run_verb(main_stats)
