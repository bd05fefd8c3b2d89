"""A tree of plain files with a manifest, as `jobs.build export` and other tools write it.

`manifest.jsonl` has a line a file: rel_path, pid, cam, split, modality, and where a generated file comes
from. Ours also say the sample and its other labels; lines of others are one sample when their paths are
alike but for folder and suffix. Sentences come from captions.json, or else from text/<split>_ALL.json;
attributes from <split>_attrs.json. What a tree of ours says of origins, generators and hashes is kept.

A line whose file is missing, or that contradicts another of its sample, sets the sample aside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from reid import storage
from reid.config import Infrared, Plugin
from reid.data.labels import Blanks, refuse_alike, tidy, whole_number
from reid.data.readers import base
from reid.data.readers.base import Record
from reid.data.readers.exported.tables import (
    LAYOUT,
    Folders,
    Line,
    SampleKey,
    read_attributes,
    read_captions,
    read_lines,
    refuse_incomplete,
)
from reid.data.readers.shared import sample_tree
from reid.data.readers.shared.folders import contents, expand
from reid.data.readers.shared.keys import spellings
from reid.data.shards.schema import SPLITS, Labels, Sample, SampleAttribute
from reid.errors import DataError
from reid.modality import FILE_WORDS, INFRARED, VISUAL, Modality, Target

_PROVENANCE = ("origin", "generator", "params_hash", "source_id")
_WORDS = {**FILE_WORDS, "caption": Modality.TEXT}
_ABOUT = "sample"
_LABELS = ("pid", "cam")
_CELLS = frozenset([*_LABELS, "rel_path", "source_rel_path", "sample_id", "dataset"])
"""Fields of a line in which a word for nothing is nothing."""


class Config(Plugin):
    """`path` may hold environment variables."""

    name: Literal["exported"] = Field("exported", description="reader of folders that this project exported")
    path: str = Field(description="folder or s3:// prefix with manifest.jsonl")
    infrared: Infrared = Field(
        INFRARED[0], description="modality of the folder imgs-ir and of 'ir' in the manifest"
    )


class Reader(base.Reader):
    """Reads what an export wrote."""

    config: Config

    def recognises(self) -> bool:
        """A manifest.jsonl in the folder."""
        return storage.exists(
            storage.join(expand(self.config.path, "data.reader.path"), sample_tree.MANIFEST)
        )

    def records(self) -> Sequence[Record]:
        """Every sample, by id. Raises DataError for another layout or an export that is not complete."""
        root = expand(self.config.path, "data.reader.path")
        if not storage.exists(root):
            raise DataError(f"data.reader.path: no such folder: {root}.\n{LAYOUT}")
        uri = storage.join(root, sample_tree.MANIFEST)
        refuse_incomplete(root)
        if not storage.exists(uri):
            raise DataError(f"{uri} is missing. Found in {root}: {contents(root)}.\n{LAYOUT}")
        groups: dict[tuple[str, str, str], list[Line]] = defaultdict(list)
        folders, blanks = Folders(root), Blanks()
        spelled: dict[str, set[str]] = {key: set() for key in _LABELS}
        for number, line in read_lines(uri):
            line["_where"] = f"{sample_tree.MANIFEST} line {number}"
            line["_modality"] = self._modality(line, uri)
            for key in _CELLS & line.keys():
                if blanks.counts(key, line[key], unknown=key in _LABELS):
                    line[key] = None
            for key, seen in spelled.items():
                written, line[key] = line.get(key), _number(line.get(key))
                seen.add(tidy(written) if isinstance(written, str) else str(line[key]))
            line["_file"] = folders.find(line)
            path = line["source_rel_path"] if line.get("source_rel_path") else line["rel_path"]
            name = line.get("sample_id") or _sample_name(str(path))
            name = tidy(str(name))
            groups[line.get("dataset") or self.dataset, str(line["split"]), name].append(line)
        if not groups:
            raise DataError(f"{uri}: not a single line.\n{LAYOUT}")
        refuse_alike(spelled["pid"], "identities", uri)
        refuse_alike(spelled["cam"], "cameras", uri)
        splits = sorted({split for _, split, _ in groups})
        named: dict[str, list[SampleKey]] = defaultdict(list)
        for sample, lines in groups.items():
            called = [sample[2], *(str(line["rel_path"]) for line in lines if line["rel_path"])]
            for one in {name for path in called for name in spellings(path)}:
                named[one].append(sample)
        captions, told = read_captions(root, splits, named, blanks)
        attributes, also = read_attributes(root, splits, named)
        notes = [*blanks.notes(sample_tree.MANIFEST), *folders.index.notes(sample_tree.MANIFEST)]
        for note in [*notes, *told, *also]:
            self.note(note)
        return [
            self._record(key, groups[key], captions.get(key, []), attributes.get(key, ()))
            for key in sorted(groups, key=_order)
        ]

    def complete(self, record: Record, sample: Sample) -> Sample:
        """Origins, generators, scores and hashes as the manifest and captions.json say."""
        facts = record.details
        images = {
            m: replace(image, **_provenance(facts["images"][m.value])) for m, image in sample.images.items()
        }
        mask = sample.mask
        if mask is not None:
            mask = replace(mask, score=facts["mask"].get("score"), **_provenance(facts["mask"]))
        captions = tuple(
            replace(c, confidence=t.get("confidence"), **_provenance(t))
            for c, t in zip(sample.captions, facts["captions"], strict=True)
        )
        same = all(
            facts["images"][m.value].get("sha256") == storage.sha256(image.image)
            for m, image in images.items()
        )
        # The hash of the files that were first read; a picture that was edited since is another capture.
        content = facts["content_hash"] if same and "content_hash" in facts else sample.content_hash
        return replace(sample, images=images, captions=captions, mask=mask, content_hash=content)

    def _modality(self, line: Line, uri: str) -> Target:
        word = str(line["modality"]).lower()
        if word == "ir":
            return Target(self.config.infrared.value)
        found = next((t for t in Target if t.value == word), None) or _WORDS.get(word)
        if found is None:
            known = ", ".join([*(t.value for t in Target), "ir"])
            raise DataError(f"{uri}: {line['_where']} has the modality {word!r}; known: {known}.")
        return Target(found.value)

    def _record(
        self,
        key: SampleKey,
        lines: list[Line],
        entries: list[Line],
        attributes: tuple[SampleAttribute, ...],
    ) -> Record:
        dataset, split, name = key
        facts: Line = next((line[_ABOUT] for line in lines if isinstance(line.get(_ABOUT), dict)), {})
        files = {line["_modality"]: line for line in lines if _uri(line)}
        problems = list(dict.fromkeys(p for line in lines if (p := _problem(line)))) + _contradictions(lines)
        pid, cam = lines[0]["pid"], next((line["cam"] for line in lines if line.get("cam") is not None), None)
        if nobody := next((line for line in lines if line["pid"] is None), None):
            problems.append(f"{nobody['_where']} has no identity; fill its pid.")
        elif not _is_whole(pid) or not (cam is None or _is_whole(cam)):
            problems.append(f"{lines[0]['_where']} has pid {pid!r} and cam {cam!r}; give whole numbers.")
        roles = facts.get("roles")
        labels = Labels(
            sample_id=name,
            dataset=dataset,
            split=split,
            pid=pid if _is_whole(pid) else -1,
            camid=cam if _is_whole(cam) else None,
            roles=None if roles is None else tuple(roles),
            viewid=facts.get("viewid"),
            location=facts.get("location"),
            timestamp=facts.get("timestamp"),
            tracklet_id=facts.get("tracklet_id"),
            attributes=attributes,
            extra=facts.get("extra") or {},
        )
        images = {m: uri for m in VISUAL if (uri := _uri(files.get(Target(m.value))))}
        details: dict[str, Any] = {
            "images": {m.value: _part(files[Target(m.value)], name) for m in images},
            "captions": [{k: v for k, v in c.items() if k != "text"} for c in entries],
        }
        if "content_hash" in facts:
            details["content_hash"] = facts["content_hash"]
        mask = files.get(Target.MASK)
        if mask:
            details["mask"] = _part(mask, name)
        return Record(
            labels=labels,
            images=images,
            captions=tuple(c["text"] for c in entries),
            problem=" ".join(problems) or None,
            mask=_uri(mask),
            details=details,
        )


def _sample_name(path: str) -> str:
    """What the files of one sample have in common: the path below its modality's folder, without suffix."""
    folder, _, rest = path.partition("/")
    word = folder.casefold()
    is_modality = word in _WORDS or word in FILE_WORDS or word in {m.value for m in VISUAL}
    return sample_tree.stem(rest) if rest and is_modality else spellings(path)[-1]


