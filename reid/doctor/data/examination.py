"""The examination of a data set: all checks in one pass."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reid import storage
from reid.config import AUTO_PROTOCOL, Config
from reid.data.images import SensorSettings
from reid.data.readers.base import open_reader
from reid.data.readers.shared.folders import expand, file_name, visible
from reid.data.shards.places import find_set, is_set
from reid.data.shards.schema import Caption, Sample
from reid.data.shards.shard_set import ShardSet
from reid.doctor.data.captions import check_captions
from reid.doctor.data.counts import Counts, count
from reid.doctor.data.doubts import layout_doubts
from reid.doctor.data.duplicates import (
    Seen,
    check_identical,
    check_lookalikes,
    file_digests,
    listed_digests,
    pixel_digests,
    without_blank,
)
from reid.doctor.data.identities import check_identities
from reid.doctor.data.layout import recognise
from reid.doctor.data.lists import check_lists
from reid.doctor.data.notes import reader_notes
from reid.doctor.data.pictures import PictureCensus, check_pictures, noted_when_built
from reid.doctor.data.recipes import BuildCommand, shard_recipe
from reid.doctor.data.refusals import chosen_protocol, too_few_to_validate, validation
from reid.doctor.data.rows import check_rows
from reid.doctor.data.source import ExaminedSample, ExaminedSource, ReaderSource, ShardSource, whole_shards
from reid.doctor.data.trial import ProtocolTrial, camera_matters
from reid.doctor.finding import FILES_IN_JSON, Finding, ProgressBar, no_progress, ordered
from reid.doctor.plain_file import plain_file
from reid.doctor.preflight_findings import preflight_findings
from reid.evaluate.protocols.choice import choose_protocol
from reid.evaluate.protocols.items import SampleLabels
from reid.modality import canonical

SAMPLE = 1000
SHARD_SET = "shard set"
_CHECKSUM_BYTES = 2**30


@dataclass(frozen=True)
class Report:
    """The findings; `next` is the command to continue with, None when the layout is unknown."""

    path: str
    layout: str | None
    protocol: str | None
    counts: Counts
    captures: int
    looked_at: int
    findings: list[Finding]
    next: str | None

    @property
    def ok(self) -> bool:
        """No finding is an error."""
        return all(f.level != "error" for f in self.findings)

    def with_findings(self, more: Sequence[Finding]) -> Report:
        """The report with more findings."""
        return replace(self, findings=ordered([*self.findings, *more]))

    def to_json(self, files: int = FILES_IN_JSON) -> dict[str, Any]:
        """For programs; of each finding, the first `files` files that are concerned."""
        return {**vars(self), "ok": self.ok, "findings": [f.to_json(files) for f in self.findings]}


@dataclass(frozen=True)
class Extent:
    """How much is decoded: a bounded sample, or everything."""

    sample: int = SAMPLE
    everything: bool = False


def examine(
    path: str,
    reader: str | None = None,
    given: Sequence[str] = (),
    extent: Extent = Extent(),
    watch: ProgressBar = no_progress,
) -> Report:
    """Recognise a folder or s3:// prefix and search it for faults.

    `given` are dotted overrides of the configuration. Raises UsageError for an unknown reader or override,
    DataError for a missing folder, StorageError when the storage fails.
    """
    root = expand(path, "PATH")
    if refused := refused_layout(path, root):
        return refused
    if reader is None and is_set(root):
        return _examine_shards(find_set(root), given, extent, watch)
    match = recognise(path, reader, given)
    if isinstance(match, list):
        return Report(path, None, None, {}, 0, 0, match, None)
    source = ReaderSource(match.reader, match.records, match.config.build.max_pixels)
    found = [*check_lists(match), *([] if match.passed else unread_tables(match.config))]
    using = _fitting(match.recipe, given, source)
    return examine_source(
        root, match.name, source, using.config(), using.command("build"), found, extent, watch
    )


def refused_layout(path: str, root: str) -> Report | None:
    """The report about a plain file; None for a folder, or for what is not there."""
    found = plain_file(root)
    return None if found is None else Report(path, None, None, {}, 0, 0, [found], None)


def examine_config(
    config: Config, command: str, extent: Extent = Extent(), watch: ProgressBar = no_progress
) -> Report:
    """Like `examine`, for the reader, protocol and limits of a configuration; `command` builds it.

    What its verbs would refuse is told, too.

    Raises DataError when the configured reader cannot read its data.
    """
    reader = open_reader(config.data.reader, config.data.name, SensorSettings.of(config.data))
    source = ReaderSource(reader, reader.records(), config.build.max_pixels)
    path = str(getattr(config.data.reader, "path", config.data.name))
    report = examine_source(path, config.data.reader.name, source, config, command, [], extent, watch)
    return report.with_findings(preflight_findings(config, usable_samples(source), path, report.findings))


def usable_samples(source: ExaminedSource) -> list[Sample]:
    """What a build would keep, as it is listed."""
    samples = [source.entries[i].sample for i in check_rows(source.entries)[0]]
    if isinstance(source, ReaderSource) and source.captions_unlisted:
        return [replace(sample, captions=(Caption("rendered"),)) for sample in samples]
    return samples


def _examine_shards(root: str, given: Sequence[str], extent: Extent, watch: ProgressBar) -> Report:
    shards = ShardSet.open(root)
    size = int(shards.stored.numbers("bytes").sum())
    thorough = extent.everything or (size <= _CHECKSUM_BYTES and not storage.is_remote(root))
    whole, findings = whole_shards(shards, thorough)
    findings += noted_when_built(shards.manifest)
    source = ShardSource(whole)
    present = canonical(m for e in source.entries for m in e.sample.modalities)
    using = _fitting(shard_recipe(shards.manifest.dataset, root, given, present), given, source)
    return examine_source(
        root, SHARD_SET, source, using.config(), using.command("train"), findings, extent, watch
    )


def _fitting(recipe: BuildCommand, given: Sequence[str], source: ExaminedSource) -> BuildCommand:
    """The recipe without validation identities where there are too few to hold any out."""
    chosen_fraction = any(one.startswith("train.val.fraction=") for one in given)
    if chosen_fraction or not too_few_to_validate([(e.split, e.identity) for e in source.entries]):
        return recipe
    if not recipe.config().train.val.fraction:
        return recipe
    return BuildCommand(recipe.preset, (*recipe.overrides, "train.val.fraction=0"))


def examine_source(
    path: str,
    layout: str,
    source: ExaminedSource,
    config: Config,
    command: str,
    findings: list[Finding],
    extent: Extent,
    watch: ProgressBar,
) -> Report:
    """All checks of captures that were listed; `command` is what to type next."""
    kept, wrong = check_rows(source.entries)
    entries = [source.entries[i] for i in kept]
    tested = [e for e in entries if e.split == config.evaluate.split]
    choice = choose_protocol(config.evaluate.protocol, [SampleLabels.of(e.sample) for e in tested])
    protocol = choice.protocol
    known = any(e.sample.labels.camid is not None for e in entries)
    trial = ProtocolTrial(protocol, entries)
    matters = camera_matters(protocol) or (config.evaluate.protocol == AUTO_PROTOCOL and not known)
    found = [*findings, *_of_the_reader(source), *wrong, *check_identities(entries, matters)]
    found += [*chosen_protocol(config, choice, tested), *validation(config, entries)]
    found += [*trial.findings(), *check_captions(entries, watch)]
    chosen = choose_examined(entries, extent)
    place = {kept[i]: i for i in chosen}
    looks = PictureCensus()
    seen = watch("pictures", len(chosen))
    for position, sample in source.load(sorted(place)):
        looks.add(place[position], sample)
        seen(1)
    found += check_pictures(looks, entries)
    found += check_identical(_digests(source, entries, looks, watch), entries, trial)
    found += check_lookalikes(looks, entries, trial)
    return Report(
        path=path,
        layout=layout,
        protocol=protocol.name,
        counts=count(entries),
        captures=len(source.entries),
        looked_at=looks.captures,
        findings=ordered(found),
        next=command,
    )


def _of_the_reader(source: ExaminedSource) -> list[Finding]:
    """What a reader took otherwise than written, and what it may have misread."""
    if not isinstance(source, ReaderSource):
        return []
    return [*reader_notes(source.reader), *layout_doubts(source.reader, source.records)]


def choose_examined(entries: Sequence[ExaminedSample], extent: Extent) -> list[int]:
    """Positions of what is decoded: half of it whole test identities, where copies hide, the rest anything.

    The same for the same data, so that a second look sees the same.
    """
    if extent.everything or len(entries) <= extent.sample:
        return list(range(len(entries)))
    tested: dict[tuple[str, int], list[int]] = defaultdict(list)
    for i, entry in enumerate(entries):
        if entry.split == "test":
            tested[entry.identity].append(i)
    draw = random.Random(0)
    chosen: set[int] = set()
    for identity in draw.sample(sorted(tested), len(tested)):
        if len(chosen) + len(tested[identity]) <= extent.sample // 2:
            chosen.update(tested[identity])
    others = [i for i in range(len(entries)) if i not in chosen]
    chosen.update(draw.sample(others, extent.sample - len(chosen)))
    return sorted(chosen)


def _digests(
    source: ExaminedSource, entries: Sequence[ExaminedSample], looks: PictureCensus, watch: ProgressBar
) -> list[Seen]:
    """Contents to compare: all where that is cheap, else those of the pictures that were looked at."""
    cheap = listed_digests(entries) if isinstance(source, ShardSource) else file_digests(entries, watch)
    return without_blank(list(cheap) or pixel_digests(looks, entries), looks)


def unread_tables(config: Config) -> list[Finding]:
    """Tables and texts beside a reader's pictures that its configuration does not mention."""
    reader = config.data.reader
    options = {".csv": "manifest", ".tsv": "manifest", ".json": "texts"}
    fields = {suffix: name for suffix, name in options.items() if name in type(reader).model_fields}
    unread = [
        (file, fields[suffix])
        for suffix in fields
        if getattr(reader, fields[suffix]) is None
        for file in visible(storage.list_files(expand(str(getattr(reader, "path", "")), "PATH"), suffix))
    ]
    if not unread:
        return []
    file, name = unread[0]
    return [
        Finding(
            "info",
            "unread-table",
            f"{file_name(file)} lies beside the pictures and is not read."
            if len(unread) == 1
            else f"{len(unread)} tables lie beside the pictures and are not read.",
            file,
            f"if it describes them, add data.reader.{name}={file_name(file)}",
            len(unread),
            tuple(uri for uri, _ in unread),
        )
    ]
