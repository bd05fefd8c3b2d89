"""Manifest: what a CSV file tells of each picture."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from reid import storage
from reid.data.readers.folder.config import Columns, RoleRule
from reid.data.readers.folder.parts import LAYOUT, FilePart, FolderSource
from reid.data.readers.shared.folders import file_name
from reid.errors import DataError
from reid.modality import Modality, Target

_CELLS = tuple(Columns.model_fields)


def manifest_parts(source: FolderSource, manifest: str) -> Iterator[FilePart]:
    """A part for every row. A row that cannot be used names its line and the remedy in `problem`.

    Raises DataError for a missing file or column and for what is not a CSV file.
    """
    uri = source.beside(manifest, "data.reader.manifest")
    columns = source.config.columns
    header, rows = _read(uri, columns)
    renamed = {c for c in _CELLS if getattr(columns, c) != getattr(Columns(), c)}
    needed = sorted({"file", "pid"} | renamed)
    missing = [getattr(columns, c) for c in needed if getattr(columns, c) not in header]
    if missing:
        raise DataError(
            f"{uri}: column(s) {', '.join(missing)} missing; "
            f"found: {', '.join(header) or 'nothing'}. "
            f"Tell the file's own names in data.reader.columns.\n{LAYOUT}"
        )
    files = {source.uri(row.cells["file"]) for row in rows if row.cells["file"]}
    folders = sorted({f.rpartition("/")[0] for f in files})
    existing = {f for folder in folders for f in storage.list_files(folder)}
    divided = bool({columns.split, columns.role} & set(header))
    for row in rows:
        yield _part(source, row, f"{file_name(uri)} line {row.line}", existing, divided)


@dataclass(frozen=True)
class _ManifestRow:
    line: int
    cells: dict[str, str]
    extra: dict[str, str]
    overflow: bool


def _read(uri: str, columns: Columns) -> tuple[list[str], list[_ManifestRow]]:
    """The header and every row that is not blank."""
    used = {getattr(columns, name) for name in _CELLS}
    rows = []
    try:
        text = storage.read_bytes(uri).decode("utf-8-sig")
        table = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = [name.strip() for name in next(table, [])]
        for values in table:
            if not any(value.strip() for value in values):
                continue
            row = {name: value.strip() for name, value in zip(header, values, strict=False)}
            cells = {name: row.get(getattr(columns, name), "") for name in _CELLS}
            extra = {name: value for name, value in row.items() if name not in used and value}
            rows.append(_ManifestRow(table.line_num, cells, extra, overflow=len(values) > len(header)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{uri}: not a UTF-8 CSV file ({error}).") from None
    return header, rows


def _part(source: FolderSource, row: _ManifestRow, where: str, existing: set[str], divided: bool) -> FilePart:
    cells = row.cells
    problems = ["has more cells than the header; quote texts that hold a comma"] if row.overflow else []
    if not cells["pid"]:
        problems.append("has no identity; fill its pid")
    split, role = (_rule(source, name, cells[name], problems) for name in ("split", "role"))
    if divided and not split and not role and not problems:
        problems.append("has neither a split nor a role; fill one")
    is_mask = cells["modality"].lower() == Target.MASK.value
    modality = _modality(source, "" if is_mask else cells["modality"], role or split, problems)
    uri = source.uri(cells["file"]) if cells["file"] else None
    if uri and uri not in existing:
        problems.append(f"names {uri}, which is missing; restore the file or remove the row")
    if is_mask and not cells["capture"]:
        problems.append("is a mask of no capture; fill its capture, and that of its picture")
    if uri and modality is Modality.TEXT and not is_mask:
        problems.append("gives a file for modality text; put the text into the caption column")
    if not uri and not cells["caption"]:
        problems.append("has neither a file nor a caption; fill one or remove the row")
    relative = posixpath.normpath(cells["file"]) if uri else where
    return FilePart(
        sample=cells["capture"] or relative,
        where=where,
        identity=cells["pid"],
        split=(split.split if split else None) or (role.split if role else None),
        roles=(role.roles if role else None) or (split.roles if split else None),
        camera=cells["camid"] or source.camera(relative),
        modality=modality,
        uri=uri,
        caption=cells["caption"] or None,
        extra=row.extra,
        problem=f"{where} {'; and '.join(problems)}." if problems else None,
        is_mask=is_mask,
    )


def _rule(source: FolderSource, column: str, word: str, problems: list[str]) -> RoleRule | None:
    rule = source.rules.get(word.lower())
    if word and rule is None:
        known = ", ".join(source.rules)
        problems.append(f"has the {column} {word!r}; known: {known}; name it in data.reader.roles")
    return rule


def _modality(source: FolderSource, word: str, rule: RoleRule | None, problems: list[str]) -> Modality:
    if rule and rule.modality:
        return rule.modality
    found = source.modalities.get(word.lower()) if word else source.config.modality
    if found is None:
        known = ", ".join([*source.modalities, Target.MASK.value])
        problems.append(f"has the modality {word!r}; known: {known}; name it in data.reader.modality_names")
    return found or source.config.modality
