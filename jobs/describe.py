"""Print the size of a model: parameters by module, multiply-accumulates per sample.

Reads the configuration. The numbers of identities and cameras are those of --classes and --cameras, else of
the data set, if it is built or a known public one. Writes nothing.

Example:

  python -m jobs.describe --preset baseline/rgbnt201 --json
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


def describe(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    classes: Annotated[int | None, typer.Option(help="Identities; default: the data set's.")] = None,
    cameras: Annotated[int | None, typer.Option(help="Cameras; default: the data set's.")] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print what a configuration builds; no data and no weights are needed for a known data set."""
    from reid.runs.describe import describe_config

    settings = load_config(config, preset, overrides)
    described = describe_config(settings, classes, cameras)
    counts = described["parameters"]
    show(
        described,
        as_json,
        [
            f"{settings.name}: model {settings.model.name}, {described['regime']}, dim {described['dim']}",
            f"  parameters {counts['total']:,} ({counts['trainable']:,} trainable)",
            *(f"    {name}: {count:,}" for name, count in counts["by_module"].items()),
            f"  {described['gmac_per_sample']:.3f} GMAC per sample ({described['sample']}); embedding "
            f"needs {described['gmac_per_embedding']:.3f}",
            f"  built for {described['classes']} identities, {described['cameras']} cameras",
            f"  queries: any of {', '.join(described['query_modalities'])}",
        ],
    )


if __name__ == "__main__":
    run_verb(describe)
