"""Convert a public checkpoint of MFRNet or Signal into a run folder.

Reads the state dict --checkpoint, checks that every tensor has its place in the model of the configuration,
and writes a run folder to <workdir>/train, or to --to. Give that folder to other verbs as run=FOLDER.

Example:

  python -m jobs.convert --preset mfrnet/rgbnt201-official --checkpoint best.pth
  python -m jobs.evaluate --preset mfrnet/rgbnt201-official run=<the folder that it prints>
"""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    OverridesArgument,
    PresetOption,
    load_config,
    run_verb,
    show,
)
from jobs.dry_run import DryRunOption, print_dry_run


def convert(
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="State dict: .pth, .pt, .bin or .safetensors; local or s3://.")
    ],
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Run folder to write; default: in workdir, named by content.")
    ] = None,
    dry_run: DryRunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Check that every tensor of a public checkpoint has its place, and write it as a run folder."""
    from reid.runs.convert.folder import prepare, write

    settings = load_config(config, preset, overrides)
    prepared = prepare(settings, checkpoint)
    summary = prepared.summary
    if dry_run:
        print_dry_run(settings, config or preset, dry_run, as_json, convert=summary)
        return
    folder, written = write(prepared, to)
    known = "" if summary["labels"] == "shards" else " (identities and cameras get placeholder labels)"
    show(
        {"run": folder.uri, "written": written, "info": folder.info},
        as_json,
        [
            folder.uri,
            f"  {'converted' if written else 'already converted'}: {summary['mapped']} tensors of "
            f"{summary['system']}, {summary['identities']} identities, {summary['cameras']} cameras{known}",
            *(f"  left out: {one['count']} ({one['why']})" for one in summary["ignored"]),
            *(f"  note: {remark}" for remark in summary["remarks"]),
        ],
    )


if __name__ == "__main__":
    run_verb(convert)
