"""The folder reader: what folders or a manifest tell -> records, labels numbered and splits drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from reid import storage
from reid.data.labels import refuse_alike, whole_number
from reid.data.readers import base
from reid.data.readers.base import Record
from reid.data.readers.folder.captions import identity_texts
from reid.data.readers.folder.config import Config
from reid.data.readers.folder.identity_folders import tree_parts
from reid.data.readers.folder.manifest import manifest_parts
from reid.data.readers.folder.name_patterns import names_of_pictures
from reid.data.readers.folder.naming import Spellings, doubtful_numbers, numbered, tidied
from reid.data.readers.folder.parts import LAYOUT, FilePart, FolderSource, packed_part, unpacked_part
from reid.data.readers.shared.folders import contents
from reid.data.readers.shared.sorted_spool import SortedSpool
from reid.data.shards.schema import ROLES, Labels, Sample
from reid.errors import DataError
from reid.modality import VISUAL, Target

_PID_DIGITS, _CAMID_DIGITS = 18, 9  # what int64 and int32 hold


class Reader(base.Reader):
    """Reads a folder tree or a manifest."""

    config: Config

    def records(self) -> Sequence[Record]:
        """Every capture, sorted by sample id.

        Raises DataError for a missing folder, manifest or column, and when there is nothing to
        read.
        """
        return list(self.iter_records())

    def iter_records(self) -> Iterator[Record]:
        """The same one by one: what is held of a Parquet manifest are labels, and no row."""
        source = FolderSource(self.config)
        if not storage.exists(source.root):
            raise DataError(f"data.reader.path: no such folder: {source.root}.\n{LAYOUT}")
        listed: Iterable[FilePart]
        listed = manifest_parts(source, self.config.manifest) if self.config.manifest else tree_parts(source)
        spelled, samples = Spellings(), SortedSpool(packed_part, unpacked_part)
        known, undivided, seen_by = set[str](), set[str](), set[str]()
        for part in tidied(listed, spelled):
            samples.add(part.sample, part)
            known.add(part.identity)
            if not part.split:
                undivided.add(part.identity)
            seen_by.add(part.camera or "")
        del listed  # of a tree, every part of it
        identities = sorted(known - {""})
        if not identities:
            raise DataError(_without_identity(source, [p for parts in samples.groups() for p in parts]))
        where = self.config.manifest or source.root
        refuse_alike(identities, "identities", where)
        pids = numbered(identities, _PID_DIGITS)
        seen_by.discard("")
        refuse_alike(seen_by, "cameras", where)
        cameras = numbered(seen_by, _CAMID_DIGITS)
        tested = self._test_identities(undivided - {""})
        texts = identity_texts(source, identities)
        for line in [
            *source.notes,
            *source.walk.notes(),
            *spelled.notes(),
            *doubtful_numbers(identities, seen_by),
        ]:
            self.note(line)
        for parts in samples.groups():
            yield self._record(parts, pids, cameras, tested, texts)

    def _record(
        self,
        parts: list[FilePart],
        pids: dict[str, int],
        cameras: dict[str, int],
        tested: set[str],
        texts: dict[str, list[str]],
    ) -> Record:
        first = parts[0]
        identity, pid = first.identity, pids.get(first.identity, -1)
        camera = next((p.camera for p in parts if p.camera), None)
        problems = list(dict.fromkeys(p.problem for p in parts if p.problem)) + _contradictions(parts)
        if identity and pid < 0:
            problems.append(f"{first.where} has pid {pid}; identities are numbered from 0.")
        extra: dict[str, str] = {}
        for part in reversed(parts):
            extra |= part.extra
        if identity and whole_number(identity) != pid:
            extra["identity"] = identity
        if camera and whole_number(camera) != cameras[camera]:
            extra["camera"] = camera
        files = {p.modality: p.uri for p in parts if p.uri and not p.is_mask}
        roles = {role for p in parts for role in p.roles or ()}
        captions = [p.caption for p in parts if p.caption] + texts.get(identity, [])
        labels = Labels(
            sample_id=first.sample,
            dataset=self.dataset,
            split=first.split or ("test" if identity in tested else "train"),
            pid=pid,
            roles=tuple(role for role in ROLES if role in roles) or None,
            camid=cameras[camera] if camera else None,
            extra=extra,
        )
        return Record(
            labels=labels,
            images={m: files[m] for m in VISUAL if m in files},
            captions=tuple(dict.fromkeys(captions)),
            problem=" ".join(problems) or None,
            mask=next((p.uri for p in parts if p.is_mask), None),
        )

    def complete(self, record: Record, sample: Sample) -> Sample:
        """What the configuration calls generated says so, made from this sample."""
        made = self.config.generated
        if not made:
            return sample
        origin: dict[str, Any] = {
            "origin": "generated",
            "generator": "imported",
            "source_id": record.labels.sample_id,
        }
        images = {m: replace(i, **origin) if Target(m.value) in made else i for m, i in sample.images.items()}
        captions = sample.captions
        if Target.TEXT in made:
            captions = tuple(replace(c, **origin) for c in captions)
        mask = sample.mask
        if mask is not None and Target.MASK in made:
            mask = replace(mask, **origin)
        return replace(sample, images=images, captions=captions, mask=mask)

    def _test_identities(self, names: Collection[str]) -> set[str]:
        fraction, count = self.config.test_fraction, len(names)
        wanted = int(fraction * count + 0.5)
        if 0 < fraction < 1 and count > 1:
            wanted = min(max(wanted, 1), count - 1)

        def draw(name: str) -> bytes:
            return hashlib.sha256(f"{self.config.split_seed}|{name}".encode()).digest()

        return set(sorted(names, key=draw)[:wanted])


def _without_identity(source: FolderSource, parts: list[FilePart]) -> str:
    """Why nothing can be read, and what would read it."""
    what = "no row with a pid" if source.config.manifest else "no picture in an identity folder"
    pictures = [p.where for p in parts]
    if source.config.identity_pattern and pictures:
        what = f"data.reader.identity_pattern finds an identity in none of {len(pictures)} pictures, e.g. "
        what += pictures[0]
    found = None if source.config.manifest else names_of_pictures(pictures)
    hint = f" The names of the pictures seem to tell the identity: set {found.settings}." if found else ""
    if broken := source.walk.broken:
        hint += f" Pictures that cannot be read: {len(broken)}; first: {broken[0].problem}"
    return f"{source.root}: {what}. Found: {contents(source.root)}.{hint}\n{LAYOUT}"


def _contradictions(parts: list[FilePart]) -> list[str]:
    """Why the parts of one sample cannot be one sample."""
    lines = f"{parts[0].where} and {parts[-1].where}"
    problems = []
    for what in ("identity", "split", "camera"):
        values = sorted({str(getattr(p, what)) for p in parts if getattr(p, what)})
        if len(values) > 1:
            problems.append(
                f"{lines}: {parts[0].sample!r} has more than one {what} ({', '.join(values)}); "
                "correct them, or distinguish the captures."
            )
    files: dict[str, str] = {}
    for part in parts:
        kind = (Target.MASK if part.is_mask else part.modality).value
        if part.uri and files.setdefault(kind, part.uri) != part.uri:
            problems.append(
                f"{lines}: {part.sample!r} has two {kind} files; remove one, or distinguish the captures."
            )
    return problems