def _problem(line: Line) -> str | None:
    where, path = line["_where"], line["rel_path"]
    if line["split"] not in SPLITS:
        return f"{where} has the split {line['split']!r}; known: {', '.join(SPLITS)}."
    if line["_modality"] is Target.TEXT or _uri(line):
        return None
    if found := line["_file"]:
        return f"{where} {found.problem.replace(found.uri, str(path))}."
    return f"{where} names {path!r}; give a path below the folder."


def _uri(line: Line | None) -> str | None:
    """Where a line's file is; None where it is not, or the line is none."""
    found = line["_file"] if line else None
    return found.uri if found and found.problem is None else None


def _contradictions(lines: list[Line]) -> list[str]:
    where = f"{lines[0]['_where']} and {lines[-1]['_where']}"
    found = []
    for what in ("pid", "cam"):
        values = sorted({str(line[what]) for line in lines if line.get(what) is not None})
        if len(values) > 1:
            found.append(f"{where}: one sample has more than one {what} ({', '.join(values)}); correct them.")
    kinds = [line["_modality"] for line in lines if _uri(line)]
    for kind in sorted({k for k in kinds if kinds.count(k) > 1}):
        found.append(f"{where}: one sample has two {kind.value} files; remove one.")
    return found


def _part(line: Line, name: str) -> Line:
    """What a line says of where its file comes from."""
    synthetic = bool(line.get("synthetic"))
    return {
        "origin": line.get("origin") or ("generated" if synthetic else "captured"),
        "generator": line.get("generator"),
        "params_hash": line.get("params_hash"),
        # Every generated file has a source; lines of others name none when it is the sample itself.
        "source_id": line.get("source_id", name if synthetic else None),
        "sha256": line.get("sha256"),
        "score": line.get("score"),
    }


def _provenance(facts: Line) -> dict[str, Any]:
    return {k: facts[k] for k in _PROVENANCE if facts.get(k) is not None}


def _number(value: Any) -> Any:
    """A whole number, also one that is spelled as text or 7.0; another value unchanged."""
    number = whole_number(value)
    return value if number is None or abs(number) >= 10**18 else number


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _order(key: SampleKey) -> tuple[str, str, str]:
    dataset, split, name = key
    return name, dataset, split
