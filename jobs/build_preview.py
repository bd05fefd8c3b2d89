"""Make a web page of some rows of a shard set, with every modality of each.

Reads a shard set: its folder, or the one that a configuration builds. Writes one HTML file that needs no
other (preview.html in the set, or --out): pictures, masks, captions, attributes, and what generated each.

Example:

  python -m jobs.build preview runs/shards/synthetic/2a7bda001c3b --samples 24
"""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.common import ConfigOption, DebugOption, JsonOption, PresetOption, load_config, run_verb, show
from reid.errors import UsageError

UriArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="A shard set, or a folder of sets (its newest), local or s3://; with --config or --preset, "
        "overrides of that instead.",
        metavar="[URI | KEY=VALUE]...",
    ),
]


def main_preview(
    given: UriArgument = None,
    samples: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 24,
    split: Annotated[str | None, typer.Option(help="train, val or test; default: all.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed shows other rows.")] = 0,
    by_identity: Annotated[
        bool, typer.Option("--by-identity", help="Draw identities, and show up to six rows of each together.")
    ] = False,
    out: Annotated[
        str | None, typer.Option(help="The page to write; default: preview.html in the set.")
    ] = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write a self-contained HTML page of some rows: pictures, mask, captions, attributes and origins."""
    from reid import storage
    from reid.config.typed import did_you_mean
    from reid.data.shards.schema import SPLITS
    from reid.data.shards.shard_set import ShardSet
    from reid.dataset.report.preview import choose_preview, render_preview

    if split is not None and split not in SPLITS:
        raise UsageError(f"--split: unknown {split!r}.{did_you_mean(split, SPLITS)}")
    shards = ShardSet.open(set_uri(given, config, preset))
    chosen = choose_preview(shards, samples, split, seed, by_identity)
    page = render_preview(shards, chosen, split, seed, by_identity)
    uri = storage.absolute(out) if out else storage.join(shards.root, "preview.html")
    storage.write_bytes(uri, page.encode())
    shown = len(chosen.samples)
    show(
        {"page": uri, "shown": shown, "rows": chosen.rows, "set": shards.root},
        as_json,
        [f"{uri}: {shown} of {chosen.rows:,} rows, {len(page) / 2**20:.1f} MiB"],
    )


def set_uri(given: list[str] | None, config: str | None, preset: str | None) -> str:
    """The set that the arguments name: its own uri, or the one that a configuration builds."""
    if config or preset:
        from reid.config.addresses import shards_uri

        return shards_uri(load_config(config, preset, given))
    if not given or len(given) > 1:
        raise UsageError("Give one shard set's folder or s3:// prefix, or --config or --preset.")
    return given[0]


if __name__ == "__main__":
    run_verb(main_preview)
