"""Check a shard set: checksums, order of rows, identities, counts, pictures.

Reads the shard set URI and compares it with its manifest. Writes nothing, except that --repair marks
damaged shards to be made again by the next build. Exit code 1 when anything is wrong.

Example:

  python -m jobs.build verify runs/shards/people/0123456789ab
"""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.common import DebugOption, JsonOption, run_verb, show, start_ray
from reid.errors import DataError


def main_verify(
    uri: Annotated[
        str, typer.Argument(help="the shard set, or a folder of sets (its newest): local or s3://")
    ],
    share: Annotated[
        float, typer.Option(min=0, max=1, help="of the rows, whose pictures are decoded; all else is whole")
    ] = 1.0,
    repair: Annotated[
        bool, typer.Option("--repair", help="give damaged shards up: the next build makes them again")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="0: in this process; otherwise on Ray, a shard a task")
    ] = 0,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Compare a set with its manifest; exit code 1 when anything is wrong."""
    from reid.data.shards.shard_set import ShardSet
    from reid.dataset.verify import discard_statistics

    shards = ShardSet.open(uri)
    if workers:
        from reid.config import RayConfig

        start_ray(RayConfig(num_cpus=workers))
    from pipelines.dataset.verify import verify

    verdict = verify(shards, share, parallel=bool(workers))
    lines = [
        f"{shards.root}: {verdict.shards} shards, {verdict.rows} rows, {verdict.pictures} pictures decoded"
    ]
    lines += [f"  {file}: {text}" for file, problems in verdict.problems.items() for text in problems]
    if verdict.stray:
        lines.append(f"  {len(verdict.stray)} files that the manifest does not name, e.g. {verdict.stray[0]}")
    lines.append("sound" if verdict.sound else f"{len(verdict.problems)} files have problems")
    show({**verdict.model_dump(mode="json"), "sound": verdict.sound}, as_json, lines)
    if verdict.sound:
        return
    if repair:
        discard_statistics(shards, verdict.damaged)
        remedy = f"{len(verdict.damaged)} shards were given up; run the build again to make them anew."
    else:
        remedy = "--repair gives the damaged shards up, so that the next build makes them again."
    raise DataError(f"{uri} is damaged. {remedy}")


if __name__ == "__main__":
    run_verb(main_verify)
