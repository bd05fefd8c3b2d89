"""Exports a shard set as plain files for other tools; `readers.shared.sample_tree` describes the folders.

For each shard its pictures are written, then a part file with its rows of the tables, which marks it as
finished. In the end the parts become the tables. A stopped export continues after the last finished shard.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from reid import storage
from reid.data.readers.shared import sample_tree
from reid.data.readers.shared.folders import contents
from reid.data.shards.schema import SPLITS
from reid.data.shards.shard_set import GroupRef, ShardSet
from reid.dataset.transfer.lines import GeneratedPart, export_sample
from reid.dataset.transfer.names import Names
from reid.dataset.transfer.tables import ArrayFile, LinesFile, ObjectFile
from reid.errors import DataError, StorageError

LAYOUT = 1
_PARTS = ".export"
_THREADS = 8


@dataclass(frozen=True)
class ExportResult:
    """The result of an export: `rows` in all, `copied` of them by this call."""

    folder: str
    rows: int
    copied: int
    splits: tuple[str, ...]


def export(
    shards: ShardSet,
    folder: str,
    splits: Sequence[str] = SPLITS,
    watch: Callable[[int], None] = lambda rows: None,
) -> ExportResult:
    """Write a set, or some of its splits, to a folder or s3:// prefix that is empty or has part of this
    export.

    Raises DataError when the folder has other contents.
    """
    root = storage.absolute(folder)
    chosen = [s for s in splits if shards.rows(s)]
    rows = sum(shards.rows(s) for s in chosen)
    if not rows:
        raise DataError(f"{shards.root}: no row in the splits {', '.join(splits)}; nothing to export.")
    settings = {
        "layout": LAYOUT,
        "dataset": shards.manifest.dataset,
        "fingerprint": shards.fingerprint,
        "splits": chosen,
        "rows": rows,
    }
    if _claim(root, settings):
        watch(rows)
        return ExportResult(root, rows, 0, tuple(chosen))
    names, made = Names.of(shards, chosen), GeneratedPart.of(shards.manifest)
    copied, parts = 0, []
    with ThreadPoolExecutor(_THREADS) as pool:
        for split in chosen:
            for file, groups in _by_file(shards.groups(split)):
                part = storage.join(root, _PARTS, f"{split}-{file}.jsonl")
                parts.append((split, part))
                count = sum(g.rows for g in groups)
                if not storage.exists(part):
                    lines = [
                        line
                        for group in groups
                        for line in _write_group(shards, group, names, made, root, pool)
                    ]
                    storage.write_bytes(part, "".join(lines).encode())
                    copied += count
                watch(count)
    _tables(root, parts)
    storage.write_json(storage.join(root, sample_tree.EXPORT), {**settings, "complete": True})
    for _, part in parts:
        storage.delete_file(part)
    return ExportResult(root, rows, copied, tuple(chosen))


def _claim(root: str, settings: dict[str, Any]) -> bool:
    """Whether this export is complete in the folder. Raises DataError for a folder with other contents."""
    uri = storage.join(root, sample_tree.EXPORT)
    if not storage.exists(uri):
        if storage.list_files(root) or storage.list_folders(root):
            raise DataError(
                f"{root}: is not empty and holds no export ({contents(root)}); give an empty folder."
            )
        storage.write_json(uri, {**settings, "complete": False})
        return False
    try:
        found = storage.read_json(uri)
    except StorageError:
        found = None
    if not isinstance(found, dict) or {k: found.get(k) for k in settings} != settings:
        found = found if isinstance(found, dict) else {}
        raise DataError(
            f"{root}: holds an export of another set ({found.get('dataset')} {found.get('fingerprint')}, "
            f"splits {', '.join(found.get('splits') or ['?'])}); give an empty folder, or delete that one."
        )
    return found.get("complete") is True


def _by_file(groups: Sequence[GroupRef]) -> Iterator[tuple[str, list[GroupRef]]]:
    files: dict[str, list[GroupRef]] = {}
    for group in groups:
        files.setdefault(group.file, []).append(group)
    for file, found in files.items():
        yield file.rpartition("/")[2].removesuffix(".parquet"), found


def _write_group(
    shards: ShardSet, group: GroupRef, names: Names, made: GeneratedPart, root: str, pool: ThreadPoolExecutor
) -> list[str]:
    """Write a row group's files, several at once; its table rows as JSON lines."""
    found = [export_sample(s, names.path(s), made) for s in shards.read_group(group)]
    files = [(storage.join(root, rel), data) for one in found for rel, data in one.files.items()]
    list(pool.map(lambda item: storage.write_bytes(*item), files))
    return [json.dumps(one.tables(), ensure_ascii=False) + "\n" for one in found]


def _tables(root: str, parts: Sequence[tuple[str, str]]) -> None:
    """The tables of a tree in one pass over the parts, one of which is in memory at a time."""
    with ExitStack() as opened:
        manifest = opened.enter_context(LinesFile(storage.join(root, sample_tree.MANIFEST)))
        captions = opened.enter_context(ObjectFile(storage.join(root, sample_tree.CAPTIONS)))
        lists: dict[str, ArrayFile] = {}

        def add(file: str, value: Any) -> None:
            if file not in lists:
                lists[file] = opened.enter_context(ArrayFile(storage.join(root, file)))
            lists[file].add(value)

        for split, one in _rows(parts):
            for line in one["lines"]:
                manifest.add(line)
            if one["captions"]:
                captions.add(*one["captions"])
            for name, text in one["texts"].items():
                add(f"{sample_tree.TEXTS}/{split}_{name}.json", text)
            if one["attributes"]:
                add(f"{split}{sample_tree.ATTRIBUTES}", one["attributes"])


def _rows(parts: Sequence[tuple[str, str]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for split, part in parts:
        for line in storage.read_bytes(part).decode().split("\n"):  # not splitlines(): texts may hold U+2028
            if line:
                yield split, json.loads(line)
