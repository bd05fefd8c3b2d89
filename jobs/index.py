"""Put the gallery side of a shard set into the gallery of a run, to be searched.

Reads a shard set and a run folder. Writes vectors and thumbnails to <workdir>/gallery, or to index.gallery.
Items that are there already are not added again.

Example:

  python -m jobs.index --preset baseline/synthetic
"""

from __future__ import annotations

from jobs.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    OverridesArgument,
    PresetOption,
    load_config,
    missing_run,
    run_uri_of,
    run_verb,
    show,
    start_ray,
)
from jobs.dry_run import DryRunOption, print_dry_run


def index(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Embed the gallery side and add what is missing."""
    from pipelines.index import index_run
    from pipelines.placement.devices import device_beside_actors
    from pipelines.progress import say
    from reid.gallery.outages import outlasting
    from reid.preflight import preflight
    from reid.runs.run import load_run

    settings = load_config(config, preset, overrides)
    if dry_run:
        checks = [*preflight(settings, "index", unbuilt=True), *missing_run(settings)]
        print_dry_run(settings, config or preset, dry_run, as_json, checks=checks)
        return
    for line in preflight(settings, "index"):
        say(f"index: {line}")
    run = load_run(run_uri_of(settings), device_beside_actors("index", settings))
    if settings.evaluate.actors:
        start_ray(settings.ray)
    result = index_run(settings, run)
    gallery = result.gallery
    version = outlasting(gallery.uri, lambda: gallery.version)
    show(
        {
            "gallery": gallery.uri,
            "version": version,
            "added": result.added,
            "already": result.already,
            "subsets": list(gallery.subsets),
        },
        as_json,
        [
            gallery.uri,
            f"  {result.added} items added, {result.already} were there; version {version}; "
            f"subsets {', '.join(gallery.subsets)}",
        ],
    )


if __name__ == "__main__":
    run_verb(index)
