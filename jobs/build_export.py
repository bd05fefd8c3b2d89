"""Write a shard set as plain files: pictures, masks, captions and lists.

Reads a shard set: its folder, or the one that a configuration builds. Writes a tree of folders to --to,
with the tables that other tools read (captions.json, manifest.jsonl). The same command goes on where it
stopped.

Example:

  python -m jobs.build export runs/shards/synthetic/2a7bda001c3b --to exported
"""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.build_preview import UriArgument, set_uri
from jobs.common import ConfigOption, DebugOption, JsonOption, PresetOption, run_verb, show
from reid.errors import UsageError


def main_export(
    given: UriArgument = None,
    to: Annotated[
        str | None, typer.Option(help="Folder or s3:// prefix: empty, or a stopped export of this set.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="train, val or test; may be given again; default: all.")
    ] = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write every row's files and the tables that other tools read; a stopped export goes on."""
    from pipelines.progress import Progress
    from reid.config.typed import did_you_mean
    from reid.data.shards.schema import SPLITS
    from reid.data.shards.shard_set import ShardSet
    from reid.dataset.transfer.export import export

    if to is None:
        raise UsageError("export: give --to FOLDER, an empty folder or s3:// prefix.")
    for name in split or ():
        if name not in SPLITS:
            raise UsageError(f"--split: unknown {name!r}.{did_you_mean(name, SPLITS)}")
    shards = ShardSet.open(set_uri(given, config, preset))
    chosen = [s for s in SPLITS if not split or s in split]
    progress = Progress("export", sum(shards.rows(s) for s in chosen))
    result = export(shards, to, chosen, progress.add)
    show(
        {"folder": result.folder, "rows": result.rows, "copied": result.copied, "splits": result.splits},
        as_json,
        [
            f"{result.folder}: {result.rows:,} rows ({', '.join(result.splits)}), {result.copied:,} new",
            f"  read it again with: python -m jobs.build import {result.folder}",
        ],
    )


if __name__ == "__main__":
    run_verb(main_export)
