"""A tree of plain files with a manifest, as `jobs.build export` and other tools write it.

`manifest.jsonl` has a line a file: rel_path, pid, cam, split, modality, and where a generated file comes
from. Ours also say the sample and its other labels; lines of others are one sample when their paths are
alike but for folder and suffix. Sentences come from captions.json, or else from text/<split>_ALL.json;
attributes from <split>_attrs.json. What a tree of ours says of origins, generators and hashes is kept.

A line whose file is missing, or that contradicts another of its sample, sets the sample aside.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from reid import storage
from reid.config import Plugin
from reid.data.readers import base
from reid.data.readers.base import Record
from reid.data.readers.exported.tables import (
    LAYOUT,
    Folders,
    Line,
    bare,
    read_attributes,
    read_captions,
    read_lines,
    refuse_incomplete,
)
from reid.data.readers.shared import sample_tree
from reid.data.readers.shared.folders import contents, expand
from reid.data.shards.schema import SPLITS, Labels, Sample, SampleAttribute
from reid.errors import DataError
from reid.modality import VISUAL, Modality, Target

_PROVENANCE = ("origin", "generator", "params_hash", "source_id")
_WORDS = {"ir": Modality.NIR, "visible": Modality.RGB, "thermal": Modality.TIR, "caption": Modality.TEXT}
_ABOUT = "sample"


class Config(Plugin):
    """`path` may hold environment variables."""

    name: Literal["exported"] = Field("exported", description="reader of folders that this project exported")
    path: str = Field(description="folder or s3:// prefix with manifest.jsonl")
    infrared: Literal[Modality.NIR, Modality.TIR] = Field(
        Modality.NIR, description="modality of the folder imgs-ir and of 'ir' in the manifest"
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
        folders = Folders(root)
        for number, line in read_lines(uri):
            line["_where"] = f"{sample_tree.MANIFEST} line {number}"
            line["_modality"] = self._modality(line, uri)
            line |= {k: _number(line.get(k)) for k in ("pid", "cam")}
            line["_uri"] = folders.find(line)
            path = line["source_rel_path"] if line.get("source_rel_path") else line["rel_path"]
            name = line.get("sample_id") or sample_tree.stem(sample_tree.item(str(path)) or str(path))
            groups[line.get("dataset") or self.dataset, str(line["split"]), str(name)].append(line)
        if not groups:
            raise DataError(f"{uri}: not a single line.\n{LAYOUT}")
        splits = sorted({split for _, split, _ in groups})
        captions, attributes = read_captions(root, splits), read_attributes(root, splits)
        return [self._record(key, groups[key], captions, attributes) for key in sorted(groups, key=_order)]

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
        key: tuple[str, str, str],
        lines: list[Line],
        captions: dict[str, list[Line]],
        attributes: dict[str, tuple[SampleAttribute, ...]],
    ) -> Record:
        dataset, split, name = key
        facts: Line = next((line[_ABOUT] for line in lines if isinstance(line.get(_ABOUT), dict)), {})
        files = {line["_modality"]: line for line in lines if line["_uri"]}
        problems = list(dict.fromkeys(p for line in lines if (p := _problem(line)))) + _contradictions(lines)
        names = [*(bare(str(line["rel_path"])) for line in lines if line["rel_path"]), name]
        entries = next((captions[n] for n in names if n in captions), [])
        pid, cam = lines[0]["pid"], next((line["cam"] for line in lines if line.get("cam") is not None), None)
        if not _is_whole(pid) or not (cam is None or _is_whole(cam)):
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
            attributes=next((attributes[n] for n in names if n in attributes), ()),
            extra=facts.get("extra") or {},
        )
        images = {m: files[t]["_uri"] for m in VISUAL if (t := Target(m.value)) in files}
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
            mask=mask["_uri"] if mask else None,
            details=details,
        )


def _problem(line: Line) -> str | None:
    where, path = line["_where"], line["rel_path"]
    if line["split"] not in SPLITS:
        return f"{where} has the split {line['split']!r}; known: {', '.join(SPLITS)}."
    if line["_modality"] is Target.TEXT or line["_uri"]:
        return None
    if path is None or not sample_tree.is_relative(str(path)):
        return f"{where} names {path!r}; give a path below the folder."
    return f"{where} names {path}, which is missing; restore the file or remove the line."


def _contradictions(lines: list[Line]) -> list[str]:
    where = f"{lines[0]['_where']} and {lines[-1]['_where']}"
    found = []
    for what in ("pid", "cam"):
        values = sorted({str(line[what]) for line in lines if line.get(what) is not None})
        if len(values) > 1:
            found.append(f"{where}: one sample has more than one {what} ({', '.join(values)}); correct them.")
    kinds = [line["_modality"] for line in lines if line["_uri"]]
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
    """A whole number, also one that is spelled as text; another value unchanged."""
    return int(value) if isinstance(value, str) and re.fullmatch("-?[0-9]{1,18}", value) else value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _order(key: tuple[str, str, str]) -> tuple[str, str, str]:
    dataset, split, name = key
    return name, dataset, split
