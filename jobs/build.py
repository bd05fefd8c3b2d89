"""Build a shard set: raw samples -> generated modalities -> identity-sorted Parquet shards.

python -m jobs.build --preset baseline/synthetic
"""

from __future__ import annotations

from jobs.common import (
    ConfigOption,
    DebugOption,
    DryRunOption,
    JsonOption,
    OverridesArgument,
    PresetOption,
    load_config,
    print_dry_run,
    run_verb,
    show,
    start_ray,
)


def build(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Build the shard set of a configuration; what is finished is not done again."""
    from pipelines.data import build as build_shards
    from pipelines.data import describe_build

    settings = load_config(config, preset, overrides)
    if dry_run:
        print_dry_run(settings, build=describe_build(settings))
        return
    result = build_shards(settings, ready=lambda: start_ray(settings.ray))
    manifest = result.shards.manifest
    for warning in result.warnings:
        print(f"warning: {warning}")
    show(
        {
            "shards": result.shards.root,
            "fingerprint": result.shards.fingerprint,
            "built": result.built,
            "reused": result.reused,
            "counts": manifest.counts,
            "quarantined": manifest.quarantined,
            "warnings": result.warnings,
        },
        as_json,
        [
            f"{result.shards.root}",
            f"  {result.built} shards built, {result.reused} reused; {manifest.quarantined} rows set aside",
            *(
                f"  {split}: {c['rows']} samples of {c['identities']} identities"
                for split, c in manifest.counts.items()
            ),
        ],
    )


if __name__ == "__main__":
    run_verb(build)
