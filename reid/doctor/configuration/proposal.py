"""From a folder to a configuration file: recognise, choose settings, examine, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reid import storage
from reid.config import Config
from reid.data.readers.shared.folders import expand
from reid.data.shards.places import find_set, is_set
from reid.data.shards.shard_set import ShardSet
from reid.doctor.configuration.commands import commands
from reid.doctor.configuration.reader_settings import ReadData, choose_reader_settings
from reid.doctor.configuration.setting import Setting
from reid.doctor.configuration.suggestion import Suggestion, suggest
from reid.doctor.configuration.training_settings import Size
from reid.doctor.configuration.yaml_text import yaml_text
from reid.doctor.data.doubts import layout_doubts
from reid.doctor.data.examination import SHARD_SET, Extent, Report, examine_source, refused_layout
from reid.doctor.data.layout import recognise
from reid.doctor.data.lists import check_lists
from reid.doctor.data.notes import reader_notes
from reid.doctor.data.recipes import shard_recipe
from reid.doctor.data.rows import check_rows
from reid.doctor.data.source import ExaminedSample, ExaminedSource, ReaderSource, ShardSource, whole_shards
from reid.doctor.finding import Finding, ProgressBar, no_progress
from reid.doctor.preflight_findings import preflight_findings
from reid.errors import UsageError
from reid.modality import canonical

SUFFIXES = (".yaml", ".yml")
_LOOKED_AT = 64
"""Pictures whose size decides the model's input size."""


@dataclass(frozen=True)
class Proposal:
    """What the examination found with the suggested settings, the file's text, and what to type then."""

    report: Report
    text: str | None = None
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What these data do not allow, and why."""


def check_target(file: str, force: bool) -> None:
    """Raise UsageError for a file that no verb would read, or that would be lost."""
    if storage.is_remote(file) or not file.endswith(SUFFIXES):
        raise UsageError(f"--write {file}: give a local file whose name ends in .yaml.")
    if Path(file).exists() and not force:
        raise UsageError(f"--write {file}: is there already; give another name, or --force to replace it.")


def propose(
    path: str,
    file: str,
    reader: str | None = None,
    given: Sequence[str] = (),
    extent: Extent | None = None,
    watch: ProgressBar = no_progress,
) -> Proposal:
    """Examine a folder or s3:// prefix, and suggest a configuration for it; writes nothing.

    Args:
        path: raw pictures or a built shard set.
        file: where the configuration will be, for the commands.
        reader: the layout's reader; None: recognise it.
        given: dotted overrides, which win.
        extent: how many pictures are decoded; None: a bounded sample.
        watch: how progress is shown.

    Raises what `reid.doctor.data.examination.examine` raises.
    """
    root, extent = expand(path, "PATH"), extent or Extent()
    if refused := refused_layout(path, root):
        return Proposal(refused)
    if reader is None and is_set(root):
        root = find_set(root)
        shards, found = whole_shards(ShardSet.open(root), extent.everything)
        source: ExaminedSource = ShardSource(shards)
        present = canonical(m for e in source.entries for m in e.sample.modalities)
        base = shard_recipe(shards.manifest.dataset, root, given, present).config()
        why = [Setting("data.shards", root, "a built set: data.reader is not read")]
        return _proposal(path, file, SHARD_SET, source, base, why, found, given, extent, watch)
    match = recognise(path, reader, given)
    if isinstance(match, list):
        return Proposal(Report(path, None, None, {}, 0, 0, match, None))
    read, why = choose_reader_settings(ReadData(match.config, match.reader, match.records), given)
    source = ReaderSource(read.reader, read.records, read.config.build.max_pixels)
    found = [*reader_notes(read.reader), *check_lists(match), *layout_doubts(read.reader, read.records)]
    return _proposal(path, file, match.name, source, read.config, why, found, given, extent, watch)


def _proposal(
    path: str,
    file: str,
    layout: str,
    source: ExaminedSource,
    base: Config,
    why: Sequence[Setting],
    found: list[Finding],
    given: Sequence[str],
    extent: Extent,
    watch: ProgressBar,
) -> Proposal:
    usable = [source.entries[i] for i in check_rows(source.entries)[0]]
    suggestion = suggest(base, usable, _sizes(source, usable), why, given)
    refused = preflight_findings(suggestion.config, [e.sample for e in usable], path, found)
    suggestion = _without_refused(suggestion, refused)
    steps = commands(file, suggestion, usable)
    report = examine_source(path, layout, source, suggestion.config, "", found, extent, watch)
    told = {f.text for f in report.findings}
    report = report.with_findings([f for f in refused if f.text not in told])
    notes = _notes(suggestion)
    head = [
        f"Written by `python -m jobs.doctor data {path} --write {file}`: {len(usable)} captures of",
        f"{len({e.identity for e in usable})} identities. In this order:",
        *(f"  {step}" for step in steps),
        *notes,
    ]
    text = yaml_text(suggestion.tree, suggestion.reasons, head)
    return Proposal(replace(report, next=next(iter(steps), None)), text, tuple(steps), tuple(notes))


def _without_refused(suggestion: Suggestion, findings: Sequence[Finding]) -> Suggestion:
    """The suggestion without the verbs that would refuse it."""
    why = {f.code: f.text.rstrip(".") for f in findings if f.level == "error"}
    return replace(
        suggestion,
        untrainable=suggestion.untrainable or why.get("train-refused"),
        unmeasurable=suggestion.unmeasurable or why.get("evaluate-refused"),
    )


def _sizes(source: ExaminedSource, usable: Sequence[ExaminedSample]) -> list[Size]:
    """Heights and widths of a few pictures, evenly spaced over the set."""
    position = {id(e): i for i, e in enumerate(source.entries)}
    pictured = [position[id(e)] for e in usable if e.sample.images]
    chosen = pictured[:: max(1, len(pictured) // _LOOKED_AT)][:_LOOKED_AT]
    samples = [sample for _, sample in source.load(chosen) if not isinstance(sample, str)]
    return [(i.height, i.width) for s in samples for i in s.images.values() if i.width]


def _notes(suggestion: Suggestion) -> list[str]:
    notes = []
    if suggestion.untrainable:
        notes.append(f"Nothing can be trained: {suggestion.untrainable}.")
    if suggestion.unmeasurable:
        notes.append(f"`evaluate` is left out: {suggestion.unmeasurable}.")
    return notes
