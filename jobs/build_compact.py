"""Copy a shard set into files of another size, e.g. many small ones into few large ones.

Reads the shard set URI. Writes the same rows as a new shard set to TO; the old set stays. Then train with
data.shards=TO. The same command goes on where it stopped.

Example:

  python -m jobs.build compact runs/shards/people/0123456789ab s3://bucket/people --rows-per-shard 4096
"""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.common import DebugOption, JsonOption, run_verb, show, start_ray


def main_compact(
    uri: Annotated[
        str, typer.Argument(help="the shard set, or a folder of sets (its newest): local or s3://")
    ],
    to: Annotated[str, typer.Argument(help="where the new set goes; then train with data.shards=<this>")],
    rows_per_shard: Annotated[int, typer.Option(min=1, help="most rows of a file")] = 4096,
    rows_per_group: Annotated[int, typer.Option(min=1, help="target rows of a row group")] = 64,
    workers: Annotated[
        int, typer.Option(min=0, help="0: in this process; otherwise on Ray, a file a task")
    ] = 0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Same rows, new layout. The old set stays; a stopped run goes on where it was."""
    from reid.data.shards.shard_set import ShardSet

    shards = ShardSet.open(uri)
    if workers:
        from reid.config import RayConfig

        start_ray(RayConfig(num_cpus=workers))
    from pipelines.dataset.compact import compact

    new = compact(shards, to, rows_per_shard, rows_per_group, parallel=bool(workers))
    sizes = [len(s.manifest.shards) for s in (shards, new)]
    show(
        {"shards": new.root, "fingerprint": new.fingerprint, "files": sizes[1], "files_before": sizes[0]},
        as_json,
        [new.root, f"  {sizes[0]} files are {sizes[1]} now; the same rows"],
    )


if __name__ == "__main__":
    run_verb(main_compact)
