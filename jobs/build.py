"""Build a shard set: read raw pictures and captions, make what is missing, write Parquet.

Reads the raw data set that data.reader names. Modalities that build.generate lists are made where a capture
has none. Writes a shard set (Parquet files and MANIFEST.json) to <workdir>/shards/<data set>/<fingerprint>
and prints that folder. Bad files are set aside with their reasons. What is finished is not done again; a
stopped build goes on. Verbs for a built set: build verify, compact, preview, stats and export; build import
reads a tree of plain files.

Example:

  python -m jobs.build --preset baseline/synthetic
  python -m jobs.build verify runs/shards/synthetic/0123456789ab
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence

from jobs.common import (
    ConfigOption,
    DebugOption,
    JsonOption,
    OverridesArgument,
    PresetOption,
    load_config,
    run_verb,
    show,
    start_ray,
)
from jobs.dry_run import DryRunOption, print_dry_run
from reid.errors import UsageError

SUB_VERBS = ("verify", "compact", "preview", "stats", "import", "export")
"""First words that are verbs of their own: `main_<verb>` in jobs/build_<verb>.py."""
_SHOWN = 10


def build(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    preset: PresetOption = None,
    dry_run: DryRunOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Build the shard set of a configuration; what is finished is not done again.

    As a first word, verify, compact, preview, stats, import and export are verbs on a built set.
    """
    from pipelines.dataset.build import build as build_shards
    from pipelines.dataset.build import describe_build
    from reid.dataset.report.summary import caption_line, reason_lines, reason_table

    check_words(overrides or ())
    settings = load_config(config, preset, overrides)
    if dry_run:
        print_dry_run(settings, config or preset, dry_run, as_json, build=describe_build(settings))
        return
    result = build_shards(settings, ready=lambda: start_ray(settings.ray))
    manifest = result.shards.manifest
    for line in [*(f"note: {n}" for n in result.notes), *(f"warning: {w}" for w in result.warnings)]:
        print(line, file=sys.stderr if as_json else sys.stdout)
    reasons = reason_table(manifest.quarantine_rows)
    show(
        {
            "shards": result.shards.root,
            "fingerprint": result.shards.fingerprint,
            "built": result.built,
            "reused": result.reused,
            "refreshed": result.refreshed,
            "counts": manifest.counts,
            "quarantined": manifest.quarantined,
            "quarantine": [reason.to_dict() for reason in reasons],
            "duplicates": manifest.duplicates,
            "captions": manifest.captions,
            "rows_per_second": {name: round(rate, 3) for name, rate in result.throughput.items()},
            "cleaned": result.cleaned,
            "warnings": result.warnings,
            "notes": result.notes,
        },
        as_json,
        [
            f"{result.shards.root}",
            f"  {result.built} shards built, {result.reused} reused; {manifest.quarantined} rows set aside",
            *(
                f"  {split}: {c['rows']} samples of {c['identities']} identities"
                for split, c in manifest.counts.items()
            ),
            *(f"  {line}" for line in [*result.lines(), caption_line(manifest.captions)] if line),
            *(f"  {line}" for line in reason_lines(reasons, _SHOWN)),
            *([f"  {len(result.cleaned)} leftover files deleted"] if result.cleaned else []),
        ],
    )


def check_words(words: Sequence[str]) -> None:
    """Raise UsageError for a word that is neither key=value nor a sub-verb in its place."""
    from reid.config.typed import did_you_mean

    for word in words:
        if word in SUB_VERBS:
            raise UsageError(f"{word!r} must be the first word: python -m jobs.build {word} …")
        if word.isidentifier():
            raise UsageError(f"Unknown word {word!r}.{did_you_mean(word, SUB_VERBS)} Settings are key=value.")


def sub_verb(word: str) -> Callable[..., None]:
    """The function of a sub-verb. Raises UsageError when this version has none."""
    if importlib.util.find_spec(f"jobs.build_{word}") is None:
        raise UsageError(f"python -m jobs.build {word}: this version does not have it.")
    verb: Callable[..., None] = getattr(importlib.import_module(f"jobs.build_{word}"), f"main_{word}")
    return verb


def main(program: str = "python -m jobs.build") -> None:
    """`build`, or the sub-verb that the first word names; `program` is how the usage line calls it."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word not in SUB_VERBS:
        run_verb(build, program)
        return
    sys.argv = [f"{sys.argv[0]} {word}", *sys.argv[2:]]
    try:
        verb = sub_verb(word)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    run_verb(verb, f"{program} {word}")


if __name__ == "__main__":
    main()
